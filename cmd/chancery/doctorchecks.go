package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"chancery/attest/snp/guest"
	"chancery/client"
	"chancery/node/config"
)

// leastFree is the free space below which a ledger's disk is remarked upon, in bytes.
const leastFree = 1 << 30

// processes looks whether a node runs here, by its PID file.
func (d *doctor) processes() {
	name := d.in(d.cfg.OutputFiles.PIDFile)
	text, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		d.problem("directory", "see to it that this is a file that you may read", "%s: %v", name, err)
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err == nil && pid > 0 && alive(pid) {
		d.running = pid
		d.note("directory", "stop it before you change its files; ports and the ledger's lock were not looked at", "a node runs here, process %d by %s", pid, name)
		return
	}
	d.problem("directory", "remove "+name+" once you are sure that no node runs here", "a PID file is left of a node that did not stop cleanly; the node refuses to start beside it")
}

// alive says whether there is such a process.
func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// directories looks at the ledger's and the snapshots' directories.
func (d *doctor) directories() {
	ledger := d.in(d.cfg.Ledger.Directory)
	entries, ok := d.list("ledger.directory", ledger)
	if ok {
		d.ledgerFits(ledger, len(entries))
	}
	for i, dir := range d.cfg.Ledger.ReadOnlyDirectories {
		if _, err := os.ReadDir(d.in(dir)); err != nil {
			d.problem("directory", "create it, mount it, or take it out of the configuration", "ledger.read_only_directories[%d]: %v", i, err)
		}
	}
	d.list("snapshots.directory", d.in(d.cfg.Snapshots.Directory))
	if key := d.cfg.Chancery.KeyFile; key != "" {
		if info, err := os.Stat(d.in(key)); err == nil && info.Mode().Perm()&0o077 != 0 {
			d.problem("directory", "chmod 600 "+d.in(key), "chancery.key_file: others may read %s, which holds the node's keys in the clear", d.in(key))
		}
	}
}

// ledgerFits compares what is in the ledger's directory with what the command wants.
func (d *doctor) ledgerFits(dir string, entries int) {
	if d.running != 0 {
		return
	}
	switch d.cfg.Command.Type {
	case config.CommandStart:
		if entries > 0 {
			d.problem("directory", "empty it, name another directory, or change command.type: Start makes a new service", "ledger.directory: %s is not empty and command.type is Start", dir)
		}
	case config.CommandResume, config.CommandRecover:
		if entries == 0 {
			d.problem("directory", "put the ledger's files there, or begin a new service with command.type Start", "ledger.directory: %s holds no ledger and command.type is %s", dir, d.cfg.Command.Type)
		}
	}
}

// list reads a directory that the node writes, and checks that it can. A missing one is
// made by the node, if its parent allows.
func (d *doctor) list(key, dir string) (entries []fs.DirEntry, ok bool) {
	entries, err := os.ReadDir(dir)
	at := dir
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
		for at = filepath.Dir(at); !isDir(at) && at != filepath.Dir(at); {
			at = filepath.Dir(at)
		}
	}
	if err != nil {
		d.problem("directory", "see to it that this is a directory that the node may read and write", "%s: %v", key, err)
		return nil, false
	}
	if !writable(at) {
		d.problem("directory", "give the node's user the right to write there", "%s: %s is not writable for this user", key, at)
		return entries, false
	}
	if free, known := freeBytes(at); known && free < leastFree {
		d.note("directory", "make room: a node whose disk is full takes no more writes", "%s: only %d MiB are free at %s", key, free>>20, at)
	}
	return entries, true
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// ports tries to listen where the node would.
func (d *doctor) ports(ctx context.Context) {
	if d.running != 0 {
		return
	}
	addresses := map[string]string{"network.node_to_node_interface": d.cfg.Network.NodeToNodeInterface.BindAddress}
	for name, i := range d.cfg.Network.RPCInterfaces {
		addresses["network.rpc_interfaces."+name] = i.BindAddress
	}
	if m := d.cfg.Chancery.Metrics; m != nil {
		addresses["chancery.metrics"] = m.BindAddress
	}
	for _, key := range slices.Sorted(maps.Keys(addresses)) {
		var lc net.ListenConfig
		ln, err := lc.Listen(ctx, "tcp", addresses[key])
		if err == nil {
			err = ln.Close()
		}
		if err != nil {
			d.problem("configuration", "choose another address, or stop what listens there (ss -ltnp names it)", "%s.bind_address: %v", key, err)
		}
	}
}

// certificates looks at the certificates that the node reads, and at those it wrote.
func (d *doctor) certificates() {
	written := d.running != 0 || d.cfg.Command.Type != config.CommandStart
	for _, c := range []struct{ key, path, remedy string }{
		{"command.service_certificate_file", d.cfg.Command.ServiceCertificateFile, "members renew it with the action set_service_certificate_validity; if they did, the one in force is in /node/network (chancery status)"},
		{"output_files.node_certificate_file", d.cfg.OutputFiles.NodeCertificateFile, "members renew it with the action set_all_nodes_certificate_validity"},
	} {
		if _, err := os.Stat(d.in(c.path)); err == nil && written {
			d.certificate(c.key, c.path, c.remedy)
		}
	}
	if d.cfg.Command.Type == config.CommandStart {
		for i, m := range d.cfg.Command.Start.Members {
			key := fmt.Sprintf("command.start.members[%d].certificate_file", i)
			if _, err := os.Stat(d.in(m.CertificateFile)); err == nil { // a missing one is reported already
				d.certificate(key, m.CertificateFile, "ask the member for a certificate that holds (chancery key gen makes one)")
			}
		}
	}
}

// certificate checks one certificate file.
func (d *doctor) certificate(key, path, remedy string) {
	path = d.in(path)
	text, err := os.ReadFile(path)
	if err != nil {
		d.problem("certificate", "see to it that the node's user may read it", "%s: %v", key, err)
		return
	}
	cert, err := client.ParseCertificate(text)
	if err != nil {
		d.problem("certificate", "put one certificate there, PEM", "%s: %s: %v", key, path, err)
		return
	}
	switch left := cert.NotAfter.Sub(d.now); {
	case d.now.Before(cert.NotBefore):
		d.problem("clock", "set the clock of this machine, or wait until then", "%s: %s is valid from %s, and here it is %s", key, path, cert.NotBefore.UTC().Format(time.RFC3339), d.now.UTC().Format(time.RFC3339))
	case left < 0:
		d.problem("certificate", remedy, "%s: %s expired %s", key, path, cert.NotAfter.UTC().Format(time.RFC3339))
	case left < expiresSoon:
		d.note("certificate", remedy, "%s: %s ends in %s", key, path, days(left))
	}
}

// clock looks whether the machine's clock can be right.
func (d *doctor) clock() {
	if built, ok := buildTime(); ok && d.now.Before(built) {
		d.problem("clock", "set the clock, and keep it with an NTP client", "here it is %s, before this program was built (%s)", d.now.UTC().Format(time.RFC3339), built.Format(time.RFC3339))
	}
	if synced, known := clockSynced(); known && !synced {
		d.note("clock", "run an NTP client: certificates, tokens and proposals are judged by this clock", "the kernel says that its clock is not synchronised")
	}
}

// buildTime is the time of the commit that the program was built from.
func buildTime() (time.Time, bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}, false
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			t, err := time.Parse(time.RFC3339, s.Value)
			return t, err == nil
		}
	}
	return time.Time{}, false
}

// platform looks whether this machine is what the node is to attest to.
func (d *doctor) platform() {
	switch d.cfg.Chancery.Platform {
	case config.PlatformSGX:
		d.note("platform", "build chanceryd with ego-go build -tags ego, and start it with ego run", "chancery.platform is sgx: only such a node can tell whether it is in an enclave")
		return
	case config.PlatformVirtual:
		return
	}
	if _, err := guest.Open(); err != nil {
		d.problem("platform", "start the node in an SEV-SNP guest whose kernel has configfs-tsm or /dev/sev-guest", "chancery.platform is snp: %v", err)
	}
}
