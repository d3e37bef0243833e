package writeset

import (
	"encoding/hex"
	"unicode/utf8"
)

// MapJSON is a map's part of a write set as a JSON document. Keys and values are text
// where they are UTF-8, else hex under the name with _hex.
type MapJSON struct {
	Name    string      `json:"name"`
	Writes  []WriteJSON `json:"writes,omitempty"`
	Removes []WriteJSON `json:"removes,omitempty"` // without values
}

// WriteJSON is one key, with the value that it is given.
type WriteJSON struct {
	Key      *string `json:"key,omitempty"`
	KeyHex   *string `json:"key_hex,omitempty"`
	Value    *string `json:"value,omitempty"`
	ValueHex *string `json:"value_hex,omitempty"`
}

// JSON returns the write set as documents, never nil.
func (ws WriteSet) JSON() []MapJSON {
	out := make([]MapJSON, 0, len(ws))
	for _, m := range ws {
		j := MapJSON{Name: m.Name}
		for _, w := range m.Writes {
			var x WriteJSON
			x.Key, x.KeyHex = textOrHex(w.Key)
			x.Value, x.ValueHex = textOrHex(w.Value)
			j.Writes = append(j.Writes, x)
		}
		for _, k := range m.Removes {
			var x WriteJSON
			x.Key, x.KeyHex = textOrHex(k)
			j.Removes = append(j.Removes, x)
		}
		out = append(out, j)
	}
	return out
}

func textOrHex(b []byte) (text, digits *string) {
	if utf8.Valid(b) {
		s := string(b)
		return &s, nil
	}
	s := hex.EncodeToString(b)
	return nil, &s
}
