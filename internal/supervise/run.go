package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"chancery/client"
	"chancery/internal/appbuild"
)

// startWithin bounds the time from the node's start to the open service.
const startWithin = 90 * time.Second

// Options say what to run.
type Options struct {
	Workspace Workspace
	// Chanceryd is the path of the node's program.
	Chanceryd string
	// Port is the port of every node, the first on 127.0.0.1, the next on 127.0.0.2, …
	Port int
	// Nodes is the number of nodes; 0 counts as 1.
	Nodes int
	// Zones are the labels of the zones in which the nodes stand, in turn: node k is in
	// zone k modulo their number. Without any, nodes keep what the workspace remembers.
	Zones []string
	// ElectionTimeout is how long the primary may be silent; 0 counts as 1 s.
	ElectionTimeout time.Duration
	// Metrics is the host:port of the first node's Prometheus figures; "" shows none.
	Metrics string
	// App is deployed when the service is opened, and again when Redeploy is set; nil
	// deploys nothing.
	App      *appbuild.Bundle
	Redeploy bool
	// Opened is called once the service is open and serves, with all its nodes.
	Opened func(url string)
	// Beside runs beside the service from when it is open, until its context ends: before
	// the nodes are stopped.
	Beside func(ctx context.Context)
	// Say is told what happens to the nodes of a service of several, a line at a time.
	Say func(line string)
}

// Run starts or resumes a service in the workspace, opens it, and returns when ctx ends
// and all nodes have stopped, or with the error that ended it before. Of several nodes,
// one that dies is replaced.
func Run(ctx context.Context, o Options) (err error) {
	s, err := newSupervisor(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	starting, cancel := context.WithTimeoutCause(ctx, startWithin, fmt.Errorf("the service is not open after %v", startWithin))
	defer cancel()
	if err := s.begin(starting); err != nil {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		return err
	}
	cancel()
	if s.control, err = s.w.listen(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.control.close()) }()
	o.Opened(s.nodes[0].at.url())
	if o.Beside != nil {
		var beside sync.WaitGroup
		ctx, stop := context.WithCancel(ctx)
		beside.Go(func() { o.Beside(ctx) })
		defer beside.Wait()
		defer stop()
	}
	return s.watch(ctx)
}

// open takes the service from wherever it stands to open, with its application.
func open(ctx context.Context, p *process, o Options, url string) error {
	w := o.Workspace
	service, info, err := p.service(ctx, w.Common("service_cert.pem"), url)
	if err != nil {
		return err
	}
	defer service.Close()
	m, err := w.member(service)
	if err != nil {
		return err
	}
	var actions []action
	if info.Status != "Open" {
		if err := m.Activate(ctx); err != nil {
			return fmt.Errorf("activating member0: %w", err)
		}
		if actions, err = w.opening(); err != nil {
			return err
		}
	}
	if o.App != nil && (info.Status != "Open" || o.Redeploy) {
		actions = append(actions, setApp(o.App))
	}
	if err := propose(ctx, m, actions); err != nil {
		return err
	}
	return p.until(ctx, func(ctx context.Context) error {
		_, err := service.Do(ctx, client.Request{Method: "GET", Path: "/node/ready/app"})
		return err
	})
}

// member signs as member0.
func (w Workspace) member(service *client.Client) (*client.Member, error) {
	return MemberKeys{Certificate: w.Common("member0_cert.pem"), Key: w.Common("member0_privk.pem")}.member(service)
}

// opening adds user0 and opens the service.
func (w Workspace) opening() ([]action, error) {
	user, err := os.ReadFile(w.Common("user0_cert.pem"))
	if err != nil {
		return nil, err
	}
	service, err := os.ReadFile(w.Common("service_cert.pem"))
	if err != nil {
		return nil, err
	}
	return []action{
		{"set_user", object{"cert": string(user)}},
		{"transition_service_to_open", object{"next_service_identity": string(service)}},
	}, nil
}

func propose(ctx context.Context, m *client.Member, actions []action) error {
	if len(actions) == 0 {
		return nil
	}
	text, err := proposal(actions...)
	if err != nil {
		return err
	}
	p, err := m.Propose(ctx, text)
	if err == nil && p.State == client.ProposalOpen {
		p, err = m.Vote(ctx, p.ID, client.BallotYes)
	}
	if err != nil {
		return fmt.Errorf("proposing %s: %w", actions[0].Name, err)
	}
	if p.State != "Accepted" {
		return fmt.Errorf("proposing %s: the proposal is %s", actions[0].Name, p.State)
	}
	return nil
}
