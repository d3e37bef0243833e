package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"chancery/client"
	"chancery/gov"
	"chancery/internal/supervise"
	"chancery/kv/writeset"
	"chancery/server/api"
)

// expiresSoon is how long before its end a certificate is remarked upon.
const expiresSoon = 14 * 24 * time.Hour

// nodeStatus is what `chancery status -o json` prints. Times are RFC 3339, UTC.
type nodeStatus struct {
	URL     string        `json:"url"`
	Node    statusNode    `json:"node"`
	Service statusService `json:"service"`
	// View and Commit are the consensus view and the last committed transaction;
	// Signed is the seqno of the last signature.
	View     uint64 `json:"view"`
	Commit   string `json:"commit"`
	Signed   uint64 `json:"last_signed_seqno"`
	Platform string `json:"platform"`
	// Nodes are those of the service, by id.
	Nodes   []serviceNode `json:"nodes"`
	Version statusVersion `json:"version"`
	// Backups is the workspace's schedule of backups, and what became of it.
	Backups *scheduleShown `json:"backups,omitempty"`
	// BackupStore is what the store of --backups says.
	BackupStore *storeStatus `json:"backup_store,omitempty"`
	Notes       []string     `json:"notes,omitempty"`
}

type statusNode struct {
	ID         string    `json:"id"`
	State      string    `json:"state"`
	Status     string    `json:"status"`
	Primary    bool      `json:"primary"`
	PrimaryID  string    `json:"primary_id,omitempty"`
	StopNotice bool      `json:"stop_notice"`
	Expires    time.Time `json:"certificate_expires"`
}

// serviceNode is a node of the service as the asked one sees it.
type serviceNode struct {
	ID      string `json:"id"`
	Status  string `json:"status"`
	Primary bool   `json:"primary"`
	// Role is primary, backup, or learner (trusted, and without a vote yet); "" of others.
	Role string `json:"role,omitempty"`
	// Zone is the label in its node data.
	Zone string `json:"zone,omitempty"`
	// Address is host:port of its first interface, by name.
	Address string `json:"address"`
	// Lag says how far a backup is behind, where the primary could be asked.
	Lag *nodeLag `json:"lag,omitempty"`
}

// nodeLag is what the primary last heard of a backup.
type nodeLag struct {
	// Transactions is by how many committed transactions it was behind.
	Transactions uint64 `json:"transactions"`
	// HeardMS is how many milliseconds ago that was.
	HeardMS uint64 `json:"heard_ms"`
}

type statusService struct {
	Status     string    `json:"status"`
	CreatedAt  string    `json:"create_txid,omitempty"`
	Recoveries uint64    `json:"recovery_count"`
	Expires    time.Time `json:"certificate_expires"`
}

type statusVersion struct {
	Chancery string `json:"chancery"`
	CCF      string `json:"ccf"`
}

func newStatus(s streams) *cobra.Command {
	var t target
	var output string
	var backups watchedStore
	c := &cobra.Command{
		Use:   "status",
		Short: "Say where a node and its service stand",
		Long: `Asks a node for its state, its service's, the consensus view and the last commit, when
the certificates end, the platform, the versions, and the nodes of the service: their
roles, their zones ("zone" of their node data), and how far the backups are behind the
primary, which it asks for that. -o json prints all this for scripts.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			service, err := t.connect()
			if err != nil {
				return err
			}
			defer service.Close()
			status, err := readStatus(c.Context(), service, time.Now())
			if err != nil {
				return err
			}
			status.URL = t.url
			if err := status.askPrimary(c.Context(), &t); err != nil {
				status.Notes = append(status.Notes, fmt.Sprintf("how far the backups are is not known: the primary could not be asked (%v)", err))
			}
			if err := status.addBackups(supervise.Workspace(t.workspace), time.Now()); err != nil {
				return err
			}
			if backups.name != "" {
				store, notes, err := backups.look(c.Context(), time.Now())
				if err != nil {
					return err
				}
				status.BackupStore, status.Notes = store, append(status.Notes, notes...)
			}
			if output == outputJSON {
				return printJSON(s, status)
			}
			status.print(s)
			return nil
		},
	}
	t.flags(c)
	backups.flags(c)
	outputFlag(c, &output)
	return c
}

// readStatus asks the node.
func readStatus(ctx context.Context, c *client.Client, now time.Time) (*nodeStatus, error) {
	var state api.State
	var version api.Version
	var network api.Network
	var commit api.Commit
	var self api.Node
	var own api.SelfSigned
	var nodes api.Nodes
	var consensus consensusDetails
	for path, into := range map[string]any{
		"/node/state": &state, "/node/version": &version, "/node/network": &network, "/node/commit": &commit,
		"/node/network/nodes/self": &self, "/node/self_signed_certificate": &own,
		"/node/network/nodes": &nodes, "/node/consensus": &consensus,
	} {
		if err := c.Get(ctx, path, nil, into); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	out := &nodeStatus{
		Node:    statusNode{ID: state.NodeID, State: state.State, Status: self.Status, Primary: self.Primary, StopNotice: state.StopNotice},
		Service: statusService{Status: network.ServiceStatus, Recoveries: network.RecoveryCount},
		Commit:  commit.TransactionID, Signed: state.LastSignedSeqno,
		Version: statusVersion{Chancery: version.ChanceryVersion, CCF: version.CCFVersion},
	}
	if network.CurrentServiceCreateTxID != nil {
		out.Service.CreatedAt = *network.CurrentServiceCreateTxID
	}
	if network.CurrentView != nil {
		out.View = *network.CurrentView
	}
	if network.PrimaryID != nil {
		out.Node.PrimaryID = *network.PrimaryID
	}
	var err error
	if out.Service.Expires, err = certificateEnd(network.ServiceCertificate); err != nil {
		return nil, fmt.Errorf("the service's certificate: %w", err)
	}
	if out.Node.Expires, err = certificateEnd(own.Certificate); err != nil {
		return nil, fmt.Errorf("the node's certificate: %w", err)
	}
	if out.Platform, err = platformOf(ctx, c); err != nil {
		return nil, err
	}
	for _, n := range nodes.Nodes {
		out.Nodes = append(out.Nodes, serviceNode{
			ID: n.NodeID, Status: n.Status, Primary: n.Primary, Role: roleOf(n, consensus.Details.Learners), Zone: gov.Zone(n.NodeData), Address: addressOf(n),
		})
	}
	out.remark(now)
	return out, nil
}

// consensusDetails is what is read of /node/consensus.
type consensusDetails struct {
	Details struct {
		Configs  []consensusConfig `json:"configs"`
		Learners map[string]uint64 `json:"learners"`
		Acks     map[string]struct {
			Seqno   uint64 `json:"seqno"`
			HeardMS uint64 `json:"last_received_ms"`
		} `json:"acks"`
	} `json:"details"`
}

// consensusConfig names the nodes that governance has decided on.
type consensusConfig struct {
	Nodes map[string]struct{} `json:"nodes"`
}

func roleOf(n api.Node, learners map[string]uint64) string {
	_, learns := learners[n.NodeID]
	switch {
	case n.Status != "Trusted":
		return ""
	case n.Primary:
		return "primary"
	case learns:
		return "learner"
	}
	return "backup"
}

// askPrimary fills in how far the backups are.
func (n *nodeStatus) askPrimary(ctx context.Context, t *target) error {
	if len(n.Nodes) < 2 {
		return nil
	}
	at := slices.IndexFunc(n.Nodes, func(other serviceNode) bool { return other.Primary })
	if at < 0 {
		return errors.New("none is known")
	}
	primary := *t
	primary.url = "https://" + n.Nodes[at].Address
	c, err := primary.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	var consensus consensusDetails
	var commit api.Commit
	if err := c.Get(ctx, "/node/commit", nil, &commit); err != nil {
		return err
	}
	if err := c.Get(ctx, "/node/consensus", nil, &consensus); err != nil {
		return err
	}
	committed, err := writeset.ParseTxID(commit.TransactionID)
	if err != nil {
		return err
	}
	for i := range n.Nodes {
		if ack, ok := consensus.Details.Acks[n.Nodes[i].ID]; ok {
			n.Nodes[i].Lag = &nodeLag{Transactions: committed.Seqno - min(committed.Seqno, ack.Seqno), HeardMS: ack.HeardMS}
		}
	}
	return nil
}

// platformOf is the format of the node's evidence, "" where it has none yet.
func platformOf(ctx context.Context, c *client.Client) (string, error) {
	var quote api.Quote
	err := c.Get(ctx, "/node/quotes/self", nil, &quote)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == http.StatusNotFound {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("/node/quotes/self: %w", err)
	}
	return quote.Format, nil
}

// addressOf is the published address of a node's first interface, "" where it shows none.
func addressOf(n api.Node) string {
	var interfaces map[string]struct {
		PublishedAddress string `json:"published_address"`
	}
	if json.Unmarshal(n.RPCInterfaces, &interfaces) != nil || len(interfaces) == 0 {
		return ""
	}
	return interfaces[slices.Min(slices.Collect(maps.Keys(interfaces)))].PublishedAddress
}

func certificateEnd(pem string) (time.Time, error) {
	cert, err := client.ParseCertificate([]byte(pem))
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter.UTC(), nil
}

// remark notes what an operator should look at.
func (n *nodeStatus) remark(now time.Time) {
	note := func(format string, args ...any) { n.Notes = append(n.Notes, fmt.Sprintf(format, args...)) }
	for _, c := range []struct {
		whose, action string
		ends          time.Time
	}{
		{"service", "set_service_certificate_validity", n.Service.Expires},
		{"node", "set_all_nodes_certificate_validity", n.Node.Expires},
	} {
		if left := c.ends.Sub(now); left < 0 {
			note("the %s's certificate has expired; members renew it with the action %s", c.whose, c.action)
		} else if left < expiresSoon {
			note("the %s's certificate ends in %s; members renew it with the action %s", c.whose, days(left), c.action)
		}
	}
	if n.Node.StopNotice {
		note("the node's end is announced")
	}
	var zones []string
	for _, other := range n.Nodes {
		if other.Role == "primary" || other.Role == "backup" {
			zones = append(zones, other.Zone)
		}
	}
	if zone := gov.MajorityZone(zones); zone != "" {
		note("without zone %s no majority of the votes would be left: spread the nodes over at least three zones", zone)
	}
	if n.Service.Status != "Open" {
		note("the service is %s: applications are not served", n.Service.Status)
	}
	if n.Platform == "Insecure_Virtual" {
		note("the platform is virtual: it protects nothing from the host")
	}
}

// addBackups adds what the workspace knows of backups, where it is the service's.
func (n *nodeStatus) addBackups(w supervise.Workspace, now time.Time) (err error) {
	if urls, err := w.URLs(); err != nil || !slices.Contains(urls, n.URL) {
		return nil // another service's, or none
	}
	if n.Backups, err = readScheduleShown(w, now); err != nil || n.Backups == nil {
		return err
	}
	n.Notes = append(n.Notes, n.Backups.Warnings...)
	return nil
}

// days words a duration, rounded down.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

func (n *nodeStatus) print(s streams) {
	role := "backup"
	if n.Node.Primary {
		role = "primary"
	}
	line := func(label, format string, args ...any) {
		fmt.Fprintf(s.out, "%-13s"+format+"\n", append([]any{label}, args...)...)
	}
	line("node", "%s", n.Node.ID)
	line("", "%s, %s, %s", n.Node.State, n.Node.Status, role)
	line("service", "%s, created at %s, recovered %d time(s)", n.Service.Status, n.Service.CreatedAt, n.Service.Recoveries)
	line("view", "%d", n.View)
	line("commit", "%s", n.Commit)
	line("certificates", "service until %s, node until %s", n.Service.Expires.Format(time.RFC3339), n.Node.Expires.Format(time.RFC3339))
	line("platform", "%s", n.Platform)
	line("version", "chancery %s, as %s", n.Version.Chancery, n.Version.CCF)
	label := "nodes"
	for _, other := range n.Nodes {
		text := other.ID + " " + other.Status
		if other.Role != "" {
			text += ", " + other.Role
		}
		text += ", " + other.Address
		if other.Zone != "" {
			text += ", zone " + other.Zone
		}
		if other.Lag != nil {
			text += fmt.Sprintf(", %d transactions behind %d ms ago", other.Lag.Transactions, other.Lag.HeardMS)
		}
		line(label, "%s", text)
		label = ""
	}
	if n.Backups != nil && !n.Backups.State.Done.IsZero() {
		line("backed up", "%s, through %s, to %s", n.Backups.State.Done.Format(time.RFC3339), n.Backups.State.Through, n.Backups.Schedule.Store)
	}
	if b := n.BackupStore; b != nil && b.Newest != nil {
		line("backed up", "%s, through %s, to %s", b.Newest.Created.Format(time.RFC3339), b.Newest.Through, b.Store)
	}
	for _, note := range n.Notes {
		line("note", "%s", note)
	}
}

// The forms of output.
const (
	outputText = "text"
	outputJSON = "json"
)

func outputFlag(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", outputText, "text or json")
}

func checkOutput(output string) error {
	if output != outputText && output != outputJSON {
		return usagef("--output is %q; use text or json", output)
	}
	return nil
}

func printJSON(s streams, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "%s\n", text)
	return nil
}
