package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/ledger"
	"chancery/node/config"
	"chancery/server/api"
)

// joiner is a node that asks to become part of a service.
type joiner struct {
	n       *Node
	service *x509.Certificate // that the target must show
	target  string            // host:port
	request map[string]any
	from    *ledger.SnapshotFile // the snapshot to begin with; nil without one
	before  *x509.Certificate    // the service whose ledger is here, where it is another one
	own     *tls.Certificate
}

// joined is what the service gave to this node.
type joined struct{ network *api.NetworkInfo }

// refusedError ends a node that the service does not let in.
type refusedError struct {
	target string
	status int
	body   []byte
}

// code is what the answer says, if it says something.
func (e *refusedError) code() (code api.Code, message string) {
	var b api.ErrorBody
	if json.Unmarshal(e.body, &b) != nil || b.Error == nil {
		return "", ""
	}
	return b.Error.Code, b.Error.Message
}

func (e *refusedError) Error() string {
	if code, message := e.code(); code != "" {
		return fmt.Sprintf("the service at %s refuses this node: %d %s: %s", e.target, e.status, code, message)
	}
	return fmt.Sprintf("the service at %s refuses this node with status %d", e.target, e.status)
}

// errUntrusted says that the target is no node of the service, in CCF's words, for which
// scripts look, and then in ours.
var errUntrusted = errors.New("invalid cert on handshake: it is not issued by the service of command.service_certificate_file")

// prepareJoin makes the node's own keys and certificate, and checks that what lies in
// its ledger directory can be the service's.
func (n *Node) prepareJoin(ctx context.Context) (err error) {
	text, err := n.fs.ReadFile(n.cfg.Command.ServiceCertificateFile)
	if err != nil {
		return fmt.Errorf("command.service_certificate_file: %w", err)
	}
	if n.identity, err = identity.ParseCertificate(text); err != nil {
		return fmt.Errorf("command.service_certificate_file: %w", err)
	}
	before, err := n.ledgerOfAnother()
	if err != nil {
		return err
	}
	now := n.opts.Now().UTC().Truncate(time.Second)
	if n.keys, err = newNodeKeys(n.cfg.NodeCertificate.CurveID); err != nil {
		return err
	}
	if n.certs, err = newCertificates(n.cfg, n.keys, n.listeners.publishedRPC(), now); err != nil {
		return err
	}
	n.secrets = new(ledger.Secrets)
	if n.joiner, err = n.newJoiner(ctx); err != nil {
		return err
	}
	n.joiner.before = before
	return n.joiner.findSnapshot()
}

// ledgerOfAnother returns the certificate of the service whose ledger is in the directory,
// nil where there is none or it is the service to be joined.
func (n *Node) ledgerOfAnother() (*x509.Certificate, error) {
	last, _, err := n.lastRows()
	if err != nil || last == nil {
		return nil, err
	}
	cert, err := identity.ParseCertificate([]byte(last.Cert))
	if err != nil {
		return nil, fmt.Errorf("the ledger in %s: %w", n.cfg.Ledger.Directory, err)
	}
	if bytes.Equal(cert.RawSubjectPublicKeyInfo, n.identity.RawSubjectPublicKeyInfo) {
		return nil, nil
	}
	return cert, nil
}

// errForeignLedger ends a node that holds the ledger of a service which is neither the one
// to be joined nor the one that it was recovered from.
var errForeignLedger = errors.New("is another service's")

// checkPredecessor accepts the ledger of the service from which the one to be joined was
// recovered: the nodes of a recovery are given copies of the lost service's files.
func (j *joiner) checkPredecessor(ctx context.Context) error {
	status, _, body, err := j.call(ctx, http.MethodGet, "/node/service/previous_identity", nil)
	if err != nil {
		return err
	}
	foreign := fmt.Errorf("command Join: the ledger in %s %w", j.n.cfg.Ledger.Directory, errForeignLedger)
	switch status {
	case http.StatusOK:
	case http.StatusNotFound:
		return foreign
	default:
		return fmt.Errorf("asking %s from which service it was recovered: status %d", j.target, status)
	}
	var is api.PreviousIdentity
	if err := json.Unmarshal(body, &is); err != nil {
		return fmt.Errorf("the answer of %s: %w", j.target, err)
	}
	cert, err := identity.ParseCertificate([]byte(is.Certificate))
	if err != nil {
		return fmt.Errorf("the answer of %s: %w", j.target, err)
	}
	if !bytes.Equal(cert.RawSubjectPublicKeyInfo, j.before.RawSubjectPublicKeyInfo) {
		return foreign
	}
	j.before = nil
	return nil
}

func (n *Node) newJoiner(ctx context.Context) (*joiner, error) {
	_, quote, err := n.attest(ctx)
	if err != nil {
		return nil, err
	}
	row, err := n.row(quote)
	if err != nil {
		return nil, err
	}
	request := map[string]any{
		"node_info_network":           map[string]any{"node_to_node_interface": row.NodeToNode, "rpc_interfaces": row.RPC},
		"quote_info":                  row.Quote,
		"public_encryption_key":       row.EncryptionKey,
		"certificate_signing_request": row.CSR,
		"node_data":                   row.Data,
		"ledger_sign_mode":            string(n.cfg.Chancery.LedgerSignMode),
	}
	if sealed := n.sealing.sealed(); sealed != nil {
		request["sealing_recovery_data"] = []any{sealed.Key, sealed.Name}
	}
	own, err := n.certs.self.Get()
	if err != nil {
		return nil, err
	}
	return &joiner{n: n, service: n.identity, target: n.cfg.Command.Join.TargetRPCAddress, request: request, own: own}, nil
}

// run asks again and again until the service trusts this node. Errors: what the service
// refuses for good, a target that is not of the service, ctx's.
func (j *joiner) run(ctx context.Context) error {
	retry := time.NewTimer(0)
	defer retry.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-retry.C:
		}
		answer, err := j.ask(ctx)
		var refused *refusedError
		switch {
		case errors.Is(err, errForeignLedger):
			return err
		case errors.As(err, &refused) && refused.tooOld():
			if err := j.renew(ctx, err); err != nil {
				return err
			}
			retry.Reset(0)
			continue
		case errors.As(err, &refused), errors.Is(err, errUntrusted):
			return err
		case err == nil && answer != nil && answer.NetworkInfo != nil:
			return j.accept(answer)
		}
		now := "the service has not decided on this node yet; a member proposes transition_node_to_trusted for it"
		if err != nil {
			now = err.Error()
		}
		if said != now && ctx.Err() == nil {
			j.n.log.Info("not joined yet, asking again", "node", j.n.keys.id, "target", j.target, "reason", now)
			said = now
		}
		retry.Reset(j.n.cfg.Command.Join.RetryTimeout)
	}
}

// maxJoinAnswer bounds the answer to a request to join, in bytes.
const maxJoinAnswer = 16 << 20

// ask sends one request. A nil answer says that the next request goes elsewhere.
func (j *joiner) ask(ctx context.Context) (*api.JoinAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*j.n.cfg.ClientConnectionTimeout)
	defer cancel()
	if j.before != nil {
		if err := j.checkPredecessor(ctx); err != nil {
			return nil, err
		}
	}
	j.request["startup_seqno"] = j.startup()
	request, err := tables.Marshal(j.request)
	if err != nil {
		return nil, fmt.Errorf("encoding the request to join: %w", err)
	}
	status, header, body, err := j.call(ctx, http.MethodPost, "/node/join", request)
	if err != nil {
		return nil, err
	}
	switch {
	case status == http.StatusOK:
		out := &api.JoinAnswer{}
		if err := json.Unmarshal(body, out); err != nil {
			return nil, fmt.Errorf("the answer of %s: %w", j.target, err)
		}
		return out, nil
	case status == http.StatusTemporaryRedirect, status == http.StatusPermanentRedirect:
		return nil, j.follow(header.Get(api.HeaderLocation))
	case status/100 == 4:
		return nil, &refusedError{target: j.target, status: status, body: body}
	}
	return nil, fmt.Errorf("%s answers with status %d", j.target, status)
}

// call sends one request to the target, which must be of the service.
func (j *joiner) call(ctx context.Context, method, path string, request []byte) (status int, header http.Header, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://"+j.target+path, bytes.NewReader(request))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("command.join.target_rpc_address: %w", err)
	}
	if request != nil {
		req.Header.Set(api.HeaderContentType, api.TypeJSON)
	}
	transport := &http.Transport{
		TLSClientConfig: j.tls(), DisableKeepAlives: true,
		DialContext: (&net.Dialer{Timeout: j.n.cfg.ClientConnectionTimeout}).DialContext,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("asking %s: %w", j.target, err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxJoinAnswer))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("asking %s: %w", j.target, err)
	}
	return resp.StatusCode, resp.Header, body, nil
}

// follow makes the place of a redirect the next target.
func (j *joiner) follow(location string) error {
	if !j.n.cfg.Command.Join.FollowRedirect {
		return fmt.Errorf("%s redirects to %s, and command.join.follow_redirect is off", j.target, location)
	}
	to, err := url.Parse(location)
	if err != nil || to.Host == "" {
		return fmt.Errorf("%s redirects to %q", j.target, location)
	}
	j.target = to.Host
	return nil
}

// tls trusts nodes of the service, by whatever address they are reached.
func (j *joiner) tls() *tls.Config {
	c := identity.ClientTLS(j.service, j.own)
	c.InsecureSkipVerify = true // the chain is checked below; the name is not the node's identity
	c.VerifyPeerCertificate = j.n.issuedBy(j.service)
	return c
}

// issuedBy accepts a certificate that the service issued and that is valid now, whatever
// name it has.
func (n *Node) issuedBy(service *x509.Certificate) func([][]byte, [][]*x509.Certificate) error {
	return func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 {
			return errUntrusted
		}
		cert, err := x509.ParseCertificate(raw[0])
		if err != nil {
			return fmt.Errorf("%w: %w", errUntrusted, err)
		}
		if err := identity.IssuedBy(cert, service); err != nil {
			return fmt.Errorf("%w: %w", errUntrusted, err)
		}
		if now := n.opts.Now(); now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			return fmt.Errorf("it is valid from %s to %s", cert.NotBefore, cert.NotAfter)
		}
		return nil
	}
}

// accept takes what the service gave.
func (j *joiner) accept(a *api.JoinAnswer) error {
	n, network := j.n, a.NetworkInfo
	key, err := identity.ParseECPrivateKey([]byte(network.Identity.PrivateKey))
	if err != nil {
		return fmt.Errorf("the service's key: %w", err)
	}
	if !key.PublicKey.Equal(j.service.PublicKey) {
		return errors.New("the service's key is not that of command.service_certificate_file")
	}
	n.keys.service = key
	for _, s := range network.LedgerSecrets {
		secret, err := ledger.NewSecret(s.Key)
		if err != nil {
			return fmt.Errorf("the ledger secret from %d: %w", s.From, err)
		}
		if err := n.secrets.Add(s.From, secret); err != nil {
			return fmt.Errorf("the ledger secret from %d: %w", s.From, err)
		}
	}
	if n.known, _ = n.secrets.Last(); n.known == 0 {
		return errors.New("the service gave no ledger secret")
	}
	if network.EndorsedCertificate == "" {
		return errors.New("the service endorsed no certificate for this node")
	}
	n.joined.Store(&joined{network})
	if network.PublicOnly {
		if err := n.joinRecovery(uint64(network.LastRecoveredSigned)); err != nil {
			return err
		}
	}
	if err := n.use(network.EndorsedCertificate); err != nil {
		return err
	}
	return n.saveKeys()
}

// joinService asks until it is let in, and then takes part.
func (n *Node) joinService(ctx context.Context) error {
	n.state.Store(statePending)
	if err := n.joiner.run(ctx); err != nil {
		return ignoreStop(ctx, err)
	}
	if err := n.openReplica(ctx); err != nil {
		return ignoreStop(ctx, err)
	}
	if n.recovery.Load() == nil {
		n.state.Store(statePartOfNetwork)
	}
	n.log.Info("the node is part of the network", "node", n.keys.id)
	return nil
}

// joinRecovery makes the node one of a service whose private state, through target, is
// still to be restored.
func (n *Node) joinRecovery(target uint64) error {
	for from := range n.secrets.All() {
		if from <= target || target == 0 {
			return fmt.Errorf("the service is being recovered from its ledger through %d, and gave a ledger secret from %d", target, from)
		}
	}
	if err := n.ledger.BeginRecovery(target + 1); err != nil {
		return err
	}
	n.recovery.Store(newRecovery(target))
	n.state.Store(statePublic)
	n.log.Info("the service is being recovered: this node knows its public state only until members have submitted their shares", "through", target)
	return nil
}

// joins says whether the node joins a service that runs.
func (n *Node) joins() bool { return n.cfg.Command.Type == config.CommandJoin }

// NetworkInfo returns what a trusted node needs: the service's identity and the ledger
// secrets of the committed history. A secret that is not committed reaches it like every
// node, in the transaction that announces it. It is nil while this node has restored
// secrets and the service is not open: what was given then would be neither the public
// state alone nor all of it.
func (n *Node) NetworkInfo() (*api.NetworkInfo, error) {
	recovery := n.recovery.Load()
	committed := n.store.Committed() // read first: what it says of restored secrets holds for all that is given
	service, ok, err := tables.ServiceInfo.Get(tables.View(committed))
	if err != nil || !ok {
		return nil, fmt.Errorf("there is no service yet: %w", err)
	}
	key, err := identity.PrivateKeyPEM(n.keys.service)
	if err != nil {
		return nil, fmt.Errorf("encoding the service's key: %w", err)
	}
	if recovery != nil && (service.Status != tables.ServiceOpen || n.publicOnly()) {
		row, err := restoredIn(committed, recovery.target)
		if err != nil {
			return nil, err
		}
		if row != nil || service.Status == tables.ServiceOpen {
			return nil, nil
		}
	} else {
		recovery = nil // it is over
	}
	cose := n.coseIDs()
	out := &api.NetworkInfo{
		Identity: api.NetworkIdentity{Certificate: service.Cert, PrivateKey: string(key)}, ServiceStatus: string(service.Status),
		COSESignatures: &api.COSESignatureIDs{Issuer: cose.Issuer, Subject: cose.Subject},
	}
	if recovery != nil {
		out.PublicOnly, out.LastRecoveredSigned = true, int64(recovery.target)
	}
	for from, s := range n.secrets.All() {
		if recovery != nil && from <= recovery.target {
			return nil, nil // restored since the tables were looked at
		}
		if from <= committed.TxID().Seqno+1 {
			out.LedgerSecrets = append(out.LedgerSecrets, api.LedgerSecret{From: from, Key: s.Key()})
		}
	}
	return out, nil
}

// coseIDs are the CWT claims of the ledger's COSE signatures: configured where the
// service was started, given with the secrets to those who joined it.
func (n *Node) coseIDs() config.COSESignatures {
	if j := n.joined.Load(); j != nil && j.network.COSESignatures != nil {
		return config.COSESignatures{Issuer: j.network.COSESignatures.Issuer, Subject: j.network.COSESignatures.Subject}
	}
	return n.cfg.Command.Start.COSESignatures
}
