package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/internal/supervise"
	"chancery/server/api"
)

func newNode(s streams) *cobra.Command {
	return group("node", "Add, remove and replace nodes", newNodeAdd(s), newNodeRemove(s), newNodeReplace(s))
}

// byMember says that the nodes are not those of a workspace: their processes are somebody
// else's, and a member's key decides who takes part.
func byMember(t *target) bool { return t.url != "" }

// ask has the `chancery up` of the workspace do something.
func ask(ctx context.Context, s streams, t *target, what supervise.Change) error {
	bar := newProgress(s.err, "waiting for chancery up")
	stop := bar.tick(ctx)
	said, err := supervise.Workspace(t.workspace).Ask(ctx, what)
	stop()
	if errors.Is(err, supervise.ErrNotUp) {
		return usagef("%w; for nodes that run elsewhere give --url, --service-cert, --cert and --key", err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(s.out, said)
	return nil
}

func newNodeAdd(s streams) *cobra.Command {
	var t target
	var zone string
	c := &cobra.Command{
		Use:   "add [ID]",
		Short: "Have one more node",
		Long: `In the workspace of a running "chancery up": starts one more node, has it trusted with
member0's key, and waits until it has its vote.

With --url, for a node that runs elsewhere and has asked to join: proposes to trust it,
waits for the votes, and then until it has its vote. ID may be the beginning of its id.`,
		Args: oneOptional,
		RunE: func(c *cobra.Command, args []string) error {
			if !byMember(&t) {
				if len(args) > 0 {
					return usagef("the nodes of a workspace get their ids by themselves: leave %s out, or give --url", args[0])
				}
				return ask(c.Context(), s, &t, supervise.Change{Do: "add", Zone: zone})
			}
			if zone != "" {
				return usagef("--zone is for a node of this workspace: elsewhere it is the zone of node_data_json_file, or the action set_node_data")
			}
			if err := exactly("ID")(c, args); err != nil {
				return err
			}
			return (&nodeChange{s: s, t: &t}).run(c.Context(), "", args[0])
		},
	}
	c.Flags().StringVar(&zone, "zone", "", "the zone in which it stands; the one with the fewest nodes, if it is not given")
	return asMember(&t, c)
}

func newNodeRemove(s streams) *cobra.Command {
	var t target
	return asMember(&t, &cobra.Command{
		Use:   "remove NODE",
		Short: "Retire a node",
		Long: `Retires a node, waits until nothing depends on it any more, and has the service forget
it. Its process stops by itself. NODE is its id or the beginning of it; in the workspace of
a running "chancery up", also its address.`,
		Args: exactly("NODE"),
		RunE: func(c *cobra.Command, args []string) error {
			if !byMember(&t) {
				return ask(c.Context(), s, &t, supervise.Change{Do: "remove", Node: args[0]})
			}
			return (&nodeChange{s: s, t: &t}).run(c.Context(), args[0], "")
		},
	})
}

func newNodeReplace(s streams) *cobra.Command {
	var t target
	var zone string
	c := &cobra.Command{
		Use:   "replace NODE [ID]",
		Short: "Have a fresh node in place of another",
		Long: `In the workspace of a running "chancery up": adds a node, and retires the other one
once it has its vote, so that there are never fewer.

With --url, ID is a node that runs elsewhere and has asked to join. Where the one that
goes does not answer, it is retired first: a dead voter counts.`,
		Args: between("NODE [ID]", 1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			if !byMember(&t) {
				if len(args) > 1 {
					return usagef("the nodes of a workspace get their ids by themselves: leave %s out, or give --url", args[1])
				}
				return ask(c.Context(), s, &t, supervise.Change{Do: "replace", Node: args[0], Zone: zone})
			}
			if err := exactly("NODE", "ID")(c, args); err != nil {
				return err
			}
			return (&nodeChange{s: s, t: &t}).run(c.Context(), args[0], args[1])
		},
	}
	c.Flags().StringVar(&zone, "zone", "", "the zone in which it stands; that of the other, if it is not given")
	return asMember(&t, c)
}

// nodeChange changes by governance who takes part in a service.
type nodeChange struct {
	s streams
	t *target
	c *client.Client
}

// run lets one node in and retires another; "" is none.
func (n *nodeChange) run(ctx context.Context, old, fresh string) (err error) {
	if n.c, err = n.t.connect(); err != nil {
		return err
	}
	defer func() { n.c.Close() }()
	if old != "" {
		if old, err = n.find(ctx, old, "Trusted", "Retired"); err != nil {
			return err
		}
	}
	if fresh != "" {
		if fresh, err = n.find(ctx, fresh, "Pending", "Trusted"); err != nil {
			return err
		}
	}
	if err := n.turnToOthers(ctx, old); err != nil {
		return err
	}
	dead := false
	if old != "" && fresh != "" {
		if dead, err = n.silent(ctx, old); err != nil {
			return err
		}
	}
	steps := []func() error{
		func() error { return n.trust(ctx, fresh) },
		func() error { return n.retire(ctx, old) },
	}
	if dead {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// find returns the id of the node that is meant.
func (n *nodeChange) find(ctx context.Context, name string, statuses ...string) (string, error) {
	var list api.Nodes
	if err := n.c.Get(ctx, "/node/network/nodes", nil, &list); err != nil {
		return "", err
	}
	var found []string
	for _, row := range list.Nodes {
		if strings.HasPrefix(row.NodeID, name) && slices.Contains(statuses, row.Status) {
			found = append(found, row.NodeID)
		}
	}
	if len(found) != 1 {
		return "", usagef("%d nodes that are %s have an id that begins with %q", len(found), strings.Join(statuses, " or "), name)
	}
	return found[0], nil
}

// turnToOthers connects to all nodes of the service but the one that is to go: it ceases
// to answer while this works.
func (n *nodeChange) turnToOthers(ctx context.Context, old string) error {
	var list api.Nodes
	if err := n.c.Get(ctx, "/node/network/nodes?status=Trusted", nil, &list); err != nil {
		return err
	}
	var urls []string
	for _, row := range list.Nodes {
		if address := addressOf(row); row.NodeID != old && address != "" {
			urls = append(urls, "https://"+address)
		}
	}
	if len(urls) == 0 {
		return nil
	}
	n.c.Close()
	n.t.url, n.t.others = urls[0], urls[1:]
	c, err := n.t.connect()
	if err == nil {
		n.c = c
	}
	return err
}

// silentAfter is how long a backup has not answered the primary when it counts as dead.
const silentAfter = 10 * time.Second

// silent says whether the primary has not heard of a node lately.
func (n *nodeChange) silent(ctx context.Context, id string) (bool, error) {
	status, err := readStatus(ctx, n.c, time.Now())
	if err != nil {
		return false, err
	}
	if err := status.askPrimary(ctx, n.t); err != nil {
		return false, fmt.Errorf("asking the primary whether the node answers: %w", err)
	}
	for _, row := range status.Nodes {
		if row.ID == id {
			return row.Role == "backup" && (row.Lag == nil || time.Duration(row.Lag.HeardMS)*time.Millisecond > silentAfter), nil
		}
	}
	return false, nil
}

// propose proposes one action, and waits until it is accepted.
func (n *nodeChange) propose(ctx context.Context, name string, args map[string]any) error {
	text, err := json.Marshal(map[string]any{"actions": []any{map[string]any{"name": name, "args": args}}})
	if err != nil {
		return err
	}
	p, _, err := n.t.send(ctx, n.s, sending{}, client.Message{Type: "proposal", Payload: text})
	if err != nil {
		return err
	}
	if err := showState(n.s, p); err != nil {
		return err
	}
	if p.State == client.ProposalOpen {
		if err := waitSettled(ctx, n.s, n.c, p.ID); err != nil {
			return err
		}
		if p, err = n.c.Proposal(ctx, p.ID); err != nil {
			return err
		}
	}
	if p.State != "Accepted" {
		return fmt.Errorf("the proposal %s is %s", p.ID, p.State)
	}
	return nil
}

func (n *nodeChange) trust(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	from := now().UTC().Format("060102150405Z")
	if err := n.propose(ctx, "transition_node_to_trusted", map[string]any{"node_id": id, "valid_from": from}); err != nil {
		return err
	}
	err := n.until(ctx, "waiting until the node has its vote", func() error {
		var consensus consensusDetails
		if err := n.c.Get(ctx, "/node/consensus", nil, &consensus); err != nil {
			return err
		}
		_, learns := consensus.Details.Learners[id]
		if learns || !slices.ContainsFunc(consensus.Details.Configs, func(c consensusConfig) bool { _, ok := c.Nodes[id]; return ok }) {
			return errors.New("it has not caught up")
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(n.s.out, "node %s takes part\n", id)
	return nil
}

func (n *nodeChange) retire(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	if err := n.propose(ctx, "remove_node", map[string]any{"node_id": id}); err != nil {
		return err
	}
	err := n.until(ctx, "waiting until nothing depends on the node", func() error {
		_, err := n.c.Do(ctx, client.Request{Method: http.MethodDelete, Path: "/node/network/nodes/" + id})
		return err
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(n.s.out, "node %s is retired and forgotten\n", id)
	return nil
}

// until repeats a step until it succeeds or ctx ends.
func (n *nodeChange) until(ctx context.Context, what string, step func() error) error {
	bar := newProgress(n.s.err, what)
	defer bar.tick(ctx)()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := step()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w (%w)", what, err, context.Cause(ctx))
		}
	}
}
