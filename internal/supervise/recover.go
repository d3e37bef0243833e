package supervise

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/internal/identity"
	"chancery/ledger"
)

// RecoverOptions say what to recover, and with whose help.
type RecoverOptions struct {
	// Workspace is the directory of the recovery, and of the service afterwards; what is
	// there is gone on with.
	Workspace string
	Chanceryd string // path of the node's program
	Ledger    string // directory of the earlier service's ledger; it stays as it is
	Snapshots string // directory of its snapshots, "" to read the whole ledger; it stays as it is
	Previous  string // file with the earlier service's certificate, PEM
	Expect    string // a transaction that the ledger must hold, or a file with a receipt of it; "" for none
	Port      int    // on 127.0.0.1
	Members   []MemberKeys
	Opened    func(url, certificate string)
	Say       func(line string)
	// Waiting, if not nil, is told again and again, as often as it is looked, what the
	// members whose keys are here can't do: others may, or never will.
	Waiting func(line string)
}

// MemberKeys are the files with a member's keys, PEM.
type MemberKeys struct {
	Name              string
	Certificate, Key  string
	PrivateEncryption string // "" where the member has none here
}

// MembersOf finds a member's files by their common beginning, as key makers name them:
// NAME_cert.pem, NAME_privk.pem, and NAME_enc_privk.pem where there is one.
func MembersOf(prefix string) (MemberKeys, error) {
	m := MemberKeys{Name: filepath.Base(prefix), Certificate: prefix + "_cert.pem", Key: prefix + "_privk.pem", PrivateEncryption: prefix + "_enc_privk.pem"}
	if !exists(m.PrivateEncryption) {
		m.PrivateEncryption = ""
	}
	for _, path := range []string{m.Certificate, m.Key} {
		if _, err := os.Stat(path); err != nil {
			return m, fmt.Errorf("member %s: %w", prefix, err)
		}
	}
	return m, nil
}

// member signs as the one whose keys these are.
func (k MemberKeys) member(service *client.Client) (*client.Member, error) {
	cert, err := readCertificate(k.Certificate)
	if err != nil {
		return nil, err
	}
	key, err := identity.ReadECKey(durable.OS(), k.Key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.Key, err)
	}
	return service.Member(cert, key)
}

// recovering is the recovery of one service on this machine.
type recovering struct {
	o    RecoverOptions
	home home
	at   place
	p    *process
	said string
}

// Recover brings a service back from its ledger, with the members' keys that are here, and
// runs it until ctx ends. It may be stopped at any time, and begun again.
func Recover(ctx context.Context, o RecoverOptions) (err error) {
	r := &recovering{o: o, home: home(filepath.Join(o.Workspace, "node")), at: placeOf(0, o.Port)}
	open, err := r.prepare()
	if err != nil {
		return err
	}
	kind := "Recover"
	if open {
		kind = "Resume"
		r.say("the service was recovered before; its node is resumed")
	} else {
		r.say("the node audits the ledger and reads its public state")
	}
	if err := r.writeConfig(kind); err != nil {
		return err
	}
	if r.p, err = r.home.start(o.Chanceryd); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.p.stop()) }()
	if err := r.drive(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // interrupted
		}
		return err
	}
	o.Opened(r.at.url(), r.home.file("service_cert.pem"))
	select {
	case <-ctx.Done():
		return nil
	case <-r.p.ended:
		return r.p.died()
	}
}

// say tells what is waited for, once.
func (r *recovering) say(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); line != r.said {
		r.said = line
		r.o.Say(line)
	}
}

// wait says what keeps the recovery from going on.
func (r *recovering) wait(format string, args ...any) {
	r.say(format, args...)
	if r.o.Waiting != nil {
		r.o.Waiting(fmt.Sprintf(format, args...))
	}
}

// origin is the workspace's note of what it recovers.
type origin struct {
	Ledger   string `json:"ledger"`
	Previous string `json:"previous_service_certificate"` // PEM
}

// prepare brings the ledger's files into the workspace, and says whether the service is
// open there already.
func (r *recovering) prepare() (open bool, err error) {
	previous, err := os.ReadFile(r.o.Previous)
	if err != nil {
		return false, err
	}
	if _, err := identity.ParseCertificate(previous); err != nil {
		return false, fmt.Errorf("%s: %w", r.o.Previous, err)
	}
	dir, err := filepath.Abs(r.o.Ledger)
	if err != nil {
		return false, err
	}
	want := origin{Ledger: dir, Previous: string(previous)}
	note := filepath.Join(r.o.Workspace, "recovery.json")
	text, err := os.ReadFile(note)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if exists(string(r.home)) {
			return false, fmt.Errorf("%s is there, and of no recovery: choose another directory with --workspace", r.home)
		}
		if err := os.MkdirAll(r.o.Workspace, 0o700); err != nil {
			return false, fmt.Errorf("the workspace can't be written (choose another with --workspace): %w", err)
		}
		if text, err = json.MarshalIndent(want, "", "  "); err != nil {
			return false, err
		}
		if err := durable.WriteFileAtomic(durable.OS(), note, append(text, '\n'), 0o644); err != nil {
			return false, err
		}
	case err != nil:
		return false, err
	default:
		var got origin
		if err := json.Unmarshal(text, &got); err != nil {
			return false, fmt.Errorf("%s is damaged: %w", note, err)
		}
		if got != want {
			return false, fmt.Errorf("the workspace %s is of the recovery of %s: choose another with --workspace, or give the same ledger and certificate", r.o.Workspace, got.Ledger)
		}
	}
	if exists(string(r.home)) {
		return r.opened()
	}
	incoming := home(string(r.home) + ".incoming")
	if err := os.RemoveAll(string(incoming)); err != nil { // of an attempt that was cut off
		return false, err
	}
	if err := incoming.bring(dir, r.o.Snapshots); err != nil {
		return false, err
	}
	return false, os.Rename(string(incoming), string(r.home))
}

// opened says whether the service that is recovered here has been open: its files have
// their own names then.
func (r *recovering) opened() (bool, error) {
	unfinished, err := filepath.Glob(r.home.file("ledger/*.recovery"))
	return exists(r.home.file(keyFile)) && exists(r.home.file("service_cert.pem")) && len(unfinished) == 0, err
}

// bring makes the earlier node's files those of the node here: its ledger's, its snapshots',
// and Raft's, which are beside the ledger.
func (h home) bring(ledger, snapshots string) error {
	found, err := bringFiles(ledger, h.file("ledger"), func(name string) bool {
		return strings.HasPrefix(name, "ledger_") && !strings.HasSuffix(name, ".ignored")
	})
	if err != nil {
		return fmt.Errorf("the ledger: %w", err)
	}
	if found == 0 {
		return fmt.Errorf("%s holds no ledger files", ledger)
	}
	if snapshots != "" {
		_, err := bringFiles(snapshots, h.file("snapshots"), func(name string) bool {
			return strings.HasPrefix(name, "snapshot_") && strings.HasSuffix(name, ".committed")
		})
		if err != nil {
			return fmt.Errorf("the snapshots: %w", err)
		}
	}
	_, err = bringFiles(ledger+".raft", h.file("ledger.raft"), func(string) bool { return true })
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// bringFiles brings the wanted files of a directory into another: one that is never written
// again, which its name says, by a link, others by a copy. It returns how many there are.
func bringFiles(from, to string, wanted func(name string) bool) (found int, err error) {
	files, err := os.ReadDir(from)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return 0, err
	}
	for _, f := range files {
		if !f.Type().IsRegular() || !wanted(f.Name()) {
			continue
		}
		found++
		old, own := filepath.Join(from, f.Name()), filepath.Join(to, f.Name())
		if strings.HasSuffix(f.Name(), ".committed") && os.Link(old, own) == nil {
			continue
		}
		if err := copyFile(old, own); err != nil {
			return found, err
		}
	}
	return found, nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := out.ReadFrom(in); err != nil {
		return fmt.Errorf("copying %s: %w", from, err)
	}
	return out.Sync()
}

func (r *recovering) writeConfig(kind string) error {
	previous, err := filepath.Abs(r.o.Previous)
	if err != nil {
		return err
	}
	if kind == "Recover" { // that of an attempt that was cut off would be taken for the present one
		if err := os.Remove(r.home.file("service_cert.pem")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	chancery := object{"key_file": keyFile}
	if kind == "Recover" && r.o.Expect != "" {
		chancery["recover_expect"] = r.o.Expect
		if _, err := ledger.ParseTxID(r.o.Expect); err != nil { // a file with a receipt
			if chancery["recover_expect"], err = filepath.Abs(r.o.Expect); err != nil {
				return err
			}
		}
	}
	text, err := json.MarshalIndent(nodeConfig(r.at, object{
		"type": kind, "service_certificate_file": "service_cert.pem",
		"recover": object{"previous_service_identity_file": previous, "initial_service_certificate_validity_days": validDays},
	}, chancery), "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFileAtomic(durable.OS(), r.home.file("config.json"), text, 0o644)
}

// drive takes the service to open.
func (r *recovering) drive(ctx context.Context) error {
	service, _, err := r.p.service(ctx, r.home.file("service_cert.pem"), r.at.url())
	if err != nil {
		return err
	}
	defer service.Close()
	d := &driver{recovering: r, service: service, shared: map[string]bool{}, voted: map[string]bool{}}
	return r.p.until(ctx, d.step)
}
