package backupjob

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"chancery/client"
	"chancery/gov/tables"
	"chancery/internal/backup"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/internal/supervise"
	"chancery/ledger"
	"chancery/server/api"
)

// DrillOptions say what is drilled, and with whose keys.
type DrillOptions struct {
	Store backup.Store
	// Restore says what is restored; Dir is set by Drill.
	Restore backup.RestoreOptions
	// Members are those whose keys are at hand. With as many shares as the service asks for,
	// the private state is recovered too.
	Members   []supervise.MemberKeys
	Chanceryd string // path of the node's program
	// Scratch is where a directory for the drill is made, and removed at the end; "" is the
	// system's directory for temporary files. With members' keys, the ledger secrets lie in
	// it meanwhile.
	Scratch string
	Now     func() time.Time
	Say     func(line string)
}

// Drilled is the outcome of a drill, as it is kept in the store.
type Drilled struct {
	Begun   time.Time `json:"begun"`
	Seconds float64   `json:"seconds"`
	OK      bool      `json:"ok"`
	Error   string    `json:"error,omitempty"`
	Backup  string    `json:"backup,omitempty"`
	Through string    `json:"through,omitempty"`
	Files   int       `json:"files"`
	Bytes   int64     `json:"bytes"`
	// Private says that the private state was recovered with members' shares.
	Private bool `json:"private"`
	// Verified are the things that were found to be as they should.
	Verified []string `json:"verified"`
}

const drillFile = "drill.json"

// Drill restores a backup in a scratch directory, and recovers the service from it there:
// in public by a node with keys of its own, and with members' keys to the end. It returns
// what it verified also where it fails, and keeps that in the store.
func Drill(ctx context.Context, o DrillOptions) (*Drilled, error) {
	begun := o.Now()
	d := &drill{DrillOptions: o, out: &Drilled{Begun: begun.UTC().Truncate(time.Second)}}
	err := d.run(ctx)
	d.out.OK, d.out.Seconds = err == nil, o.Now().Sub(begun).Seconds()
	if err != nil {
		d.out.Error = err.Error()
	}
	if ctx.Err() != nil {
		return d.out, errors.Join(context.Cause(ctx), err)
	}
	text, saveErr := json.MarshalIndent(d.out, "", " ")
	if saveErr == nil {
		saveErr = backup.WriteNote(ctx, o.Restore.FS, o.Store, drillFile, append(text, '\n'))
	}
	if saveErr != nil {
		saveErr = fmt.Errorf("keeping the drill's outcome: %w", saveErr)
	}
	return d.out, errors.Join(err, saveErr)
}

// LastDrill is the outcome that a store holds; nil for none.
func LastDrill(ctx context.Context, s backup.Store) (*Drilled, error) {
	text, err := backup.ReadNote(ctx, s, drillFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var d Drilled
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%v: %s: %w", s, drillFile, err)
	}
	return &d, nil
}

// drill is one under way.
type drill struct {
	DrillOptions
	out      *Drilled
	restored *backup.Restored
	dir      string
}

func (d *drill) verified(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	d.out.Verified = append(d.out.Verified, line)
	d.Say("ok    " + line)
}

func (d *drill) run(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp(d.Scratch, "chancery-drill-"); err != nil {
		return fmt.Errorf("making a directory for the drill: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()
	o := d.Restore
	o.Store, o.Dir = d.Store, filepath.Join(d.dir, "restored")
	if d.restored, err = backup.Restore(ctx, o); err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	r := d.restored
	d.out.Backup, d.out.Through, d.out.Files, d.out.Bytes = r.Backup.ID(), r.Through.String(), r.Files, r.Bytes
	d.verified("backup %s: %d files with %d bytes have the sizes and SHA-256s of its manifest, root %s", r.Backup.ID(), r.Files, r.Bytes, r.Backup.Root)
	d.verified("the ledger is signed from its first transaction through %v, root %x, by service %s", r.Through, r.Root, r.Service.KeyID)
	if o.To.IsZero() && o.At.IsZero() && (r.Through != r.Backup.Last() || fmt.Sprintf("%x", r.Root) != r.Backup.LedgerRoot) {
		return fmt.Errorf("the restored ledger ends at %v with root %x, and the manifest says %s with %s", r.Through, r.Root, r.Backup.Through, r.Backup.LedgerRoot)
	}
	want, err := publicState(ctx, o.FS, filepath.Join(o.Dir, backup.RestoredLedger))
	if err != nil {
		return err
	}
	return d.recover(ctx, want)
}

// recover runs a node that recovers what was restored, and looks at it.
func (d *drill) recover(ctx context.Context, want *public) (err error) {
	port, err := freePort()
	if err != nil {
		return err
	}
	restored := filepath.Join(d.dir, "restored")
	at := fmt.Sprintf("https://127.0.0.1:%d", port)
	opened := make(chan struct{})
	waiting := make(chan string, 1) // for whom, in vain: nobody else is here
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		ended <- supervise.Recover(running, supervise.RecoverOptions{
			Workspace: filepath.Join(d.dir, "service"), Chanceryd: d.Chanceryd,
			Ledger: filepath.Join(restored, backup.RestoredLedger), Previous: filepath.Join(restored, backup.RestoredCert),
			Port: port, Members: d.Members,
			Say:     func(string) {},
			Waiting: patience(waiting),
			Opened:  func(string, string) { close(opened) },
		})
	}()
	defer func() {
		stop()
		if ended != nil {
			err = errors.Join(err, <-ended)
		}
	}()
	early := func() error {
		err := <-ended
		ended = nil
		if err == nil {
			err = errors.New("the node stopped")
		}
		return fmt.Errorf("recovering: %w", err)
	}
	var service *client.Client
	defer func() {
		if service != nil {
			service.Close()
		}
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for service == nil {
		select {
		case err := <-ended:
			ended <- err
			return early()
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
			// The certificate comes with the create transaction, behind the public state.
			if service, err = connect(at, filepath.Join(d.dir, "service", "node", "service_cert.pem")); err != nil {
				return err
			}
		}
	}
	if err := d.checkPublic(ctx, service, want); err != nil {
		return err
	}
	if len(d.Members) == 0 {
		return nil
	}
	select {
	case <-opened:
	case line := <-waiting:
		return fmt.Errorf("the keys of %d member(s) do not open the service: %s", len(d.Members), line)
	case err := <-ended:
		ended <- err
		return early()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return d.checkPrivate(ctx, service)
}

// inVain is how often the same obstacle is met, a twentieth of a second apart, until it is
// one that stays.
const inVain = 60

// patience tells of an obstacle that stays.
func patience(stays chan<- string) func(line string) {
	met, times := "", 0
	return func(line string) {
		if line != met {
			met, times = line, 0
		}
		if times++; times == inVain {
			select {
			case stays <- line:
			default:
			}
		}
	}
}

func freePort() (int, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	return port, ln.Close()
}

// connect returns a client, or nil while there is no certificate.
func connect(url, certificate string) (*client.Client, error) {
	text, err := os.ReadFile(certificate)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cert, err := identity.ParseCertificate(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certificate, err)
	}
	return client.New(client.Config{URLs: []string{url}, Service: cert})
}

// public is what a drill compares of the public state.
type public struct {
	recoveries uint64
	members    map[string]tables.MemberStatus
}

// publicState replays what a ledger writes to the tables of members and service.
func publicState(ctx context.Context, fsys durable.FS, dir string) (*public, error) {
	p := &public{members: map[string]tables.MemberStatus{}}
	for e, err := range ledger.ReadEntries(fsys, dir, 1) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if m := e.Public.Map(tables.NameMembersInfo); m != nil {
			for _, id := range m.Removes {
				delete(p.members, string(id))
			}
			for _, w := range m.Writes {
				var member tables.Member
				if err := tables.Unmarshal(w.Value, &member); err != nil {
					return nil, fmt.Errorf("entry %v: %w", e.ID, err)
				}
				p.members[string(w.Key)] = member.Status
			}
		}
		if m := e.Public.Map(tables.NameServiceInfo); m != nil {
			for _, w := range m.Writes {
				var s tables.Service
				if err := tables.Unmarshal(w.Value, &s); err != nil {
					return nil, fmt.Errorf("entry %v: %w", e.ID, err)
				}
				p.recoveries = 0
				if s.RecoveryCount != nil {
					p.recoveries = *s.RecoveryCount
				}
			}
		}
	}
	return p, nil
}

// checkPublic compares what the node says with what was restored.
func (d *drill) checkPublic(ctx context.Context, c *client.Client, want *public) error {
	r := d.restored
	var state api.State
	if err := c.Get(ctx, "/node/state", nil, &state); err != nil {
		return err
	}
	if state.RecoveryTargetSeqno != nil && *state.RecoveryTargetSeqno != r.Through.Seqno { // gone once the service is open
		return fmt.Errorf("the node recovers through seqno %d, and was given a ledger through %v", *state.RecoveryTargetSeqno, r.Through)
	}
	var network api.Network
	if err := c.Get(ctx, "/node/network", nil, &network); err != nil {
		return err
	}
	created := ""
	if network.CurrentServiceCreateTxID != nil {
		created = *network.CurrentServiceCreateTxID
	}
	if id, err := ledger.ParseTxID(created); err != nil || id.Seqno != r.Through.Seqno+1 || network.RecoveryCount != want.recoveries+1 {
		return fmt.Errorf("the recovered service begins at %q and was recovered %d time(s); it should begin behind %v, and be recovered %d time(s)", created, network.RecoveryCount, r.Through, want.recoveries+1)
	}
	d.verified("a node audited the ledger, and began the service's next life at %s, right behind it; service %s", created, network.ServiceStatus)
	var previous struct {
		Certificate string `json:"previous_service_identity"`
	}
	if err := c.Get(ctx, "/node/service/previous_identity", nil, &previous); err != nil {
		return err
	}
	cert, err := identity.ParseCertificate([]byte(previous.Certificate))
	if err != nil {
		return fmt.Errorf("the previous service's certificate: %w", err)
	}
	if !bytes.Equal(cert.RawSubjectPublicKeyInfo, r.Service.Cert.RawSubjectPublicKeyInfo) {
		return errors.New("the recovered service names another service before it")
	}
	members, err := c.Members(ctx)
	if err != nil {
		return err
	}
	have := map[string]tables.MemberStatus{}
	for _, m := range members {
		have[m.ID] = tables.MemberStatus(m.Status)
	}
	for id, status := range want.members {
		if have[id] != status {
			return fmt.Errorf("member %s is %q in the recovered service, and %q in the ledger", id, have[id], status)
		}
	}
	if len(have) != len(want.members) {
		return fmt.Errorf("the recovered service has %d members, and the ledger %d", len(have), len(want.members))
	}
	d.verified("the public state is there: the same service before it, and the same %d member(s)", len(have))
	return nil
}

// checkPrivate looks at the service that was opened with members' shares. A node opens it
// when it has decrypted every private write with the secrets that the shares opened.
func (d *drill) checkPrivate(ctx context.Context, c *client.Client) error {
	var network api.Network
	if err := c.Get(ctx, "/node/network", nil, &network); err != nil {
		return err
	}
	if network.ServiceStatus != string(tables.ServiceOpen) {
		return fmt.Errorf("the recovered service is %s", network.ServiceStatus)
	}
	d.out.Private = true
	d.verified("the members' shares opened the ledger secrets: every private write through %v was decrypted, and the service opened", d.restored.Through)
	return nil
}
