package config

import "encoding/json"

// Network says where the node listens and what it announces.
type Network struct {
	// NodeToNodeInterface is where other nodes reach this one.
	NodeToNodeInterface NetInterface `json:"node_to_node_interface" config:"required"`
	// RPCInterfaces are where clients reach it, by name.
	RPCInterfaces map[string]RPCInterface `json:"rpc_interfaces" config:"required"`
}

// NetInterface is a listening address with its announced form.
type NetInterface struct {
	// BindAddress is the host:port listened on; port 0 takes a free one.
	BindAddress string `json:"bind_address" config:"required"`
	// PublishedAddress is the host:port announced; without it BindAddress is. A port of
	// 0 stands for the port bound.
	PublishedAddress string `json:"published_address"`
}

// RPCInterface is one interface for clients.
type RPCInterface struct {
	// BindAddress is the host:port listened on; port 0 takes a free one.
	BindAddress string `json:"bind_address" config:"required"`
	// PublishedAddress is the host:port announced; without it BindAddress is. A port of
	// 0 stands for the port bound.
	PublishedAddress string `json:"published_address"`
	// Protocol is the transport.
	Protocol Protocol `json:"protocol"`
	// AppProtocol is the HTTP version spoken by all sessions of the interface.
	AppProtocol AppProtocol `json:"app_protocol"`
	// MaxOpenSessionsSoft is the number of sessions above which requests are answered 503.
	MaxOpenSessionsSoft int64 `json:"max_open_sessions_soft" config:"min=0"`
	// MaxOpenSessionsHard is the number of sessions above which connections are closed
	// before their TLS handshake.
	MaxOpenSessionsHard int64 `json:"max_open_sessions_hard" config:"min=0"`
	// HTTPConfiguration bounds requests.
	HTTPConfiguration HTTPConfiguration `json:"http_configuration"`
	// Endorsement says which certificate the interface shows.
	Endorsement Endorsement `json:"endorsement"`
	// AcceptedEndpoints are regular expressions over whole endpoint paths; absent (nil)
	// accepts all.
	AcceptedEndpoints []string `json:"accepted_endpoints"`
	// ForwardingTimeoutMS bounds a forwarded request, in milliseconds.
	ForwardingTimeoutMS int64 `json:"forwarding_timeout_ms" config:"min=0"`
	// Redirections makes the interface redirect instead of forwarding; nil forwards.
	Redirections *Redirections `json:"redirections"`
	// EnabledOperatorFeatures are the operator endpoints served here; none by default.
	EnabledOperatorFeatures []OperatorFeature `json:"enabled_operator_features"`

	// Raw is the interface's object as it stands in the file: what the node announces
	// of itself has exactly the keys that were given.
	Raw json.RawMessage `json:"-"`
}

func (i *RPCInterface) setRaw(text json.RawMessage) { i.Raw = text }

func (i *RPCInterface) setDefaults() {
	*i = RPCInterface{
		Protocol: "tcp", AppProtocol: HTTP1,
		MaxOpenSessionsSoft: 1000, MaxOpenSessionsHard: 1010,
		HTTPConfiguration: HTTPConfiguration{
			MaxBodySize: MB, MaxHeaderSize: 16 * KB, MaxHeadersCount: 256,
			MaxConcurrentStreamsCount: 100, InitialWindowSize: 64 * KB, MaxFrameSize: 16 * KB,
		},
		Endorsement:         Endorsement{Authority: AuthorityService},
		ForwardingTimeoutMS: 3000,
	}
}

// Enables says whether the interface serves an operator feature.
func (i RPCInterface) Enables(f OperatorFeature) bool {
	for _, e := range i.EnabledOperatorFeatures {
		if e == f {
			return true
		}
	}
	return false
}

// HTTPConfiguration bounds the requests of an interface.
type HTTPConfiguration struct {
	// MaxBodySize bounds a request's body.
	MaxBodySize Size `json:"max_body_size"`
	// MaxHeaderSize bounds one header's name or value.
	MaxHeaderSize Size `json:"max_header_size"`
	// MaxHeadersCount bounds the number of headers of a request.
	MaxHeadersCount int64 `json:"max_headers_count" config:"min=0"`
	// MaxConcurrentStreamsCount bounds the streams of an HTTP/2 session.
	MaxConcurrentStreamsCount int64 `json:"max_concurrent_streams_count" config:"min=1"`
	// InitialWindowSize is the HTTP/2 flow-control window of a stream.
	InitialWindowSize Size `json:"initial_window_size"`
	// MaxFrameSize bounds an HTTP/2 frame (16KB to 16MB).
	MaxFrameSize Size `json:"max_frame_size"`
}

// Endorsement says which certificate an interface shows.
type Endorsement struct {
	// Authority is Service (endorsed by the service), Node (self-signed) or Unsecured
	// (no TLS; then accepted_endpoints must be given).
	Authority Authority `json:"authority" config:"required"`
}

// Redirections says where requests are redirected that another node must serve.
type Redirections struct {
	// ToPrimary is for requests that only the primary serves; nil forwards them.
	ToPrimary *Resolver `json:"to_primary"`
	// ToBackup is for requests that prefer a backup; nil serves them here.
	ToBackup *Resolver `json:"to_backup"`
}

// Resolver finds the address in a redirect's Location.
type Resolver struct {
	// Kind is NodeByRole or StaticAddress.
	Kind ResolverKind `json:"kind" config:"required"`
	// Target says which node, or which address.
	Target ResolverTarget `json:"target"`
}

// ResolverTarget is a resolver's argument.
type ResolverTarget struct {
	// Role is for NodeByRole: primary or backup.
	Role Role `json:"role"`
	// Address is for StaticAddress: host:port.
	Address string `json:"address"`
}

func (r *Resolver) setDefaults() { r.Target.Role = "primary" }
