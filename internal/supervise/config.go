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

// writeConfig writes the node's configuration: a new service, or the one that is there.
func (w Workspace) writeConfig(bind, metrics string) error {
	command := "Start"
	if exists(w.Common("service_cert.pem")) {
		command = "Resume"
	} else if err := os.RemoveAll(w.node("")); err != nil { // nobody ever saw this service
		return fmt.Errorf("clearing a half-started node: %w", err)
	}
	if err := os.MkdirAll(w.node(""), 0o700); err != nil {
		return err
	}
	source, err := constitution.Source("sandbox+virtual")
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.node("constitution.js"), []byte(source), 0o644); err != nil {
		return fmt.Errorf("writing the constitution: %w", err)
	}
	common, err := filepath.Abs(w.Common(""))
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(sandboxConfig(command, bind, metrics, common), "", "  ")
	if err != nil {
		return err
	}
	return durable.WriteFileAtomic(durable.OS(), w.node("config.json"), text, 0o644)
}

func sandboxConfig(command, bind, metrics, common string) object {
	in := func(name string) string { return filepath.Join(common, name) }
	chancery := object{"respond": "committed", "key_file": "insecure_keys.json"}
	if metrics != "" {
		chancery["metrics"] = object{"bind_address": metrics}
	}
	return object{
		"network": object{
			"node_to_node_interface": object{"bind_address": "127.0.0.1:0"},
			"rpc_interfaces": object{"primary_rpc_interface": object{
				"bind_address":              bind,
				"enabled_operator_features": []string{"SnapshotRead", "LedgerChunkRead", "SnapshotCreate"},
			}},
		},
		"command": object{
			"type": command, "service_certificate_file": in("service_cert.pem"),
			"start": object{
				"members": []object{{
					"certificate_file": in("member0_cert.pem"), "encryption_public_key_file": in("member0_enc_pubk.pem"),
				}},
				"constitution_files":                        []string{"constitution.js"},
				"service_configuration":                     object{"recovery_threshold": 1},
				"initial_service_certificate_validity_days": validDays,
			},
		},
		"node_certificate": object{
			"subject_alt_names":     []string{"iPAddress:127.0.0.1", "dNSName:localhost"},
			"initial_validity_days": validDays,
		},
		"consensus": object{"election_timeout": "1s"},
		"chancery":  chancery,
	}
}
