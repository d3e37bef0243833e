package config

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// validate checks what a single value cannot show, and fills in what depends on other
// keys (published addresses, the recovery threshold).
func (c *Config) validate(p *problems) {
	c.Network.validate(p, c.Chancery.Metrics)
	c.Command.validate(p)
	c.NodeCertificate.validate(p)
	c.Chancery.validate(p, c.Command.Type)
	c.SealingRecovery.validate(p, c.Chancery)
	if c.NodeClientInterface != "" && strings.ContainsAny(c.NodeClientInterface, " \t\n/") {
		p.add("node_client_interface", "%q is not an address", c.NodeClientInterface)
	}
	if c.FilesCleanup.MaxCommittedLedgerChunks != nil && len(c.Ledger.ReadOnlyDirectories) == 0 {
		p.add("files_cleanup.max_committed_ledger_chunks", "needs at least one ledger.read_only_directories entry, since chunks are removed only once one of them holds the same bytes")
	}
	if c.OutputFiles.NodeCertificateFile == "" {
		p.add("output_files.node_certificate_file", "must not be empty")
	}
	if c.OutputFiles.PIDFile == "" {
		p.add("output_files.pid_file", "must not be empty")
	}
	if c.Ledger.Directory == "" {
		p.add("ledger.directory", "must not be empty")
	}
	if c.Snapshots.Directory == "" {
		p.add("snapshots.directory", "must not be empty")
	}
	if c.Consensus.ElectionTimeout <= 0 {
		p.add("consensus.election_timeout", "must be more than 0")
	}
	if t := c.IdleConnectionTimeout; t != nil && *t <= 0 {
		p.add("idle_connection_timeout", "must be more than 0; null never closes an idle session")
	}
	if c.FilesCleanup.Interval <= 0 {
		p.add("files_cleanup.interval", "must be more than 0")
	}
	if c.ClientConnectionTimeout <= 0 {
		p.add("client_connection_timeout", "must be more than 0")
	}
	if c.JWT.KeyRefreshInterval <= 0 {
		p.add("jwt.key_refresh_interval", "must be more than 0")
	}
	if c.Snapshots.ReadOnlyDirectory != "" {
		c.Warnings = append(c.Warnings, "snapshots.read_only_directory is deprecated")
	}
}

func (n *Network) validate(p *problems, metrics *Metrics) {
	published(p, "network.node_to_node_interface", n.NodeToNodeInterface.BindAddress, &n.NodeToNodeInterface.PublishedAddress)
	bound := map[string]string{}
	claim(p, bound, "network.node_to_node_interface", n.NodeToNodeInterface.BindAddress)
	if n.RPCInterfaces != nil && len(n.RPCInterfaces) == 0 {
		p.add("network.rpc_interfaces", "must have at least one interface")
	}
	for _, name := range slices.Sorted(maps.Keys(n.RPCInterfaces)) {
		i, path := n.RPCInterfaces[name], join("network.rpc_interfaces", name)
		published(p, path, i.BindAddress, &i.PublishedAddress)
		claim(p, bound, path, i.BindAddress)
		i.validate(p, path)
		n.RPCInterfaces[name] = i
	}
	if metrics != nil {
		claim(p, bound, "chancery.metrics", metrics.BindAddress)
	}
}

// claim reports two interfaces on one address and port.
func claim(p *problems, bound map[string]string, path, address string) {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "0" {
		return
	}
	if other, taken := bound[address]; taken {
		p.add(join(path, "bind_address"), "%s is taken by %s", address, other)
	}
	bound[address] = path
}

// published checks an interface's addresses and fills in the announced one.
func published(p *problems, path, bind string, announced *string) {
	if *announced == "" {
		*announced = bind
	}
	if bind == "" { // missing: reported by the decoder
		return
	}
	if err := checkAddress(bind); err != nil {
		p.add(join(path, "bind_address"), "%v", err)
	} else if err := checkAddress(*announced); err != nil {
		p.add(join(path, "published_address"), "%v", err)
	}
}

// checkAddress wants host:port with a port from 0 to 65535.
func checkAddress(a string) error {
	host, port, err := net.SplitHostPort(a)
	if err != nil || host == "" {
		return fmt.Errorf("%q is not host:port", a)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("the port of %q is not a number from 0 to 65535", a)
	} else if strconv.FormatUint(n, 10) != port {
		return fmt.Errorf("the port of %q is not plain decimal", a)
	}
	return nil
}

func (i *RPCInterface) validate(p *problems, path string) {
	if i.MaxOpenSessionsHard < i.MaxOpenSessionsSoft {
		p.add(join(path, "max_open_sessions_hard"), "%d is less than max_open_sessions_soft (%d)", i.MaxOpenSessionsHard, i.MaxOpenSessionsSoft)
	}
	for n, pattern := range i.AcceptedEndpoints {
		if _, err := regexp.Compile(pattern); err != nil {
			p.add(fmt.Sprintf("%s.accepted_endpoints[%d]", path, n), "%v", err)
		}
	}
	if i.Endorsement.Authority == AuthorityUnsecured && i.AcceptedEndpoints == nil {
		p.add(join(path, "accepted_endpoints"), "must be given where endorsement.authority is Unsecured")
	}
	h, hp := i.HTTPConfiguration, join(path, "http_configuration")
	if h.MaxFrameSize < 16*KB || h.MaxFrameSize > 16*MB {
		p.add(join(hp, "max_frame_size"), "must lie between 16KB and 16MB, but is %s", h.MaxFrameSize)
	}
	if h.InitialWindowSize < 1 || h.InitialWindowSize > 1<<31-1 {
		p.add(join(hp, "initial_window_size"), "must be more than 0 and less than 2GB, but is %s", h.InitialWindowSize)
	}
	if i.Redirections != nil {
		i.Redirections.ToPrimary.validate(p, join(path, "redirections.to_primary"))
		i.Redirections.ToBackup.validate(p, join(path, "redirections.to_backup"))
	}
}

func (r *Resolver) validate(p *problems, path string) {
	if r == nil {
		return
	}
	switch r.Kind {
	case StaticAddress:
		if r.Target.Address == "" {
			p.add(join(path, "target.address"), "is missing")
		}
	case NodeByRole:
		if r.Target.Address != "" {
			p.add(join(path, "target.address"), "has no meaning where kind is NodeByRole")
		}
	}
}

func (n *NodeCertificate) validate(p *problems) {
	checkSubject(p, "node_certificate.subject_name", n.SubjectName)
	for i, san := range n.SubjectAltNames {
		path := fmt.Sprintf("node_certificate.subject_alt_names[%d]", i)
		kind, value, _ := strings.Cut(san, ":")
		switch kind {
		case "iPAddress":
			if _, err := netip.ParseAddr(value); err != nil {
				p.add(path, "%q is not an IP address", value)
			}
		case "dNSName":
			if value == "" || strings.ContainsAny(value, " /:") {
				p.add(path, "%q is not a DNS name", value)
			}
		default:
			p.add(path, "%q begins with neither iPAddress: nor dNSName:", san)
		}
	}
}

func (s *SealingRecovery) validate(p *problems, c Chancery) {
	if s == nil {
		return
	}
	if c.Platform == PlatformVirtual && c.SealingKeyFile == "" {
		p.add("sealing_recovery", "Sealing ledger secrets is only supported on SEV-SNP platforms; for development, chancery.sealing_key_file names a file that stands for the processor's key")
	}
	s.Location.validate(p, "sealing_recovery.location")
	if s.RecoveryDecisionProtocol != nil {
		s.RecoveryDecisionProtocol.validate(p, s.Location.Name)
	}
}

func (l Location) validate(p *problems, path string) {
	if l.Name == "" {
		p.add(join(path, "name"), "must not be empty")
	}
	if err := checkAddress(l.Address); err != nil && l.Address != "" {
		p.add(join(path, "address"), "%v", err)
	}
}

func (r *RecoveryDecisionProtocol) validate(p *problems, own string) {
	const path = "sealing_recovery.recovery_decision_protocol"
	seen := map[string]bool{}
	for i, l := range r.ExpectedLocations {
		at := fmt.Sprintf("%s.expected_locations[%d]", path, i)
		l.validate(p, at)
		if seen[l.Name] {
			p.add(join(at, "name"), "%q stands there twice", l.Name)
		}
		seen[l.Name] = true
	}
	if r.ExpectedLocations != nil && own != "" && !seen[own] {
		p.add(path+".expected_locations", "lacks the node's own location %q", own)
	}
	if r.MessageRetryTimeout <= 0 {
		p.add(path+".message_retry_timeout", "must be more than 0")
	}
}

func checkSubject(p *problems, path, subject string) {
	if name, ok := strings.CutPrefix(subject, "CN="); !ok || name == "" {
		p.add(path, "%q is not of the form CN=name", subject)
	}
}

func (c *Chancery) validate(p *problems, command CommandType) {
	if c.Metrics != nil && c.Metrics.BindAddress != "" {
		if err := checkAddress(c.Metrics.BindAddress); err != nil {
			p.add("chancery.metrics.bind_address", "%v", err)
		}
	}
	if r := c.SNPRevocations; r != nil && r.RefreshInterval <= 0 {
		p.add("chancery.snp_revocations.refresh_interval", "must be more than 0")
	}
	if c.JWTFetchTimeout <= 0 {
		p.add("chancery.jwt_fetch_timeout", "must be more than 0")
	}
	if command == CommandResume && c.KeyFile == "" {
		p.add("chancery.key_file", "is missing: Resume takes the node's keys from it")
	}
	if c.Platform != PlatformVirtual && c.KeyFile != "" {
		p.add("chancery.key_file", "holds keys in the clear and is for the virtual platform alone")
	}
	if c.Platform != PlatformVirtual && c.SealingKeyFile != "" {
		p.add("chancery.sealing_key_file", "holds a key in the clear and is for the virtual platform alone")
	}
	if !c.Production {
		return
	}
	if c.Platform == PlatformVirtual {
		p.add("chancery.platform", "virtual proves nothing and is refused where chancery.production is true")
	}
	if command == CommandResume {
		p.add("command.type", "Resume is for development and refused where chancery.production is true")
	}
	if c.KeyFile != "" {
		p.add("chancery.key_file", "holds keys in the clear and is refused where chancery.production is true")
	}
	if c.SealingKeyFile != "" {
		p.add("chancery.sealing_key_file", "holds a key in the clear and is refused where chancery.production is true")
	}
	if c.Fsync == FsyncNever {
		p.add("chancery.fsync", "never is refused where chancery.production is true")
	}
}
