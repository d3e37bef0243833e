package tests

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"chancery/internal/identity"
)

// kept is a connection to a node that stays open.
type kept struct {
	conn *tls.Conn
	in   *bufio.Reader
}

// keep connects to an interface of a node, whatever its certificate.
func (n *netNode) keep(iface string) (*kept, *x509.Certificate, error) {
	c, err := tls.Dial("tcp", "127.0.0.1:"+n.ports[iface], &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, nil, err
	}
	return &kept{c, bufio.NewReader(c)}, c.ConnectionState().PeerCertificates[0], nil
}

// get asks over the connection.
func (k *kept) get(path string) error {
	if err := k.conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(k.conn, "GET %s HTTP/1.1\r\nHost: node\r\n\r\n", path); err != nil {
		return err
	}
	resp, err := http.ReadResponse(k.in, nil)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	return resp.Body.Close()
}

// believed connects as a client that checks the certificate does.
func (n *netNode) believed() error {
	c, err := tls.Dial("tcp", "127.0.0.1:"+n.ports[rpc], identity.ClientTLS(n.net.service, nil))
	if err != nil {
		return err
	}
	return c.Close()
}

// TestRenewal: certificates that end soon are renewed by the primary, and by governance,
// without a connection being dropped.
func TestRenewal(t *testing.T) {
	w := newNetwork(t, 2, func(config map[string]any) {
		config["node_certificate"].(map[string]any)["initial_validity_days"] = 1
		config["chancery"].(map[string]any)["renew_certificates_within"] = "24h"
		if start, ok := config["command"].(map[string]any)["start"].(map[string]any); ok {
			start["initial_service_certificate_validity_days"] = 1
			start["service_configuration"].(map[string]any)["maximum_node_certificate_validity_days"] = 40
		}
	})
	var all []*kept
	for _, n := range w.nodes {
		for _, iface := range []string{rpc, own} {
			k, _, err := n.keep(iface)
			must(t, err)
			t.Cleanup(func() { _ = k.conn.Close() })
			all = append(all, k)
		}
	}
	// ends waits until every interface shows a certificate for so many days, and then asks
	// over each connection that was there before.
	ends := func(days int) {
		t.Helper()
		for _, n := range w.nodes {
			for _, iface := range []string{rpc, own} {
				w.until(fmt.Sprintf("%s has a certificate for %d days at %s", n.name, days, iface), func() error {
					k, cert, err := n.keep(iface)
					if err != nil {
						return err
					}
					defer k.conn.Close()
					if got := cert.NotAfter.Add(time.Second).Sub(cert.NotBefore); got != time.Duration(days)*24*time.Hour {
						return fmt.Errorf("it is for %v", got)
					}
					return nil
				})
			}
			w.until("the file of its own certificate has the same", func() error {
				self, err := readCert(filepath.Join(n.dir, "node.pem"))
				if err == nil && self.NotAfter.Add(time.Second).Sub(self.NotBefore) != time.Duration(days)*24*time.Hour {
					err = errors.New("it has not")
				}
				return err
			})
		}
		for i, k := range all {
			if err := k.get("/node/commit"); err != nil {
				t.Errorf("for %d days: connection %d: %v", days, i, err)
			}
		}
	}
	ends(40)
	w.until("the service's certificate is renewed", func() error {
		c := w.client(w.nodes[1])
		defer c.Close()
		info, err := c.ServiceInfo(t.Context())
		if err != nil {
			return err
		}
		cert, err := identity.ParseCertificate([]byte(info.Certificate))
		if err != nil {
			return err
		}
		if cert.NotAfter.Sub(cert.NotBefore) < 300*24*time.Hour {
			return errors.New("it is not")
		}
		w.service = cert
		return os.WriteFile(filepath.Join(w.dir, "service_cert.pem"), []byte(info.Certificate), 0o644)
	})
	c := w.client(w.nodes[0])
	defer c.Close()
	m := w.asMember(c)
	set := func(from time.Time, days int) {
		t.Helper()
		w.propose(m, action{"set_all_nodes_certificate_validity", map[string]any{"valid_from": from.UTC().Format("060102150405Z"), "validity_period_days": days}})
	}
	set(time.Now(), 30)
	ends(30)
	w.join() // under the renewed certificate of the service
	for i, n := range w.nodes {
		if code, body, err := n.put(i, "after the renewal"); err != nil || code != http.StatusOK {
			t.Errorf("%s: %d %s %v", n.name, code, body, err)
		}
	}
	w.agree(w.nodes...)
}

// TestExpired: where governance lets the certificates of the nodes and of the service end,
// clients that check them are refused and those that are there stay; nodes that know each
// other go on, also over connections that are new, and a node that joins waits; members
// bring it back over a connection that they have.
func TestExpired(t *testing.T) {
	links := newMesh(t)
	w := &network{t: t, dir: t.TempDir(), edits: []func(map[string]any){links.edit}}
	t.Cleanup(links.close)
	w.begin(2)
	lead, backup := w.nodes[0], w.nodes[1]
	k, _, err := backup.keep(rpc)
	must(t, err)
	defer k.conn.Close()
	c := w.client(lead)
	defer c.Close()
	m := w.asMember(c)
	set := func(from string) {
		t.Helper()
		for _, name := range []string{"set_all_nodes_certificate_validity", "set_service_certificate_validity"} {
			w.propose(m, action{name, map[string]any{"valid_from": from, "validity_period_days": 1}})
		}
	}
	set("200101000000Z")
	for _, n := range w.nodes {
		w.until(n.name+"'s certificate and the service's have ended", func() error {
			other, cert, err := n.keep(rpc)
			if err != nil {
				return err
			}
			defer other.conn.Close()
			var info struct {
				Certificate string `json:"service_certificate"`
			}
			if err := n.getJSON("/node/network", &info); err != nil {
				return err
			}
			service, err := identity.ParseCertificate([]byte(info.Certificate))
			if err == nil && (time.Now().Before(cert.NotAfter) || time.Now().Before(service.NotAfter)) {
				err = errors.New("they have not")
			}
			return err
		})
		if err := n.believed(); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("a client that checks %s: %v", n.name, err)
		}
	}
	must(t, k.get("/node/commit"))
	for i, way := range []string{"a connection that was there", "a new one"} {
		if code, body, err := backup.put(2+i, "forwarded to the primary"); err != nil || code != http.StatusOK {
			t.Errorf("a forwarded write over %s: %d %s %v", way, code, body, err)
		}
		links.set(lead, backup, link{cut: true})
		links.set(backup, lead, link{cut: true})
		links.heal(true) // which closes what there is between them
	}
	w.agree(w.nodes...)
	late := w.start("127.0.0.1:" + lead.ports[rpc])
	w.nodes = w.nodes[:2]
	w.until("a node that joins waits", func() error {
		if !strings.Contains(late.log(), "it is valid from 2020-01-01") {
			return errors.New("it does not say for what")
		}
		return nil
	})

	set(time.Now().UTC().Format("060102150405Z"))
	for _, n := range w.nodes {
		w.until(n.name+" is believed again", n.believed)
	}
	w.trust(late)
	w.add(late)
	w.agree(w.nodes...)
	must(t, k.get("/node/commit"))
}
