package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"chancery/attest/platform"
	"chancery/client"
	"chancery/internal/supervise"
)

// target is the service that a command talks to, and as whom. What is not given comes
// from the workspace of `chancery up`.
type target struct {
	workspace, url, serviceCert string
	urls                        []string // of all nodes that are known
	others                      []string // nodes to turn to where that at url does not answer
	cert, key                   string
	role                        string // name of the identity taken from the workspace
	policy                      string // what the nodes must attest to; "" asks for nothing
}

func (t *target) flags(c *cobra.Command) {
	if t.role == "" {
		t.role = "user0"
	}
	c.Flags().StringVar(&t.workspace, "workspace", "workspace", "the workspace of chancery up, for what is not given below")
	c.Flags().StringVar(&t.url, "url", "", "a node of the service, https://host:port")
	c.Flags().StringVar(&t.serviceCert, "service-cert", "", "the service's certificate, PEM")
	c.Flags().StringVar(&t.cert, "cert", "", "your certificate, PEM")
	c.Flags().StringVar(&t.key, "key", "", "your private key, PEM")
	c.Flags().StringVar(&t.policy, "attest", "", "what each node must attest to before anything is sent to it: a file like the answer of /gov/service/join-policy")
}

// fill completes what was not given on the command line.
func (t *target) fill() error {
	w := supervise.Workspace(t.workspace)
	t.urls = append([]string{t.url}, t.others...)
	if t.url == "" {
		urls, err := w.URLs()
		if errors.Is(err, fs.ErrNotExist) {
			return usagef("--url is missing, and there is no workspace %s", t.workspace)
		} else if err != nil {
			return err
		}
		t.url, t.urls = urls[0], urls
	}
	if t.serviceCert == "" {
		t.serviceCert = w.Common("service_cert.pem")
	}
	if (t.cert == "") != (t.key == "") {
		return usagef("--cert and --key belong together")
	}
	if t.cert == "" {
		cert := w.Common(t.role + "_cert.pem")
		if _, err := os.Stat(cert); err == nil {
			t.cert, t.key = cert, w.Common(t.role+"_privk.pem")
		}
	}
	return nil
}

// connect returns a client; it connects with the first request.
func (t *target) connect() (*client.Client, error) {
	if err := t.fill(); err != nil {
		return nil, err
	}
	service, err := readCertificate(t.serviceCert)
	if err != nil {
		return nil, err
	}
	cfg := client.Config{URLs: t.urls, Service: service}
	policy, err := readPolicy(t.policy)
	if err != nil {
		return nil, err
	}
	if policy != nil {
		cfg.Attest = &client.Attestation{Verifier: platform.Verifier{}, Policy: policy}
	}
	if t.cert != "" {
		own, err := tls.LoadX509KeyPair(t.cert, t.key)
		if err != nil {
			return nil, fmt.Errorf("reading %s and %s: %w", filepath.Base(t.cert), filepath.Base(t.key), err)
		}
		cfg.Certificate = &own
	}
	return client.New(cfg)
}
