package writeset

import (
	"encoding/json"
	"testing"
)

func TestJSON(t *testing.T) {
	ws := WriteSet{
		{Name: "public:a", Writes: []Write{{Key: []byte("k"), Value: []byte("v")}, {Key: []byte{0xff}, Value: nil}}},
		{Name: "public:b", Removes: [][]byte{[]byte("gone"), {0x80, 1}}},
	}
	got, err := json.Marshal(ws.JSON())
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"name":"public:a","writes":[{"key":"k","value":"v"},{"key_hex":"ff","value":""}]},{"name":"public:b","removes":[{"key":"gone"},{"key_hex":"8001"}]}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err := json.Marshal(WriteSet(nil).JSON()); err != nil || string(got) != "[]" {
		t.Errorf("nothing written: %s %v", got, err)
	}
}
