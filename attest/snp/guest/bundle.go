package guest

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/google/go-sev-guest/abi"
)

// Bundle are endorsements as Azure's hosts give them.
type Bundle struct {
	VCEK  string `json:"vcekCert"`         // PEM
	Chain string `json:"certificateChain"` // PEM: ASK, ARK
	TCB   string `json:"tcbm"`             // the version that VCEK is for, hex; "" where not said
}

// ParseBundle reads the JSON of a bundle.
func ParseBundle(text []byte) (*Bundle, error) {
	b := new(Bundle)
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("endorsements: %w", err)
	}
	if b.VCEK == "" || b.Chain == "" {
		return nil, fmt.Errorf("endorsements: vcekCert or certificateChain is missing")
	}
	if !strings.HasSuffix(b.VCEK, "\n") {
		b.VCEK += "\n"
	}
	b.TCB = strings.ToLower(b.TCB)
	return b, nil
}

// DecodeFile reads the content of a file that holds base64, as all of CCF's SEV-SNP files
// do.
func DecodeFile(content []byte) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.TrimSpace(string(content)))
}

// fromTable reads the host's table of certificates; nil where it lacks one.
func fromTable(table []byte) (*Bundle, error) {
	if len(table) == 0 {
		return nil, nil
	}
	certs := new(abi.CertTable)
	if err := certs.Unmarshal(table); err != nil {
		return nil, err
	}
	var text [3]string
	for i, guid := range []string{abi.VcekGUID, abi.AskGUID, abi.ArkGUID} {
		der, err := certs.GetByGUIDString(guid)
		if err != nil || len(der) == 0 {
			return nil, nil
		}
		text[i] = certificatePEM(der)
	}
	return &Bundle{VCEK: text[0], Chain: text[1] + text[2]}, nil
}

func certificatePEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}
