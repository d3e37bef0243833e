package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"

	"chancery/gov/tables"
	"chancery/server/api"
)

// nodeRoutes are the endpoints of /node, beside the common ones.
func (s *Server) nodeRoutes() []*Route {
	get := func(path string, h jsonHandler, local bool) *Route {
		return &Route{Frontend: NodeFrontend, Method: "GET", Path: path, Mode: ReadOnly, Handler: s.json(h), Local: local}
	}
	empty := func(method, path string, h Handler, success int) *Route {
		return &Route{Frontend: NodeFrontend, Method: method, Path: path, Mode: ReadOnly, Handler: h, Local: true, Success: success, NoBody: true}
	}
	hidden := func(path string, auth []Policy, h jsonHandler) *Route {
		return &Route{Frontend: NodeFrontend, Method: "POST", Path: path, Auth: auth, Handler: s.json(h), Hidden: true}
	}
	nodes := get("/network/nodes", s.getNodes, false)
	nodes.Query = []QueryParam{{Name: "host"}, {Name: "port"}, {Name: "status"}}
	retired := hidden("/network/nodes/set_retired_committed", []Policy{NodeCert}, s.setRetiredCommitted)
	retired.Success = http.StatusNoContent
	expire := hidden("/network/nodes/remove_expired_pending", []Policy{SelfCert}, s.removeExpiredPending)
	expire.Local = true // a backup has nothing to do
	join := hidden("/join", nil, s.postJoin)
	join.Local = true // a backup sends whoever asks to the primary by itself
	create := hidden("/create", nil, s.postCreate)
	create.NoBody = true
	routes := []*Route{
		get("/state", s.getState, true),
		get("/version", s.getVersion, true),
		get("/network", s.getNetwork, false),
		nodes,
		get("/network/nodes/{node_id}", s.getNode, false),
		get("/network/nodes/self", s.getSelf, true),
		get("/network/nodes/primary", s.getPrimaryNode, false),
		get("/network/removable_nodes", s.getRemovable, false),
		{Frontend: NodeFrontend, Method: "DELETE", Path: "/network/nodes/{node_id}", Handler: s.json(s.deleteNode)},
		retired,
		expire,
		empty("GET", "/primary", s.getPrimary, http.StatusOK),
		empty("HEAD", "/primary", s.headPrimary, http.StatusOK),
		empty("GET", "/backup", s.getBackup, http.StatusOK),
		get("/config", s.getConfig, true),
		get("/consensus", s.getConsensus, true),
		get("/quotes", s.getQuotes, false),
		get("/quotes/self", s.getOwnQuote, true),
		get("/attestations", s.getAttestations, false),
		get("/attestations/self", s.getOwnQuote, true),
		{Frontend: NodeFrontend, Method: "POST", Path: "/attestation", Mode: ReadOnly, Handler: s.json(s.postAttestation), Local: true, Hidden: true}, // /node/api is CCF's
		get("/self_signed_certificate", s.getSelfSigned, true),
		get("/metrics", s.getMetrics, true),
		get("/js_metrics", s.getJSMetrics, false),
		get("/historical_cache", s.getHistoricalCache, true),
		get("/jwt_keys/refresh/metrics", s.getRefreshMetrics, false),
		get("/service/previous_identity", s.getPreviousIdentity, false),
		{Frontend: NodeFrontend, Method: "GET", Path: "/service/endorsements", Mode: ReadOnly, Handler: s.getEndorsements, Hidden: true, Query: []QueryParam{{Name: "transaction_id", Required: true}}}, // /node/api is CCF's
		get("/service/configuration", s.getServiceConfig, true),
		get("/index/strategies", s.getStrategies, true),
		empty("GET", "/ready/app", s.readyApp, http.StatusNoContent),
		empty("GET", "/ready/gov", s.readyGov, http.StatusNoContent),
		join,
		hidden("/jwt_keys/refresh", []Policy{NodeCert}, s.postRefresh),
		create,
	}
	return append(append(routes, s.decisionRoutes()...), s.fileRoutes()...)
}

// getState tells where the node itself stands.
func (s *Server) getState(_ context.Context, c *Call) (any, error) {
	i := s.node.Info()
	var signed uint64
	for _, table := range []string{tables.NameSignatures, tables.NameCOSESignatures} {
		if v, ok := c.Tx.VersionOfPreviousWrite(table, tables.SingletonKey); ok {
			signed = max(signed, v)
		}
	}
	return api.State{
		NodeID: i.ID, State: i.State, LastSignedSeqno: signed, StartupSeqno: i.StartupSeqno,
		RecoveryTargetSeqno: i.RecoveryTarget, LastRecoveredSeqno: i.LastRecovered, StopNotice: i.StopNotice,
	}, nil
}

// ccfVersion is the release of CCF whose behaviour this program has.
const ccfVersion = "ccf-7.0.2"

func (s *Server) getVersion(context.Context, *Call) (any, error) {
	return api.Version{CCFVersion: ccfVersion, QuickJSVersion: "none (goja)", ChanceryVersion: s.cfg.Version, Platform: s.cfg.Platform}, nil
}

func (s *Server) getNetwork(_ context.Context, c *Call) (any, error) {
	info, ok, err := tables.ServiceInfo.Get(c.Tx)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, api.Errorf(http.StatusNotFound, api.ResourceNotFound, "Service state not available.")
	}
	out := api.Network{
		ServiceStatus: string(info.Status), ServiceCertificate: info.Cert,
		RecoveryCount: tables.Or(info.RecoveryCount, 0), ServiceData: orNull(info.Data),
	}
	if info.CreateTxID != "" {
		out.CurrentServiceCreateTxID = &info.CreateTxID
	}
	if view := s.node.Position().View; view > 0 {
		out.CurrentView = &view
	}
	if id := s.node.Info().PrimaryID; id != "" {
		out.PrimaryID = &id
	}
	return out, nil
}

func orNull(d tables.Data) json.RawMessage {
	if len(d) == 0 {
		return json.RawMessage("null")
	}
	return json.RawMessage(d)
}

// getPrimary answers 200 where this node is the primary.
func (s *Server) getPrimary(context.Context, *Call) error {
	if s.node.Position().Primary {
		return nil
	}
	return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "Node is not primary")
}

// headPrimary answers 200 where this node is the primary, and else redirects to it.
func (s *Server) headPrimary(_ context.Context, c *Call) error {
	if s.node.Position().Primary {
		return nil
	}
	id := s.node.Info().PrimaryID
	if id == "" {
		return api.Errorf(http.StatusInternalServerError, api.InternalError, "Primary unknown")
	}
	addr, err := s.publishedAddress(c, id)
	if err != nil {
		return err
	}
	c.Response.Status = http.StatusPermanentRedirect
	c.Response.Set(api.HeaderLocation, "https://"+addr+"/node/primary")
	return nil
}

// publishedAddress returns another node's address on the interface that the request came by.
func (s *Server) publishedAddress(c *Call, id string) (string, error) {
	n, ok, err := tables.NodesInfo.Get(c.Tx, id)
	if err != nil {
		return "", err
	}
	name := c.Session.in.opts.Name
	rpc, has := n.RPC[name]
	if !ok || !has {
		return "", api.Errorf(http.StatusInternalServerError, api.InternalError, "Node %s has no interface named %q", id, name)
	}
	return rpc.PublishedAddress, nil
}

// getBackup answers 200 where this node is not the primary.
func (s *Server) getBackup(context.Context, *Call) error {
	if !s.node.Position().Primary {
		return nil
	}
	return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "Node is not backup")
}

func (s *Server) getConfig(context.Context, *Call) (any, error) {
	d, ok := s.node.Consensus()
	if !ok {
		return nil, noConsensus()
	}
	if len(d.Configs) == 0 {
		return map[string]ConsensusPeer{}, nil
	}
	return d.Configs[len(d.Configs)-1].Nodes, nil
}

func noConsensus() error {
	return api.Errorf(http.StatusNotFound, api.ResourceNotFound, "No configured consensus")
}

func (s *Server) getConsensus(context.Context, *Call) (any, error) {
	d, ok := s.node.Consensus()
	if !ok {
		return nil, noConsensus()
	}
	return map[string]Consensus{"details": d}, nil
}

func (s *Server) getSelfSigned(context.Context, *Call) (any, error) {
	return api.SelfSigned{Certificate: s.node.Info().SelfSignedCert}, nil
}

func (s *Server) getMetrics(context.Context, *Call) (any, error) {
	return api.Metrics{Sessions: s.sessionMetrics(), LedgerScrub: s.node.Info().LedgerScrub}, nil
}

func (s *Server) getHistoricalCache(context.Context, *Call) (any, error) {
	return api.HistoricalCache{EstimatedSize: s.node.Info().HistoricalCache}, nil
}

func (s *Server) getRefreshMetrics(context.Context, *Call) (any, error) {
	i := s.node.Info()
	return api.RefreshMetrics{Attempts: i.RefreshAttempts, Successes: i.RefreshSuccesses, Failures: i.RefreshFailures}, nil
}

func (s *Server) getJSMetrics(_ context.Context, c *Call) (any, error) {
	o, _, err := tables.RuntimeOption.Get(c.Tx)
	if err != nil {
		return nil, err
	}
	return api.JSMetrics{
		MaxHeapSize:           tables.Or(o.MaxHeapBytes, tables.DefaultMaxHeapBytes),
		MaxStackSize:          tables.Or(o.MaxStackBytes, tables.DefaultMaxStackBytes),
		MaxExecutionTime:      tables.Or(o.MaxExecutionTimeMS, tables.DefaultMaxExecutionTimeMS),
		MaxCachedInterpreters: tables.Or(o.MaxCachedInterpreters, tables.DefaultMaxCachedInterps),
	}, nil
}

func (s *Server) getPreviousIdentity(_ context.Context, c *Call) (any, error) {
	cert, ok, err := tables.PreviousIdentity.Get(c.Tx)
	if err == nil && !ok {
		err = api.Errorf(http.StatusNotFound, api.ResourceNotFound, "This service is not a recovery of a previous service.")
	}
	return api.PreviousIdentity{Certificate: cert}, err
}

// getServiceConfig shows the service configuration as it is stored; 204 without one.
func (s *Server) getServiceConfig(_ context.Context, c *Call) (any, error) {
	b, ok := c.Tx.Get(tables.NameServiceConfig, tables.SingletonKey)
	if !ok {
		return nil, nil
	}
	return json.RawMessage(b), nil
}

// readyApp answers 204 where applications can be used here.
func (s *Server) readyApp(_ context.Context, c *Call) error {
	i := s.node.Info()
	ready(c, !i.StopNotice && i.State == "PartOfNetwork" && s.isOpen(AppFrontend))
	return nil
}

// readyGov answers 204 where members can be served here.
func (s *Server) readyGov(_ context.Context, c *Call) error {
	i := s.node.Info()
	ready(c, !i.StopNotice && readyForMembers(i.State) && s.isOpen(GovFrontend))
	return nil
}

// readyForMembers says whether a node in this state knows the service's public state.
func readyForMembers(state string) bool {
	return state == "PartOfNetwork" || state == "PartOfPublicNetwork" || state == "ReadingPrivateLedger"
}

func ready(c *Call, yes bool) {
	c.Response.Status = http.StatusServiceUnavailable
	if yes {
		c.Response.Status = http.StatusNoContent
	}
}

// getQuotes shows the attestations of the trusted nodes.
func (s *Server) getQuotes(_ context.Context, c *Call) (any, error) {
	quotes, err := trustedQuotes(c)
	return api.Quotes{Quotes: quotes}, err
}

func (s *Server) getAttestations(_ context.Context, c *Call) (any, error) {
	quotes, err := trustedQuotes(c)
	return api.Attestations{Attestations: quotes}, err
}

func trustedQuotes(c *Call) ([]api.Quote, error) {
	nodes, err := tables.NodesInfo.All(c.Tx)
	if err != nil {
		return nil, err
	}
	out := []api.Quote{}
	for _, n := range nodes {
		if n.Value.Status == tables.NodeTrusted {
			out = append(out, quote(n.Key, n.Value))
		}
	}
	return out, nil
}

func (s *Server) getOwnQuote(_ context.Context, c *Call) (any, error) {
	id := s.node.Info().ID
	n, ok, err := tables.NodesInfo.Get(c.Tx, id)
	if err == nil && !ok {
		err = api.Errorf(http.StatusNotFound, api.ResourceNotFound, "Could not find node quote.")
	}
	return quote(id, n), err
}

func quote(id string, n tables.Node) api.Quote {
	q := api.Quote{
		NodeID: id, Format: n.Quote.Format, Measurement: n.CodeDigest,
		Raw: base64.StdEncoding.EncodeToString(n.Quote.Quote), Endorsements: base64.StdEncoding.EncodeToString(n.Quote.Endorsements),
	}
	if n.Quote.UVMEndorsements != nil {
		uvm := base64.StdEncoding.EncodeToString(n.Quote.UVMEndorsements)
		q.UVMEndorsements = &uvm
	}
	return q
}

// hostPort splits an address; one without a port is all host.
func hostPort(address string) (host, port string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address, ""
	}
	return host, port
}
