package node

import (
	"encoding/json"
	"fmt"
	"net"

	"chancery/internal/durable"
)

// writeAddresses writes a JSON map from interface name to the address that was
// really bound (CCF's output_files.rpc_addresses_file and
// node_to_node_address_file). An empty path writes nothing.
func writeAddresses(fs durable.FS, path string, bound map[string]net.Addr) error {
	if path == "" {
		return nil
	}
	addresses := make(map[string]string, len(bound))
	for name, a := range bound {
		addresses[name] = a.String()
	}
	data, err := json.Marshal(addresses)
	if err != nil {
		return fmt.Errorf("encoding addresses: %w", err)
	}
	return writePublic(fs, path, data)
}

// writePublic writes a file that everybody may read, whole or not at all: scripts
// copy it as soon as it exists.
func writePublic(fs durable.FS, path string, data []byte) error {
	if path == "" {
		return nil
	}
	if err := durable.WriteFileAtomic(fs, path, data, 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}

// published replaces a port of 0 in a configured address by the one that was bound.
func published(configured string, bound net.Addr) (string, error) {
	host, port, err := net.SplitHostPort(configured)
	if err != nil {
		return "", fmt.Errorf("address %q: %w", configured, err)
	}
	if port != "0" {
		return configured, nil
	}
	_, port, err = net.SplitHostPort(bound.String())
	if err != nil {
		return "", fmt.Errorf("bound address %q: %w", bound, err)
	}
	return net.JoinHostPort(host, port), nil
}
