package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"chancery/ledger"
)

// TestWriteRecovery keeps of a node's configuration what is not of its earlier life.
func TestWriteRecovery(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "node.json")
	if err := os.WriteFile(file, []byte(`{
		"network": {"node_to_node_interface": {"bind_address": "10.0.0.1:444"}, "rpc_interfaces": {"main": {"bind_address": "10.0.0.1:443", "published_address": "a.example:443"}}},
		"command": {"type": "Join", "join": {"target_rpc_address": "10.0.0.2:443"}},
		"ledger": {"directory": "/data/ledger", "read_only_directories": ["/archive"], "chunk_size": "7MB"},
		"snapshots": {"directory": "/data/snapshots", "read_only_directory": "/archive", "tx_count": 77},
		"chancery": {"resume_after_view": 9, "recover_expect": "2.5", "respond": "committed"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(address string, expect ledger.TxID) (out struct {
		Network struct {
			Peers struct {
				Bind string `json:"bind_address"`
			} `json:"node_to_node_interface"`
			RPC map[string]map[string]any `json:"rpc_interfaces"`
		}
		Command                     struct{ Type string }
		Ledger, Snapshots, Chancery map[string]any
	}) {
		t.Helper()
		c, err := readNodeConfig(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := writeRecovery(t.Context(), dir, c, address, expect); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	kept := write("", ledger.TxID{})
	if kept.Command.Type != "Recover" || kept.Network.Peers.Bind != "10.0.0.1:444" || kept.Network.RPC["main"]["published_address"] != "a.example:443" ||
		kept.Ledger["directory"] != "ledger" || kept.Ledger["chunk_size"] != "7MB" || kept.Ledger["read_only_directories"] != nil ||
		kept.Snapshots["directory"] != "snapshots" || kept.Snapshots["tx_count"] != 77.0 || kept.Snapshots["read_only_directory"] != nil ||
		kept.Chancery["respond"] != "committed" || kept.Chancery["resume_after_view"] != nil || kept.Chancery["recover_expect"] != nil {
		t.Errorf("%+v", kept)
	}
	moved := write("127.0.0.1:8100", ledger.TxID{View: 2, Seqno: 7})
	if moved.Network.Peers.Bind != "127.0.0.1:0" || moved.Network.RPC["main"]["bind_address"] != "127.0.0.1:8100" || moved.Network.RPC["main"]["published_address"] != nil ||
		moved.Chancery["recover_expect"] != "2.7" {
		t.Errorf("at another address: %+v", moved)
	}
}
