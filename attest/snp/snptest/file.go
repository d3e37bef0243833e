package snptest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
)

// machineFile is a machine as a file holds it, so that processes can run on it.
type machineFile struct {
	Report []byte       `json:"report"` // its bytes, not signed
	TCB    map[int]byte `json:"tcb"`
	Chip   []byte       `json:"chip"`
	UVM    []byte       `json:"uvm,omitempty"`
	// Keys are those of root, intermediate and chip, PKCS #8.
	Keys [3][]byte `json:"keys"`
}

// Save writes the machine to a file. What its functions change is not in it.
func (m *Machine) Save(path string) error {
	f := machineFile{TCB: m.TCB, Chip: m.Chip, UVM: m.UVM}
	var err error
	if f.Report, err = binary.Append(nil, binary.LittleEndian, &m.Report); err != nil {
		return err
	}
	for i, key := range []any{m.root, m.intermediate, m.chip} {
		if f.Keys[i], err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return err
		}
	}
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// Load reads what Save wrote.
func Load(path string) (*Machine, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var f machineFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("a machine in %s: %w", path, err)
	}
	m := &Machine{TCB: f.TCB, Chip: f.Chip, UVM: f.UVM}
	if err := binary.Read(bytes.NewReader(f.Report), binary.LittleEndian, &m.Report); err != nil {
		return nil, fmt.Errorf("a machine in %s: %w", path, err)
	}
	var keys [3]any
	for i, der := range f.Keys {
		if keys[i], err = x509.ParsePKCS8PrivateKey(der); err != nil {
			return nil, fmt.Errorf("a machine in %s: %w", path, err)
		}
	}
	var ok [3]bool
	m.root, ok[0] = keys[0].(*rsa.PrivateKey)
	m.intermediate, ok[1] = keys[1].(*rsa.PrivateKey)
	m.chip, ok[2] = keys[2].(*ecdsa.PrivateKey)
	if ok != [3]bool{true, true, true} {
		return nil, fmt.Errorf("a machine in %s: its keys are of other kinds", path)
	}
	return m, nil
}
