package node

import (
	"fmt"

	"chancery/internal/cose"
	"chancery/internal/identity"
)

// labelContentType is the COSE header parameter that says what a payload is.
const labelContentType = 3

// SignStatement signs a payload with the node's own key. The content type in the signed
// header keeps a statement from being taken for anything else that the key signs.
func (n *Node) SignStatement(contentType string, payload []byte) ([]byte, string, error) {
	public, err := identity.PublicKeyPEM(n.keys.node.Public())
	if err != nil {
		return nil, "", err
	}
	alg, err := cose.AlgorithmFor(n.keys.node.Public())
	if err != nil {
		return nil, "", err
	}
	protected, err := cose.EncodeMap(cose.Pair{Key: cose.LabelAlg, Value: alg}, cose.Pair{Key: labelContentType, Value: contentType})
	if err != nil {
		return nil, "", err
	}
	out, err := cose.SignAttached(n.keys.node, protected, payload)
	if err != nil {
		return nil, "", fmt.Errorf("signing with the node's key: %w", err)
	}
	return out, string(public), nil
}
