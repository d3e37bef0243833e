package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"chancery/gov/tables"
	"chancery/internal/identity"
)

// peerFileTimeout bounds the download of one file from another node.
const peerFileTimeout = 10 * time.Minute

// fetchPeerFile copies a file that another node serves on the interface at address to w,
// max bytes at most. The node is known by its key, whoever endorses the interface. What
// arrives is to be checked by the caller.
func (n *Node) fetchPeerFile(ctx context.Context, id, address, path string, w io.Writer, max int64) error {
	ctx, cancel := context.WithTimeout(ctx, peerFileTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+path, nil)
	if err != nil {
		return fmt.Errorf("asking node %s: %w", id, err)
	}
	transport := &http.Transport{
		TLSClientConfig: peerFileTLS(id), DisableKeepAlives: true, TLSHandshakeTimeout: n.cfg.ClientConnectionTimeout,
		ResponseHeaderTimeout: 5 * n.cfg.ClientConnectionTimeout,
		DialContext:           (&net.Dialer{Timeout: n.cfg.ClientConnectionTimeout}).DialContext,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("asking node %s: %w", id, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("node %s answers with status %d", id, resp.StatusCode)
	}
	size, err := io.Copy(w, io.LimitReader(resp.Body, max+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading from node %s: %w", id, err)
	case size > max:
		return fmt.Errorf("node %s sends more than %d bytes", id, max)
	}
	return nil
}

// peerFileTLS accepts the node with the given id alone.
func peerFileTLS(id string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, // the key is compared below; names and issuers differ by interface
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			if len(raw) == 0 {
				return errors.New("it shows no certificate")
			}
			cert, err := x509.ParseCertificate(raw[0])
			if err != nil {
				return err
			}
			have, err := identity.KeyID(cert.PublicKey)
			if err != nil {
				return err
			}
			if have != id {
				return fmt.Errorf("the key there is that of node %s", have)
			}
			return nil
		},
	}
}

// publishedAt is where others reach an interface.
func publishedAt(in tables.Interface) string {
	if in.PublishedAddress != "" {
		return in.PublishedAddress
	}
	return in.BindAddress
}
