package supervise

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"chancery/client"
)

// change does what was asked for, while nothing else is done with the nodes.
func (s *supervisor) change(ctx context.Context, what Change) changed {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*replaceWithin, fmt.Errorf("it is not done after %v", 2*replaceWithin))
	defer cancel()
	said, err := s.doChange(ctx, what)
	if err != nil {
		return changed{Error: err.Error()}
	}
	s.o.Say(said)
	return changed{Said: said}
}

func (s *supervisor) doChange(ctx context.Context, what Change) (said string, err error) {
	var old *node
	if what.Do != "add" {
		if old, err = s.find(what.Node); err != nil {
			return "", err
		}
	}
	switch what.Do {
	case "add":
		n, err := s.grow(ctx, what.Zone)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("A new node serves at %s: %s.", n.at.bind, n.id), nil
	case "remove":
		if err := s.shrink(ctx, old); err != nil {
			return "", err
		}
		return fmt.Sprintf("The node at %s is retired.", old.at.bind), nil
	case "replace": // the new one first: there are never fewer
		zone := what.Zone
		if zone == "" {
			zone = old.zone
		}
		n, err := s.grow(ctx, zone)
		if err != nil {
			return "", err
		}
		if err := s.shrink(ctx, old); err != nil {
			return "", fmt.Errorf("a new node serves at %s, and the old one is still there: %w", n.at.bind, err)
		}
		return fmt.Sprintf("A new node serves at %s: %s; the one at %s is retired.", n.at.bind, n.id, old.at.bind), nil
	}
	return "", fmt.Errorf("%q is nothing that can be done with a node", what.Do)
}

// find finds a node by its id, the beginning of it, or its address.
func (s *supervisor) find(name string) (*node, error) {
	var found []*node
	for _, n := range s.nodes {
		if name != "" && (n.at.bind == name || n.at.host() == name || strings.HasPrefix(n.id, name)) {
			found = append(found, n)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("%d nodes of this workspace are meant by %q: give the id or host:port of one", len(found), name)
	}
	return found[0], nil
}

// grow adds a node at the first free place.
func (s *supervisor) grow(ctx context.Context, zone string) (*node, error) {
	if len(s.nodes) >= MaxNodes {
		return nil, fmt.Errorf("there are %d nodes already", len(s.nodes))
	}
	taken := func(p place) bool { return slices.ContainsFunc(s.nodes, func(n *node) bool { return n.at == p }) }
	k := 0
	for taken(placeOf(k, s.o.Port)) {
		k++
	}
	n := &node{at: placeOf(k, s.o.Port), zone: zone}
	if err := n.at.free(); err != nil {
		return nil, fmt.Errorf("port taken: %w", err)
	}
	if n.zone == "" {
		n.zone = s.emptiestZone()
	}
	s.nodes = append(s.nodes, n)
	if err := s.add(ctx, n); err != nil {
		s.drop(n)
		if n.p != nil {
			err = errors.Join(err, n.p.stop())
		}
		// What asked to join is not to be waited for.
		return nil, errors.Join(err, s.retireOthers(context.WithoutCancel(ctx)))
	}
	return n, s.w.record(s.nodes)
}

// emptiestZone is the zone with the fewest nodes, "" where there are no zones.
func (s *supervisor) emptiestZone() string {
	count := map[string]int{}
	for _, n := range s.nodes {
		if n.zone != "" {
			count[n.zone]++
		}
	}
	best := ""
	for z, n := range count {
		if best == "" || n < count[best] || n == count[best] && z < best {
			best = z
		}
	}
	return best
}

func (s *supervisor) drop(n *node) {
	s.nodes = slices.DeleteFunc(s.nodes, func(other *node) bool { return other == n })
}

// shrink retires a node, waits until it has stopped by itself, and forgets it.
func (s *supervisor) shrink(ctx context.Context, n *node) error {
	if len(s.nodes) == 1 {
		return errors.New("it is the only node: add another one first, or stop the service")
	}
	c, err := s.service()
	if err != nil {
		return err
	}
	defer c.Close()
	m, err := s.w.member(c)
	if err != nil {
		return err
	}
	if err := propose(ctx, m, []action{{"remove_node", object{"node_id": n.id}}}); err != nil {
		return err
	}
	s.drop(n)
	if err := s.w.record(s.nodes); err != nil {
		return err
	}
	select {
	case <-n.p.ended:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("the retired node does not stop: %w", context.Cause(ctx)), n.p.stop())
	}
	rest, err := s.service()
	if err != nil {
		return err
	}
	defer rest.Close()
	err = until(ctx, func(ctx context.Context) error {
		_, err := rest.Do(ctx, client.Request{Method: http.MethodDelete, Path: "/node/network/nodes/" + n.id})
		return err
	})
	if err != nil {
		return fmt.Errorf("forgetting the retired node: %w", err)
	}
	return s.forget(n.p.home)
}
