package supervise

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"chancery/gov/constitution"
	"chancery/internal/durable"
	"chancery/internal/identity"
)

// validDays is how long the sandbox's certificates hold.
const validDays = 90

type object = map[string]any

// makeKeys makes member0 (with an encryption key) and user0, unless they are there.
func (w Workspace) makeKeys(now time.Time) error {
	curve, err := identity.CurveByName("secp384r1")
	if err != nil {
		return err
	}
	for _, p := range []struct {
		name       string
		encryption bool
	}{{"member0", true}, {"user0", false}} {
		if exists(w.Common(p.name+"_cert.pem")) && exists(w.Common(p.name+"_privk.pem")) {
			continue
		}
		who, err := identity.NewParticipant(p.name, curve, now, validDays, p.encryption)
		if err != nil {
			return fmt.Errorf("making the keys of %s: %w", p.name, err)
		}
		if err := who.Save(durable.OS(), w.Common(""), p.name); err != nil {
			return fmt.Errorf("saving the keys of %s: %w", p.name, err)
		}
	}
	return nil
}

// keyFile is the name of the file that Resume takes a node's keys from.
const keyFile = "insecure_keys.json"

// nodeDataFile holds the node's data, with its zone.
const nodeDataFile = "node_data.json"

// command is how a node begins: "Start", "Resume" with the highest view that any node
// took part in, or "Join" with the address of a node.
type command struct {
	kind   string
	after  uint64
	target string
}

// writeConfig writes a node's configuration.
func (w Workspace) writeConfig(h home, n *node, c command, metrics string, election time.Duration) error {
	if c.kind == "Start" { // nobody ever saw this service
		if err := os.RemoveAll(string(h)); err != nil {
			return fmt.Errorf("clearing a half-started node: %w", err)
		}
	}
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return err
	}
	source, err := constitution.Source("sandbox+virtual+roles")
	if err != nil {
		return err
	}
	if err := os.WriteFile(h.file("constitution.js"), []byte(source), 0o644); err != nil {
		return fmt.Errorf("writing the constitution: %w", err)
	}
	common, err := filepath.Abs(w.Common(""))
	if err != nil {
		return err
	}
	config := sandboxConfig(n.at, c, metrics, common)
	config["consensus"] = object{"election_timeout": fmt.Sprintf("%dms", election.Milliseconds())}
	if n.zone != "" {
		data, err := json.Marshal(object{"zone": n.zone})
		if err != nil {
			return err
		}
		if err := os.WriteFile(h.file(nodeDataFile), data, 0o644); err != nil {
			return fmt.Errorf("writing the node's data: %w", err)
		}
		config["node_data_json_file"] = nodeDataFile
	}
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFileAtomic(durable.OS(), h.file("config.json"), text, 0o644)
}

func sandboxConfig(at place, c command, metrics, common string) object {
	in := func(name string) string { return filepath.Join(common, name) }
	chancery := object{"respond": "committed", "key_file": keyFile}
	if c.after > 0 {
		chancery["resume_after_view"] = c.after
	}
	if metrics != "" {
		chancery["metrics"] = object{"bind_address": metrics}
	}
	return nodeConfig(at, object{
		"type": c.kind, "service_certificate_file": in("service_cert.pem"),
		"join": object{"target_rpc_address": c.target, "retry_timeout": "200ms"},
		"start": object{
			"members": []object{{
				"certificate_file": in("member0_cert.pem"), "encryption_public_key_file": in("member0_enc_pubk.pem"),
			}},
			"constitution_files":                        []string{"constitution.js"},
			"service_configuration":                     object{"recovery_threshold": 1},
			"initial_service_certificate_validity_days": validDays,
		},
	}, chancery)
}

// nodeConfig is what every node here is configured with, beside its command and what
// concerns us alone.
func nodeConfig(at place, command, chancery object) object {
	return object{
		"network": object{
			"node_to_node_interface": object{"bind_address": at.host() + ":0"},
			"rpc_interfaces": object{"primary_rpc_interface": object{
				"bind_address":              at.bind,
				"enabled_operator_features": []string{"SnapshotRead", "LedgerChunkRead", "SnapshotCreate"},
			}},
		},
		"command": command,
		"node_certificate": object{
			"subject_alt_names":     []string{"iPAddress:" + at.host(), "dNSName:localhost"},
			"initial_validity_days": validDays,
		},
		"chancery": chancery,
	}
}
