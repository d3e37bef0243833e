package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"chancery/attest"
	"chancery/gov"
	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/server/api"
)

// joinBody is the body of a request to join.
type joinBody struct {
	Network struct {
		NodeToNode tables.Interface            `json:"node_to_node_interface"`
		RPC        map[string]tables.Interface `json:"rpc_interfaces"`
	} `json:"node_info_network"`
	Quote         tables.QuoteInfo `json:"quote_info"`
	EncryptionKey string           `json:"public_encryption_key"`
	CSR           *string          `json:"certificate_signing_request"`
	Data          tables.Data      `json:"node_data"`
	StartupSeqno  json.Number      `json:"startup_seqno"`
	SignMode      *string          `json:"ledger_sign_mode"`
	Sealed        *gov.SealedNode
}

// signModes are the words for the kinds of signatures that a ledger carries.
var signModes = map[string]bool{"Dual": true, "CoseAllowDualJoin": true, "CoseOnly": true}

// quoteFormats are the words for the platforms that a quote can come from.
var quoteFormats = map[string]bool{tables.QuoteVirtual: true, tables.QuoteSNP: true, tables.QuoteSGX: true}

// postJoin lets a node in: as Pending until members trust it. A node that is trusted
// in the committed state is given what it needs to take part. The client's TLS
// certificate says which node asks.
func (s *Server) postJoin(ctx context.Context, c *Call) (any, error) {
	in, err := parseJoin(c.Body)
	if err != nil {
		return nil, err
	}
	info := s.node.Info()
	if !readyForMembers(info.State) {
		return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "Target node should be part of network to accept new nodes.")
	}
	if seqno, err := in.StartupSeqno.Int64(); err == nil && seqno >= 0 && uint64(seqno) < info.InitIndex {
		return nil, api.Errorf(http.StatusBadRequest, api.StartupSeqnoIsOld,
			"Node requested to join from seqno %d which is older than this node startup seqno %d. A snapshot at least as recent as %d must be used instead.", seqno, info.InitIndex, info.InitIndex)
	}
	if _, ok, err := tables.ServiceInfo.Get(c.Tx); err != nil || !ok {
		return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "No service is available to accept new node.")
	}
	peer := c.Session.Peer()
	if peer == nil {
		return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "A node that joins must show its certificate.")
	}
	row, known, err := tables.NodesInfo.Get(c.Tx, peer.KeyID)
	switch {
	case err != nil:
		return nil, err
	case known:
		return s.knownJoiner(c, peer.KeyID, row)
	case !s.node.Position().Primary:
		return nil, s.joinAtPrimary(c, info.PrimaryID)
	}
	return s.newJoiner(ctx, c, in, peer)
}

// knownJoiner answers a node that is in the tables already.
func (s *Server) knownJoiner(c *Call, id string, row tables.Node) (any, error) {
	switch row.Status {
	case tables.NodePending:
		if gov.PendingStale(row, s.now(), s.cfg.PendingTimeout) {
			if !s.node.Position().Primary {
				return nil, s.joinAtPrimary(c, s.node.Info().PrimaryID)
			}
			if err := gov.SeenPending(c.Tx, id, row, s.now(), s.cfg.PendingTimeout); err != nil {
				return nil, err
			}
		}
		return api.JoinAnswer{NodeID: id, NodeStatus: string(tables.NodePending)}, nil
	case tables.NodeTrusted:
	default:
		return nil, api.Errorf(http.StatusBadRequest, api.InvalidNodeState, "Joining node is not in expected state (RETIRED).")
	}
	// Secrets leave on committed state only: a node whose trust is not committed yet
	// waits for it as one that is Pending.
	committed := tables.View(s.node.Committed())
	row, ok, err := tables.NodesInfo.Get(committed, id)
	if err != nil {
		return nil, err
	}
	if !ok || row.Status != tables.NodeTrusted {
		return api.JoinAnswer{NodeID: id, NodeStatus: string(tables.NodePending)}, nil
	}
	network, err := s.node.NetworkInfo()
	if err != nil {
		return nil, fmt.Errorf("gathering what node %s needs: %w", id, err)
	}
	if network == nil { // a recovery is about to end
		return api.JoinAnswer{NodeID: id, NodeStatus: string(tables.NodePending)}, nil
	}
	if network.EndorsedCertificate, _, err = tables.NodesEndorsedCertificates.Get(committed, id); err != nil {
		return nil, err
	}
	return api.JoinAnswer{NodeID: id, NodeStatus: string(tables.NodeTrusted), NetworkInfo: network}, nil
}

// joinAtPrimary redirects a node that is not known yet to the primary.
func (s *Server) joinAtPrimary(c *Call, primary string) error {
	if primary == "" {
		return api.Errorf(http.StatusInternalServerError, api.InternalError, "Primary unknown")
	}
	return s.redirectTo(c, primary, "/node/join", "Node is not primary; cannot handle write")
}

func (s *Server) newJoiner(ctx context.Context, c *Call, in *joinBody, peer *Peer) (any, error) {
	key, err := identity.KeyDigest(peer.Cert.PublicKey)
	if err != nil {
		return nil, api.Errorf(http.StatusBadRequest, api.InvalidInput, "The node's certificate: %s", err)
	}
	public, err := identity.PublicKeyPEM(peer.Cert.PublicKey)
	if err != nil {
		return nil, err
	}
	from, to := peer.Cert.NotBefore, peer.Cert.NotAfter
	r := gov.JoinRequest{
		Key: key, ValidFrom: from.UTC().Format("060102150405Z"), ValidDays: uint64(max(to.Add(time.Second).Sub(from)/(24*time.Hour), 1)),
		Node: tables.Node{
			NodeToNode: in.Network.NodeToNode, RPC: in.Network.RPC, Quote: in.Quote, EncryptionKey: in.EncryptionKey,
			PublicKey: string(public), Data: in.Data,
		},
		Sealed: in.Sealed,
	}
	if now := s.now().UnixMilli(); s.cfg.PendingTimeout > 0 {
		r.Node.PendingLastSeen = &now
	}
	if in.CSR != nil {
		r.Node.CSR = *in.CSR
	}
	if r.Node.RPC == nil {
		r.Node.RPC = map[string]tables.Interface{}
	}
	status, err := gov.AddNode(ctx, c.Tx, c.govEffects(), s.cfg.Verifier, r)
	if err != nil {
		refused := joinRefusal(err)
		if answer := (*api.Error)(nil); errors.As(refused, &answer) { // err says more than the node is told: which check failed
			s.log.WarnContext(ctx, "a node is refused", "node", peer.KeyID, "reason", err)
		}
		return nil, refused
	}
	if s.cfg.SignMode == "CoseOnly" && in.SignMode != nil && *in.SignMode == "Dual" {
		return nil, api.Errorf(http.StatusBadRequest, api.InvalidInput,
			"This network does not accept nodes running in Dual signing mode. The joining node must use COSE-only signing.")
	}
	s.log.InfoContext(ctx, "a node asks to join", "node", peer.KeyID, "status", status)
	// Trusted or not, it is given nothing before this is committed: it asks again.
	return api.JoinAnswer{NodeID: peer.KeyID, NodeStatus: string(tables.NodePending)}, nil
}

// joinRefusal words what is wrong with a node as CCF does.
func joinRefusal(err error) error {
	var taken *gov.AddressTakenError
	quote := func(message string) error {
		return api.Errorf(http.StatusUnauthorized, api.InvalidQuote, "%s", message)
	}
	switch {
	case errors.As(err, &taken):
		return api.Errorf(http.StatusBadRequest, api.NodeAlreadyExists, "%s", taken)
	case errors.Is(err, gov.ErrForeignRequest):
		return api.Errorf(http.StatusBadRequest, api.CSRPublicKeyInvalid, "%s", gov.ErrForeignRequest)
	case errors.Is(err, gov.ErrBadRequest):
		return api.Errorf(http.StatusInternalServerError, api.InternalError, "%s", err)
	case errors.Is(err, attest.ErrNoHostData):
		return quote("Quote does not contain trusted host data")
	case errors.Is(err, attest.ErrNotGenuine):
		return quote("Quote could not be verified")
	case errors.Is(err, attest.ErrHostData):
		return quote("Quote host data is not authorised")
	case errors.Is(err, attest.ErrMeasurement):
		return quote("Quote does not contain known enclave measurement")
	case errors.Is(err, attest.ErrReportData):
		return quote("Quote report data does not match the hash of the public key for this node")
	case errors.Is(err, attest.ErrUVM):
		return quote("UVM endorsements are not authorised")
	case errors.Is(err, attest.ErrTCB):
		return quote("Quote TCB version is too low")
	case errors.Is(err, attest.ErrCPUID):
		return quote("Quote CPUID is unknown")
	}
	return err
}

// parseJoin reads the body of a request to join, field by field in CCF's order.
func parseJoin(body []byte) (*joinBody, error) {
	if len(body) == 0 {
		body = []byte("{}") // as in CCF
	}
	if err := checkJSON(body); err != nil {
		return nil, err
	}
	all, err := objectAt("#/", body)
	if err != nil {
		return nil, err
	}
	in := &joinBody{}
	network, err := member("#/", all, body, "node_info_network")
	if err != nil {
		return nil, err
	}
	if err := in.readNetwork(network); err != nil {
		return nil, err
	}
	quote, err := member("#/", all, body, "quote_info")
	if err != nil {
		return nil, err
	}
	if err := in.readQuote(quote); err != nil {
		return nil, err
	}
	key, err := member("#/", all, body, "public_encryption_key")
	if err != nil {
		return nil, err
	}
	if err := readPEM(key, &in.EncryptionKey); err != nil {
		return nil, err
	}
	seqno, err := member("#/", all, body, "startup_seqno")
	if err != nil {
		return nil, err
	}
	if len(seqno) > 0 && seqno[0] == '"' || json.Unmarshal(seqno, &in.StartupSeqno) != nil {
		return nil, misfit("#/startup_seqno", seqno, "a number")
	}
	if csr, ok := all["certificate_signing_request"]; ok && string(csr) != "null" {
		in.CSR = new(string)
		if err := readPEM(csr, in.CSR); err != nil {
			return nil, err
		}
	}
	if data, ok := all["node_data"]; ok && string(data) != "null" {
		in.Data = tables.Data(data)
	}
	if mode, ok := all["ledger_sign_mode"]; ok && string(mode) != "null" {
		in.SignMode = new(string)
		if err := readWord("#/", mode, in.SignMode, signModes, "LedgerSignMode"); err != nil {
			return nil, err
		}
	}
	if sealed, ok := all["sealing_recovery_data"]; ok && string(sealed) != "null" {
		if err := in.readSealed(sealed); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// sealedVersions are the words for the ways in which a recovery key is sealed.
var sealedVersions = map[string]bool{attest.SealedSNP: true, attest.SealedSGX: true, attest.SealedVirtual: true}

// readSealed reads a pair: the node's recovery key, and the name of its location.
func (in *joinBody) readSealed(raw json.RawMessage) error {
	const at = "#/sealing_recovery_data"
	var pair []json.RawMessage
	if err := json.Unmarshal(raw, &pair); err != nil || len(pair) != 2 {
		return misfit(at, raw, "array of size 2")
	}
	all, err := objectAt(at+"/0", pair[0])
	if err != nil {
		return err
	}
	sealed := &gov.SealedNode{}
	version, err := member(at+"/0", all, pair[0], "version")
	if err != nil {
		return err
	}
	if err := readWord(at+"/0/version", version, &sealed.Key.Version, sealedVersions, "DerivedSealingKeyAlgorithm"); err != nil {
		return err
	}
	for _, f := range []string{"ciphertext", "pubkey", "tcb_version"} {
		if _, err := member(at+"/0", all, pair[0], f); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(pair[0], &sealed.Key); err != nil {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "At %s: %s", at, err)
	}
	// Every change of the secrets wraps one for this key: it must do.
	if key, err := identity.ParseRSAPublicKey([]byte(sealed.Key.PublicKey)); err != nil || key.N.BitLen() < 2048 {
		return misfit(at+"/0/pubkey", all["pubkey"], "an RSA key of at least 2048 bits")
	}
	if err := json.Unmarshal(pair[1], &sealed.Name); err != nil || sealed.Name == "" {
		return misfit(at+"/1", pair[1], "string")
	}
	in.Sealed = sealed
	return nil
}

func (in *joinBody) readNetwork(raw json.RawMessage) error {
	const at = "#/node_info_network"
	all, err := objectAt(at, raw)
	if err != nil {
		return err
	}
	n2n, err := member(at, all, raw, "node_to_node_interface")
	if err != nil {
		return err
	}
	if err := readInterface(at+"/node_to_node_interface", n2n, &in.Network.NodeToNode); err != nil {
		return err
	}
	rpc, err := member(at, all, raw, "rpc_interfaces")
	if err != nil {
		return err
	}
	interfaces, err := objectAt(at+"/rpc_interfaces", rpc)
	if err != nil {
		return err
	}
	in.Network.RPC = make(map[string]tables.Interface, len(interfaces))
	for name, raw := range interfaces {
		var i tables.Interface
		if err := readInterface(at+"/rpc_interfaces", raw, &i); err != nil {
			return err
		}
		in.Network.RPC[name] = i
	}
	return nil
}

func readInterface(at string, raw json.RawMessage, to *tables.Interface) error {
	all, err := objectAt(at, raw)
	if err != nil {
		return err
	}
	if _, err := member(at, all, raw, "bind_address"); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, to); err != nil {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "At %s: %s", at, err)
	}
	if to.PublishedAddress == "" {
		to.PublishedAddress = to.BindAddress
	}
	return nil
}

func (in *joinBody) readQuote(raw json.RawMessage) error {
	const at = "#/quote_info"
	all, err := objectAt(at, raw)
	if err != nil {
		return err
	}
	format, err := member(at, all, raw, "format")
	if err != nil {
		return err
	}
	if err := readWord(at+"/format", format, &in.Quote.Format, quoteFormats, "QuoteFormat"); err != nil {
		return err
	}
	for _, f := range []string{"quote", "endorsements"} {
		if _, err := member(at, all, raw, f); err != nil {
			return err
		}
	}
	if err := json.Unmarshal(raw, &in.Quote); err != nil {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "At %s: %s", at, err)
	}
	return nil
}

// objectAt reads a JSON object.
func objectAt(at string, raw json.RawMessage) (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil || all == nil {
		return nil, misfit(at, raw, "object")
	}
	return all, nil
}

func misfit(at string, raw json.RawMessage, want string) error {
	return api.Errorf(http.StatusBadRequest, api.InvalidInput, "At %s: Expected %s, found: %s", at, want, compact(raw))
}

// member returns a member of an object that must be there.
func member(at string, all map[string]json.RawMessage, raw json.RawMessage, name string) (json.RawMessage, error) {
	v, ok := all[name]
	if !ok {
		return nil, api.Errorf(http.StatusBadRequest, api.InvalidInput, "At %s: Missing required field '%s' in object: %s", at, name, compact(raw))
	}
	return v, nil
}

// readWord reads a string that must be one of some words.
func readWord(at string, raw json.RawMessage, to *string, words map[string]bool, kind string) error {
	if err := json.Unmarshal(raw, to); err != nil || !words[*to] {
		return api.Errorf(http.StatusBadRequest, api.InvalidInput, "At %s: %s is not convertible to %s", at, compact(raw), kind)
	}
	return nil
}

// readPEM reads a string that must look like PEM.
func readPEM(raw json.RawMessage, to *string) error {
	if err := json.Unmarshal(raw, to); err != nil {
		return api.Errorf(http.StatusInternalServerError, api.InternalError, "Unable to parse pem from this JSON: %s", compact(raw))
	}
	if !strings.HasPrefix(*to, "-----BEGIN ") {
		return api.Errorf(http.StatusInternalServerError, api.InternalError, "PEM constructed with non-PEM data: %s", *to)
	}
	return nil
}
