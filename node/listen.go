package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/node/config"
	"chancery/server"
)

// boundInterface is one RPC interface with its socket.
type boundInterface struct {
	name      string
	cfg       config.RPCInterface
	listener  net.Listener
	published string
}

// listeners are the node's sockets, bound before anything else is made, so that a
// taken port is known at once.
type listeners struct {
	rpc          []boundInterface // in the order of their names
	node         net.Listener
	nodeAddress  string       // published
	nodeTakeover bool         // the transport owns and closes node
	metrics      net.Listener // nil without chancery.metrics
}

// bind opens every socket of the configuration.
func bind(ctx context.Context, cfg *config.Config) (l *listeners, err error) {
	l = &listeners{}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
			l = nil
		}
	}()
	var lc net.ListenConfig
	n2n := cfg.Network.NodeToNodeInterface
	if l.node, err = lc.Listen(ctx, "tcp", n2n.BindAddress); err != nil {
		return l, fmt.Errorf("network.node_to_node_interface: %w", err)
	}
	if l.nodeAddress, err = published(orElse(n2n.PublishedAddress, n2n.BindAddress), l.node.Addr()); err != nil {
		return l, err
	}
	names := make([]string, 0, len(cfg.Network.RPCInterfaces))
	for name := range cfg.Network.RPCInterfaces {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		c := cfg.Network.RPCInterfaces[name]
		ln, err := lc.Listen(ctx, "tcp", c.BindAddress)
		if err != nil {
			return l, fmt.Errorf("network.rpc_interfaces.%s: %w", name, err)
		}
		b := boundInterface{name: name, cfg: c, listener: ln}
		l.rpc = append(l.rpc, b)
		if l.rpc[len(l.rpc)-1].published, err = published(orElse(c.PublishedAddress, c.BindAddress), ln.Addr()); err != nil {
			return l, err
		}
	}
	if m := cfg.Chancery.Metrics; m != nil {
		if l.metrics, err = lc.Listen(ctx, "tcp", m.BindAddress); err != nil {
			return l, fmt.Errorf("chancery.metrics: %w", err)
		}
	}
	return l, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// close closes every socket that is still the node's own.
func (l *listeners) close() error {
	var errs []error
	if l.node != nil && !l.nodeTakeover {
		errs = append(errs, l.node.Close())
	}
	if l.metrics != nil {
		errs = append(errs, ignoreClosed(l.metrics.Close()))
	}
	for _, b := range l.rpc {
		errs = append(errs, ignoreClosed(b.listener.Close()))
	}
	return errors.Join(errs...)
}

// publishedRPC returns the published addresses in the order of the interfaces' names.
func (l *listeners) publishedRPC() []string {
	var out []string
	for _, b := range l.rpc {
		out = append(out, b.published)
	}
	return out
}

// writeAddressFiles writes what was really bound.
func (n *Node) writeAddressFiles() error {
	rpc := make(map[string]net.Addr, len(n.listeners.rpc))
	for _, b := range n.listeners.rpc {
		rpc[b.name] = b.listener.Addr()
	}
	if err := writeAddresses(n.fs, n.cfg.OutputFiles.RPCAddressesFile, rpc); err != nil {
		return err
	}
	return writeAddresses(n.fs, n.cfg.OutputFiles.NodeToNodeAddressFile,
		map[string]net.Addr{"node_to_node_interface": n.listeners.node.Addr()})
}

// options translates an interface's configuration for the server.
func (n *Node) options(b boundInterface) server.InterfaceOptions {
	h := b.cfg.HTTPConfiguration
	o := server.DefaultInterface()
	o.Name, o.HTTP2, o.PublishedAddress = b.name, b.cfg.AppProtocol == config.HTTP2, b.published
	o.MaxSessionsSoft, o.MaxSessionsHard = uint64(b.cfg.MaxOpenSessionsSoft), uint64(b.cfg.MaxOpenSessionsHard)
	o.MaxBodySize, o.MaxHeaderSize, o.MaxHeadersCount = uint64(h.MaxBodySize), uint64(h.MaxHeaderSize), uint64(h.MaxHeadersCount)
	o.MaxConcurrentStreams, o.InitialWindowSize, o.MaxFrameSize = uint64(h.MaxConcurrentStreamsCount), uint64(h.InitialWindowSize), uint64(h.MaxFrameSize)
	o.AcceptedEndpoints, o.IdleTimeout = b.cfg.AcceptedEndpoints, neverIdle
	o.ForwardingTimeout = time.Duration(b.cfg.ForwardingTimeoutMS) * time.Millisecond
	if r := b.cfg.Redirections; r != nil {
		o.Redirections = &server.Redirections{ToPrimary: resolver(r.ToPrimary), ToBackup: resolver(r.ToBackup)}
	}
	if t := n.cfg.IdleConnectionTimeout; t != nil {
		o.IdleTimeout = *t
	}
	for _, f := range b.cfg.EnabledOperatorFeatures {
		o.OperatorFeatures = append(o.OperatorFeatures, string(f))
	}
	protocol := "http/1.1"
	if o.HTTP2 {
		protocol = "h2"
	}
	switch b.cfg.Endorsement.Authority {
	case config.AuthorityService:
		o.TLS = identity.ServerTLS(&n.certs.endorsed, protocol)
	case config.AuthorityNode:
		o.TLS = identity.ServerTLS(&n.certs.self, protocol)
	}
	return o
}

// resolver translates where redirects go. Absent, it is CCF's default: the primary.
func resolver(r *config.Resolver) server.Resolver {
	switch {
	case r == nil:
		return server.Resolver{}
	case r.Kind == config.StaticAddress:
		return server.Resolver{Address: r.Target.Address}
	}
	return server.Resolver{Backup: r.Target.Role == config.RoleBackup}
}

// neverIdle stands for idle_connection_timeout: null.
const neverIdle = -1

// row is this node's row of nodes.info, as CCF writes it: of each RPC interface the
// keys that the configuration gave, and the published address.
func (n *Node) row(quote tables.QuoteInfo) (tables.Node, error) {
	public, err := identity.PublicKeyPEM(n.keys.node.Public())
	if err != nil {
		return tables.Node{}, err
	}
	encryption, err := identity.PublicKeyPEM(n.keys.encryption.Public())
	if err != nil {
		return tables.Node{}, err
	}
	row := tables.Node{
		NodeToNode: tables.Interface{
			BindAddress: n.listeners.node.Addr().String(), PublishedAddress: n.listeners.nodeAddress,
		},
		RPC: map[string]tables.Interface{}, Quote: quote, EncryptionKey: string(encryption),
		CSR: string(n.certs.csr), PublicKey: string(public),
	}
	for _, b := range n.listeners.rpc {
		i, err := interfaceRow(b)
		if err != nil {
			return row, fmt.Errorf("network.rpc_interfaces.%s: %w", b.name, err)
		}
		row.RPC[b.name] = i
	}
	if row.Data, err = n.jsonFile(n.cfg.NodeDataJSONFile); err != nil {
		return row, fmt.Errorf("node_data_json_file: %w", err)
	}
	return row, nil
}

// interfacesJSON is the part of row that says where the node is reached: what
// /node/network/nodes/self shows until the node is in the tables.
func (n *Node) interfacesJSON() ([]byte, error) {
	rows := map[string]tables.Interface{}
	for _, b := range n.listeners.rpc {
		i, err := interfaceRow(b)
		if err != nil {
			return nil, fmt.Errorf("network.rpc_interfaces.%s: %w", b.name, err)
		}
		rows[b.name] = i
	}
	return tables.Marshal(rows)
}

// interfaceRow reads the keys that the configuration gave into the form of the table.
func interfaceRow(b boundInterface) (tables.Interface, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(b.cfg.Raw, &given); err != nil {
		return tables.Interface{}, err
	}
	if h, ok := given["http_configuration"]; ok {
		sizes, err := sizesInBytes(h, b.cfg.HTTPConfiguration)
		if err != nil {
			return tables.Interface{}, err
		}
		given["http_configuration"] = sizes
	}
	raw, err := json.Marshal(given)
	if err != nil {
		return tables.Interface{}, err
	}
	var row tables.Interface
	if err := json.Unmarshal(raw, &row); err != nil {
		return row, err
	}
	row.BindAddress, row.PublishedAddress = b.listener.Addr().String(), b.published
	return row, nil
}

// sizesInBytes writes the sizes that were given as strings of bytes.
func sizesInBytes(raw json.RawMessage, h config.HTTPConfiguration) (json.RawMessage, error) {
	var given map[string]json.RawMessage
	if err := json.Unmarshal(raw, &given); err != nil {
		return nil, err
	}
	for key, size := range map[string]config.Size{
		"max_body_size": h.MaxBodySize, "max_header_size": h.MaxHeaderSize,
		"initial_window_size": h.InitialWindowSize, "max_frame_size": h.MaxFrameSize,
	} {
		if _, ok := given[key]; ok {
			given[key] = fmt.Appendf(nil, "%q", fmt.Sprint(uint64(size)))
		}
	}
	return json.Marshal(given)
}

// jsonFile reads free-form data that goes into a table; "" is none.
func (n *Node) jsonFile(path string) (tables.Data, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := n.fs.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%s is not JSON", path)
	}
	return tables.Data(raw), nil
}
