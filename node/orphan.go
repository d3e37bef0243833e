package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"chancery/gov/tables"
	"chancery/server/api"
)

// orphanAfter is for how many election timeouts a node hears of no primary before it
// asks the others whether it is still one of them. One that was out of reach when it was
// retired is told so by nobody.
const orphanAfter = 3

// runOrphan ends the node with errRetired when it has lost the primary and the others
// say that the service has retired it.
func (n *Node) runOrphan(ctx context.Context) error {
	alone := 0
	return every(ctx, n.cfg.Consensus.ElectionTimeout, func() error {
		if n.replica() == nil || n.primaryID() != "" {
			alone = 0
			return nil
		}
		if alone++; alone < orphanAfter {
			return nil
		}
		alone = 0
		if n.retiredBehindItsBack(ctx) {
			n.log.Info("the other nodes say that the service has retired this node")
			return errRetired
		}
		return nil
	})
}

// retiredBehindItsBack asks the nodes that this one knows for its row: they must agree
// that it is Retired or gone, and at least one must answer. Each shows a certificate of
// the service.
func (n *Node) retiredBehindItsBack(ctx context.Context) bool {
	nodes, err := tables.NodesInfo.All(tables.View(n.store.Committed()))
	if err != nil {
		n.log.Warn("reading the nodes table", "err", err)
		return false
	}
	answers := 0
	for _, row := range nodes {
		if row.Key == n.keys.id || row.Value.Status != tables.NodeTrusted {
			continue
		}
		retired, err := n.askOwnStatus(ctx, row.Value)
		switch {
		case err != nil: // it is not there either
		case !retired:
			return false
		default:
			answers++
		}
	}
	return answers > 0
}

// askOwnStatus asks a node, by any interface that shows a certificate of the service,
// whether this one is retired.
func (n *Node) askOwnStatus(ctx context.Context, other tables.Node) (retired bool, err error) {
	err = fmt.Errorf("it has no interface with a certificate of the service")
	for _, i := range other.RPC {
		if i.Endorsement != nil && i.Endorsement.Authority != "Service" {
			continue
		}
		var status string
		if status, err = n.statusAt(ctx, i.PublishedAddress); err == nil {
			return status == "" || status == string(tables.NodeRetired), nil
		}
	}
	return false, err
}

// statusAt returns what a node's table says of this one, "" when it has no row.
func (n *Node) statusAt(ctx context.Context, address string) (string, error) {
	service, err := n.serviceCert()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, n.cfg.ClientConnectionTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/node/network/nodes/"+n.keys.id, nil)
	if err != nil {
		return "", err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true, VerifyPeerCertificate: n.issuedBy(service)}
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotFound {
		return "", nil
	}
	var row api.Node
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&row); err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s answers %d: %w", address, resp.StatusCode, err)
	}
	return row.Status, nil
}
