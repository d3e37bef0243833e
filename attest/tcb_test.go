package attest

import "testing"

// TestCPUID reads and writes the processors' names.
func TestCPUID(t *testing.T) {
	for _, c := range []struct {
		id      string
		cpu     CPU
		product Product
	}{
		{"00a00f11", CPU{0x19, 0x01, 1}, Milan},
		{"00a10f11", CPU{0x19, 0x11, 1}, Genoa},
		{"00b00f21", CPU{0x1A, 0x02, 1}, Turin},
		{"00800f12", CPU{0x17, 0x01, 2}, ""},
		{"00000600", CPU{0x06, 0x00, 0}, ""},
	} {
		cpu, err := ParseCPUID(c.id)
		if err != nil || cpu != c.cpu || cpu.ID() != c.id {
			t.Errorf("%s: %+v (%s), %v", c.id, cpu, cpu.ID(), err)
		}
		if p, err := cpu.Product(); p != c.product || (err == nil) != (c.product != "") {
			t.Errorf("%s: %q, %v", c.id, p, err)
		}
	}
	for _, bad := range []string{"", "00", "zz", "00a00f1", "00a00f1100"} {
		if c, err := ParseCPUID(bad); err == nil {
			t.Errorf("%q reads as %+v", bad, c)
		}
	}
}

// TestAtLeast changes one component at a time.
func TestAtLeast(t *testing.T) {
	decode := func(p Product, text string) TCBVersion {
		v, err := DecodeTCB(p, text)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	milan := decode(Milan, "db18000000000004")
	turin := decode(Turin, "5100000004030201")
	for _, c := range []struct {
		name        string
		have, least TCBVersion
		want        bool
	}{
		{"equal", milan, milan, true},
		{"above", decode(Milan, "dc19000000000105"), milan, true},
		{"microcode below", decode(Milan, "da18000000000004"), milan, false},
		{"SNP below", decode(Milan, "db17000000000004"), milan, false},
		{"boot loader below", decode(Milan, "db18000000000003"), milan, false},
		{"TEE below", milan, decode(Milan, "db18000000000104"), false},
		{"one above, one below", decode(Milan, "ff17000000000004"), milan, false},
		{"reserved bytes do not count", milan, decode(Milan, "db18ffffffff0004"), true},
		{"Turin", turin, turin, true},
		{"FMC below", decode(Turin, "5100000004030200"), turin, false},
		{"minimum without FMC", turin, milan, false},
		{"empty minimum", milan, TCBVersion{}, false},
	} {
		if got := c.have.AtLeast(c.least); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	if _, err := DecodeTCB(Milan, "00"); err == nil {
		t.Error("a short version was read")
	}
	if _, err := DecodeTCB("Naples", "db18000000000004"); err == nil {
		t.Error("a version of an unknown line was read")
	}
}
