package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"chancery/gov"
	"chancery/gov/tables"
	"chancery/server/api"
)

// getNodes lists the nodes that match all filters; a node matches host and port by any
// one of its interfaces.
func (s *Server) getNodes(_ context.Context, c *Call) (any, error) {
	host, byHost := c.Query.Get("host")
	port, byPort := c.Query.Get("port")
	status, byStatus := c.Query.Get("status")
	switch st := tables.NodeStatus(status); {
	case byStatus && st != tables.NodePending && st != tables.NodeTrusted && st != tables.NodeRetired:
		return nil, api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Query parameter '%s' is not a valid node status", status)
	}
	return s.listNodes(c, func(_ string, n tables.Node) bool {
		if byStatus && string(n.Status) != status {
			return false
		}
		if !byHost && !byPort {
			return true
		}
		for _, in := range n.RPC {
			h, p := hostPort(in.PublishedAddress)
			if (!byHost || h == host) && (!byPort || p == port) {
				return true
			}
		}
		return false
	})
}

func (s *Server) listNodes(c *Call, keep func(string, tables.Node) bool) (any, error) {
	nodes, err := tables.NodesInfo.All(c.Tx)
	if err != nil {
		return nil, err
	}
	out := api.Nodes{Nodes: []api.Node{}}
	for _, n := range nodes {
		if !keep(n.Key, n.Value) {
			continue
		}
		d, err := s.describeNode(c, n.Key, n.Value)
		if err != nil {
			return nil, err
		}
		out.Nodes = append(out.Nodes, d)
	}
	return out, nil
}

func (s *Server) describeNode(c *Call, id string, n tables.Node) (api.Node, error) {
	rpc, err := tables.Marshal(n.RPC)
	if err != nil {
		return api.Node{}, fmt.Errorf("encoding the interfaces of %s: %w", id, err)
	}
	written, _ := c.Tx.VersionOfPreviousWrite(tables.NameNodesInfo, []byte(id))
	return api.Node{
		NodeID: id, Status: string(n.Status), Primary: s.node.Info().PrimaryID == id,
		RPCInterfaces: rpc, NodeData: orNull(n.Data), LastWritten: written,
	}, nil
}

func (s *Server) getNode(_ context.Context, c *Call) (any, error) {
	return s.nodeByID(c, c.Params.Get("node_id"))
}

func (s *Server) nodeByID(c *Call, id string) (any, error) {
	n, ok, err := tables.NodesInfo.Get(c.Tx, id)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, api.Errorf(http.StatusNotFound, api.ResourceNotFound, "Node not found")
	}
	return s.describeNode(c, id, n)
}

// getSelf describes this node; as Pending, from its configuration, when the service
// does not know it yet.
func (s *Server) getSelf(_ context.Context, c *Call) (any, error) {
	id := s.node.Info().ID
	if tables.NodesInfo.Has(c.Tx, id) {
		return s.nodeByID(c, id)
	}
	rpc := json.RawMessage(s.cfg.NodeInterfaces)
	if len(rpc) == 0 {
		rpc = json.RawMessage("{}")
	}
	return api.Node{NodeID: id, Status: string(tables.NodePending), RPCInterfaces: rpc, NodeData: json.RawMessage("null")}, nil
}

func (s *Server) getPrimaryNode(_ context.Context, c *Call) (any, error) {
	if _, ok := s.node.Consensus(); !ok {
		return nil, noConsensus()
	}
	id := s.node.Info().PrimaryID
	if id == "" {
		return nil, api.Errorf(http.StatusInternalServerError, api.InternalError, "Primary unknown")
	}
	return s.nodeByID(c, id)
}

// removable says whether a node's retirement is complete in the committed state.
func (s *Server) removable(id string) (bool, error) {
	n, ok, err := tables.NodesInfo.Get(tables.View(s.node.Committed()), id)
	return ok && n.Status == tables.NodeRetired && n.RetiredCommitted, err
}

func (s *Server) getRemovable(_ context.Context, c *Call) (any, error) {
	return s.listNodes(c, func(id string, n tables.Node) bool {
		if n.Status != tables.NodeRetired || !n.RetiredCommitted {
			return false
		}
		yes, err := s.removable(id)
		return yes && err == nil
	})
}

// deleteNode forgets a node whose retirement is complete.
func (s *Server) deleteNode(_ context.Context, c *Call) (any, error) {
	id := c.Params.Get("node_id")
	if !tables.NodesInfo.Has(c.Tx, id) {
		return nil, api.Errorf(http.StatusNotFound, api.ResourceNotFound, "No such node")
	}
	yes, err := s.removable(id)
	switch {
	case err != nil:
		return nil, err
	case !yes:
		return nil, api.Errorf(http.StatusBadRequest, api.NodeNotRetiredCommitted, "Node is not completely retired")
	}
	return true, gov.ForgetNode(c.Tx, id)
}

// setRetiredCommitted records of each retired node that its retirement is committed.
func (s *Server) setRetiredCommitted(_ context.Context, c *Call) (any, error) {
	committed, err := tables.NodesInfo.All(tables.View(s.node.Committed()))
	if err != nil {
		return nil, err
	}
	for _, n := range committed {
		row, ok, err := tables.NodesInfo.Get(c.Tx, n.Key)
		if err != nil {
			return nil, err
		}
		if !ok || n.Value.Status != tables.NodeRetired || row.Status != tables.NodeRetired || row.RetiredCommitted {
			continue
		}
		row.RetiredCommitted = true
		if err := tables.NodesInfo.Put(c.Tx, n.Key, row); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// removeExpiredPending forgets Pending nodes that have ceased to ask, on the primary.
func (s *Server) removeExpiredPending(ctx context.Context, c *Call) (any, error) {
	if !s.node.Position().Primary {
		return true, nil
	}
	removed, err := gov.RemoveExpiredPending(c.Tx, s.now(), s.cfg.PendingTimeout)
	if len(removed) > 0 {
		s.log.InfoContext(ctx, "Pending nodes that ceased to ask are forgotten", "nodes", removed)
	}
	return true, err
}

// postCreate refuses: a node writes its create transaction itself, before it serves.
func (s *Server) postCreate(_ context.Context, c *Call) (any, error) {
	if len(c.Body) > 0 {
		if err := checkJSON(c.Body); err != nil {
			return nil, err
		}
	}
	return nil, api.Errorf(http.StatusForbidden, api.InternalError, "Node is not in initial state.")
}

// compact writes a JSON document as CCF quotes it: compact, members sorted.
func compact(doc []byte) string {
	b, err := tables.Marshal(json.RawMessage(doc))
	if err != nil {
		return string(doc)
	}
	return string(b)
}
