package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"chancery/internal/backup"
	"chancery/internal/durable"
	"chancery/internal/supervise"
	"chancery/ledger"
	"chancery/node/config"
)

// restoration is what backup restore was asked.
type restoration struct {
	point
	service, config, address, output string
	start                            bool
	members                          []string
	node                             string
}

// point says what of which backup is restored.
type point struct {
	store          storeFlags
	id, to, expect string
}

func (p *point) flags(c *cobra.Command) {
	p.store.flags(c)
	f := c.Flags()
	f.StringVar(&p.id, "backup", "", "the id of the backup (else the newest)")
	f.StringVar(&p.to, "to", "", "the point: a transaction, or a time as of RFC 3339 (else all that there is)")
	f.StringVar(&p.expect, "expect", "", expectUsage)
}

// options are what was asked for, of an opened store.
func (p *point) options(name string) (o backup.RestoreOptions, err error) {
	o = backup.RestoreOptions{FS: durable.OS(), ID: p.id}
	if o.Store, err = p.store.open(name); err != nil {
		return o, usageError{err}
	}
	if o.To, o.At, err = parsePoint(p.to); err != nil {
		return o, err
	}
	o.Expect, err = parseExpect(p.expect)
	return o, err
}

func newBackupRestore(s streams) *cobra.Command {
	var r restoration
	c := &cobra.Command{
		Use:   "restore STORE DIR",
		Short: "Bring a ledger back, at any signed position, ready to be recovered",
		Long: `Brings the ledger of a backup into DIR, which is new, cut behind the last signature at or
before the point in --to, and the newest snapshot that is not later; with the certificate that
the service had then, and a configuration with which a node recovers the service from it:

  cd DIR && chanceryd --config config.json

With --start, that is done at once: see recover run. Everything is checked on the way, from
the first transaction on. Neither the backup nor a service that runs is touched. A time is
judged by what the service's signatures say of when they were made: the clock of the node that
signed, to the second.

` + storeArgument + `

Exit code 5: the backup does not hold, or is not what --expect or --service-cert say.`,
		Example: "  chancery backup restore backups restored --to 2026-01-02T15:04:05Z --expect 2.345",
		Args:    exactly("STORE", "DIR"),
		RunE:    func(c *cobra.Command, args []string) error { return r.run(c.Context(), s, args[0], args[1]) },
	}
	r.flags(c)
	f := c.Flags()
	f.StringVar(&r.service, "service-cert", "", "the certificate that the service must have had at that point, PEM")
	f.StringVar(&r.config, "config", "", "a node's configuration, whose settings are kept but for its command and directories")
	f.StringVar(&r.address, "address", "", "host:port on which the node is to serve (else what --config says, or "+defaultAddress+")")
	f.BoolVar(&r.start, "start", false, "recover the service at once, on this machine, as recover run does, and run it until Ctrl-C")
	f.StringArrayVar(&r.members, "member", nil, "with --start: a member's keys, by the beginning of the files' names; may be given several times")
	f.StringVar(&r.node, "node", "", "with --start: node program with an application compiled in, in place of chanceryd")
	outputFlag(c, &r.output)
	return c
}

// defaultAddress is beside that of chancery up.
const defaultAddress = "127.0.0.1:8100"

func (r *restoration) run(ctx context.Context, s streams, name, dir string) error {
	if err := checkOutput(r.output); err != nil {
		return err
	}
	if !r.start && (r.members != nil || r.node != "") {
		return usagef("--member and --node belong to --start")
	}
	if r.start && (r.output != outputText || r.config != "") {
		return usagef("--start goes neither with --output nor with --config")
	}
	template, err := readNodeConfig(r.config)
	if err != nil {
		return err
	}
	o, err := r.options(name)
	if err != nil {
		return err
	}
	o.Dir = filepath.Clean(dir)
	if r.service != "" {
		if o.Service, err = readCertificate(r.service); err != nil {
			return err
		}
	}
	o.Finish = func(dir string, done *backup.Restored) error {
		return writeRecovery(ctx, dir, template, r.address, o.Expect.ID)
	}
	p := newProgress(s.err, "restoring")
	o.Progress = p.at
	done, err := backup.Restore(ctx, o)
	p.end()
	if err != nil {
		return doubted(err)
	}
	if err := printRestored(s, r.output, o.Dir, done); err != nil || !r.start {
		return err
	}
	return r.recover(ctx, s, o.Dir, o.Expect.ID)
}

// recover runs the service that was restored, beside the one that it is a copy of.
func (r *restoration) recover(ctx context.Context, s streams, dir string, expect ledger.TxID) error {
	address := r.address
	if address == "" {
		address = defaultAddress
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("--address %q is not host:port", address)
	}
	o := supervise.RecoverOptions{
		Workspace: filepath.Join(dir, "service"), Chanceryd: r.node,
		Ledger: filepath.Join(dir, backup.RestoredLedger), Previous: filepath.Join(dir, backup.RestoredCert),
	}
	if snapshots := filepath.Join(dir, backup.RestoredSnapshots); isDir(snapshots) {
		o.Snapshots = snapshots
	}
	if !expect.IsZero() {
		o.Expect = expect.String()
	}
	if o.Port, err = strconv.Atoi(port); err != nil {
		return usagef("--address %q is not host:port", address)
	}
	return recoverRun(ctx, s, o, r.members)
}

func printRestored(s streams, output, dir string, r *backup.Restored) error {
	if output == outputJSON {
		return printJSON(s, struct {
			Backup   string     `json:"backup"`
			Dir      string     `json:"directory"`
			Through  string     `json:"through"`
			SignedAt *time.Time `json:"signed_at,omitempty"`
			Root     string     `json:"ledger_root"`
			Service  string     `json:"service_key_id"`
			Files    int        `json:"files"`
			Bytes    int64      `json:"bytes"`
			Snapshot string     `json:"snapshot,omitempty"`
			Notes    []string   `json:"notes,omitempty"`
		}{r.Backup.ID(), dir, r.Through.String(), known(r.SignedAt), fmt.Sprintf("%x", r.Root), r.Service.KeyID, r.Files, r.Bytes, r.Snapshot, r.Notes})
	}
	when := ""
	if !r.SignedAt.IsZero() {
		when = ", signed at " + r.SignedAt.Format(time.RFC3339)
	}
	fmt.Fprintf(s.out, "%s holds the ledger of backup %s through %v%s, with root %x\n", dir, r.Backup.ID(), r.Through, when, r.Root)
	fmt.Fprintf(s.out, "%d files, %d bytes, of service %s\n", r.Files, r.Bytes, r.Service.KeyID)
	if r.Snapshot != "" {
		fmt.Fprintf(s.out, "with %s\n", r.Snapshot)
	}
	printNotes(s, r.Notes)
	fmt.Fprintf(s.out, "Recover it there:  cd %s && chanceryd --config config.json\n", dir)
	return nil
}

// known is nil for the zero time.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

type object = map[string]any

// readNodeConfig reads the configuration to begin with, a small one for "".
func readNodeConfig(file string) (object, error) {
	if file == "" {
		return object{
			"network": object{
				"node_to_node_interface": object{"bind_address": "127.0.0.1:0"},
				"rpc_interfaces": object{"primary_rpc_interface": object{
					"bind_address": defaultAddress, "enabled_operator_features": []string{"SnapshotRead", "LedgerChunkRead", "SnapshotCreate"},
				}},
			},
			"node_certificate": object{"subject_alt_names": []string{"iPAddress:127.0.0.1", "dNSName:localhost"}},
			"chancery":         object{"key_file": "insecure_keys.json"},
		}, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fileError(file, err)
	}
	var c object
	if err := json.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return c, nil
}

// writeRecovery writes the configuration of a node that recovers what lies in dir.
func writeRecovery(ctx context.Context, dir string, c object, address string, expect ledger.TxID) error {
	c["command"] = object{
		"type": "Recover", "service_certificate_file": "service_cert.pem",
		"recover": object{"previous_service_identity_file": backup.RestoredCert},
	}
	files, snapshots, chancery := inside(c, "ledger"), inside(c, "snapshots"), inside(c, "chancery")
	delete(files, "read_only_directories")
	files["directory"] = backup.RestoredLedger
	delete(snapshots, "read_only_directory")
	snapshots["directory"] = backup.RestoredSnapshots
	delete(chancery, "resume_after_view") // of a node that was resumed
	delete(chancery, "recover_expect")    // of an earlier recovery
	if !expect.IsZero() {
		chancery["recover_expect"] = expect.String()
	}
	if address != "" {
		if err := serveAt(c, address); err != nil {
			return err
		}
	}
	text, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "config.json")
	if err := durable.WriteFileAtomic(durable.OS(), file, append(text, '\n'), 0o644); err != nil {
		return err
	}
	if _, err := config.Load(ctx, file, 0); err != nil {
		return fmt.Errorf("the configuration for the recovery: %w", err)
	}
	return nil
}

// inside returns an object inside of a configuration, which it makes if need be.
func inside(c object, key string) object {
	o, ok := c[key].(object)
	if !ok {
		o = object{}
		c[key] = o
	}
	return o
}

// serveAt has the one interface of a node serve somewhere else, and the nodes' own
// interface take any port.
func serveAt(c object, address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return usagef("--address %q is not host:port", address)
	}
	network, _ := c["network"].(object)
	interfaces, _ := network["rpc_interfaces"].(object)
	if len(interfaces) != 1 {
		return usagef("--address needs a configuration with one interface; this one has %d: write the addresses into --config", len(interfaces))
	}
	for _, i := range interfaces {
		if i, ok := i.(object); ok {
			i["bind_address"] = address
			delete(i, "published_address")
		}
	}
	network["node_to_node_interface"] = object{"bind_address": net.JoinHostPort(host, "0")}
	return nil
}
