package uvm_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	gocose "github.com/veraison/go-cose"

	"chancery/attest"
	"chancery/attest/snp/snptest"
	"chancery/attest/uvm"
)

var measurement = strings.Repeat("5f", 48)

// TestVerify takes both forms, of both kinds of keys.
func TestVerify(t *testing.T) {
	for _, curve := range []bool{false, true} {
		e := snptest.NewEndorser(t, curve)
		want := attest.UVM{DID: e.DID(""), Feed: e.Feed, SVN: 100}
		for name, raw := range map[string][]byte{
			"version as text":   e.Endorse(t, e.DID(""), measurement, "100"),
			"version as number": e.Endorse(t, e.DID(""), measurement, 100),
			"claims":            e.EndorseClaims(t, e.DID(""), measurement, 100),
		} {
			got, err := uvm.Verify(raw, measurement)
			if err != nil || got != want {
				t.Errorf("curve %t, %s: %+v, %v", curve, name, got, err)
			}
		}
	}
}

// TestDID names what a did:x509 can ask of the signer.
func TestDID(t *testing.T) {
	e, other := snptest.NewEndorser(t, true), snptest.NewEndorser(t, true)
	for _, c := range []struct {
		did string
		ok  bool
	}{
		{e.DID("subject:CN:Endorser"), true},
		{e.DID("subject:CN:Endorser:O:Test%20%26%20Sons"), true},
		{e.DID("san:dns:uvm.example"), true},
		{e.DID("san:dns:uvm.example::eku:" + snptest.Usage), true},
		{e.DID("eku:1.2.3"), false},
		{e.DID("eku:1.3.6.1.5.5.7.3.1"), false},
		{e.DID("eku:" + snptest.Usage + ":x"), false},
		{e.DID("eku:" + snptest.Usage + "::eku:1.2.3"), false},
		{e.DID("subject:CN:Endor"), false},
		{e.DID("subject:CN:Endorser:CN:Endorser"), false},
		{e.DID("subject:CN"), false},
		{e.DID("subject:O:Other"), false},
		{e.DID("san:dns:other.example"), false},
		{e.DID("san:email:a@example"), false},
		{e.DID("san:uri:a"), false},
		{e.DID("san:color:red"), false},
		{e.DID("san:dns"), false},
		{e.DID("san:ipaddress:192.0.2.7"), true},
		{e.DID("san:ipaddress:2001%3Adb8%3A%3A7"), true},
		{e.DID("san:ipaddress:2001%3A0db8%3A0%3A0%3A%3A7"), true},
		{e.DID("san:ipaddress:192.0.2.8"), false},
		{e.DID("san:ipaddress:here"), false},
		{e.DID("fulcio-issuer:token.example%2Flogin"), true},
		{e.DID("fulcio-issuer:token.example"), false},
		{e.DID("fulcio-issuer:token.example%2Flogin:x"), false},
		{e.DID("fulcio-issuer:%zz"), false},
		{e.DID("fulcio-issuer:x"), false},
		{e.DID("subject:CN:%zz"), false},
		{other.DID(""), false},
		{"", false},
		{"did:x509:0:sha256:abc", false},
		{strings.Replace(e.DID(""), ":0:", ":1:", 1), false},
		{strings.Replace(e.DID(""), "sha256", "sha512", 1), false},
		{strings.Replace(e.DID(""), "sha256", "md5", 1), false},
		{strings.Replace(e.DID(""), "did:x509", "did:web", 1), false},
	} {
		got, err := uvm.Verify(e.Endorse(t, c.did, measurement, 1), measurement)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, uvm.ErrIssuer) {
			t.Errorf("%s: %+v, %v", c.did, got, err)
		}
	}
}

// TestRefused changes one thing at a time.
func TestRefused(t *testing.T) {
	e, other := snptest.NewEndorser(t, false), snptest.NewEndorser(t, false)
	did := e.DID("")
	edited := func(edit func(h gocose.ProtectedHeader)) []byte {
		changed := *e
		changed.Header = edit
		return changed.Endorse(t, did, measurement, 1)
	}
	claims := func(edit func(h gocose.ProtectedHeader)) []byte {
		changed := *e
		changed.Header = edit
		return changed.EndorseClaims(t, did, measurement, 1)
	}
	with := func(chain ...[]byte) []byte {
		changed := *e
		changed.Chain = chain
		return changed.Endorse(t, did, measurement, 1)
	}
	payload := func(text string) []byte {
		return e.Sign(t, gocose.ProtectedHeader{int64(3): "application/json", "iss": did, "feed": "f"}, []byte(text))
	}
	good := e.Endorse(t, did, measurement, 1)
	last := bytes.Clone(good)
	last[len(last)-1] ^= 1
	altered := bytes.Replace(good, []byte("5f5f"), []byte("5f5e"), 1)
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"empty":                 {nil, uvm.ErrMalformed},
		"not CBOR":              {[]byte("endorsement"), uvm.ErrMalformed},
		"cut short":             {good[:len(good)-1], uvm.ErrMalformed},
		"more behind":           {append(bytes.Clone(good), 0), uvm.ErrMalformed},
		"oversized":             {make([]byte, 1<<20), uvm.ErrMalformed},
		"no issuer":             {edited(func(h gocose.ProtectedHeader) { delete(h, "iss") }), uvm.ErrMalformed},
		"no feed":               {edited(func(h gocose.ProtectedHeader) { delete(h, "feed") }), uvm.ErrMalformed},
		"feed a number":         {edited(func(h gocose.ProtectedHeader) { h["feed"] = 1 }), uvm.ErrMalformed},
		"no content type":       {edited(func(h gocose.ProtectedHeader) { delete(h, int64(3)) }), uvm.ErrMalformed},
		"another content type":  {edited(func(h gocose.ProtectedHeader) { h[int64(3)] = "text/plain" }), uvm.ErrMalformed},
		"no chain":              {with(), uvm.ErrMalformed},
		"chain of text":         {edited(func(h gocose.ProtectedHeader) { h[int64(33)] = []any{[]byte("x"), []byte("y")} }), uvm.ErrMalformed},
		"long chain":            {with(e.Chain[0], e.Chain[1], e.Chain[1], e.Chain[1], e.Chain[1], e.Chain[1], e.Chain[1], e.Chain[1], e.Chain[1], e.Chain[1], e.Chain[1]), uvm.ErrMalformed},
		"signer alone":          {with(e.Chain[0]), uvm.ErrIssuer},
		"another's root":        {with(e.Chain[0], other.Chain[1]), uvm.ErrIssuer},
		"another's root behind": {with(e.Chain[0], e.Chain[1], other.Chain[1]), uvm.ErrIssuer},
		"root signs itself":     {with(e.Chain[1], e.Chain[1]), uvm.ErrIssuer},
		"another's chain":       {with(other.Chain...), uvm.ErrIssuer},
		"no claims":             {claims(func(h gocose.ProtectedHeader) { h[int64(15)] = map[any]any{} }), uvm.ErrMalformed},
		"negative version":      {claims(func(h gocose.ProtectedHeader) { h[int64(15)].(map[any]any)["svn"] = -1 }), uvm.ErrMalformed},
		"claims' content type":  {claims(func(h gocose.ProtectedHeader) { h[int64(259)] = "application/json" }), uvm.ErrMalformed},
		"signature changed":     {last, uvm.ErrSignature},
		"payload changed":       {altered, uvm.ErrSignature},
		"payload no JSON":       {payload("x"), uvm.ErrMalformed},
		"payload null":          {payload("null"), uvm.ErrMalformed},
		"no version":            {payload(`{"x-ms-sevsnpvm-launchmeasurement":"00"}`), uvm.ErrMalformed},
		"version negative":      {payload(`{"x-ms-sevsnpvm-launchmeasurement":"00","x-ms-sevsnpvm-guestsvn":-1}`), uvm.ErrMalformed},
		"version a fraction":    {payload(`{"x-ms-sevsnpvm-launchmeasurement":"00","x-ms-sevsnpvm-guestsvn":1.5}`), uvm.ErrMalformed},
		"version words":         {payload(`{"x-ms-sevsnpvm-launchmeasurement":"00","x-ms-sevsnpvm-guestsvn":"one"}`), uvm.ErrMalformed},
		"version null":          {payload(`{"x-ms-sevsnpvm-launchmeasurement":"00","x-ms-sevsnpvm-guestsvn":null}`), uvm.ErrMalformed},
		"measurement a number":  {payload(`{"x-ms-sevsnpvm-launchmeasurement":1,"x-ms-sevsnpvm-guestsvn":1}`), uvm.ErrMalformed},
		"another measurement":   {e.Endorse(t, did, strings.Repeat("00", 48), 1), uvm.ErrMeasurement},
		"half a measurement":    {e.EndorseClaims(t, did, measurement[:48], 1), uvm.ErrMeasurement},
		"upper case":            {e.Endorse(t, did, strings.ToUpper(measurement), 1), uvm.ErrMeasurement},
	} {
		if got, err := uvm.Verify(c.raw, measurement); !errors.Is(err, c.want) {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, c.want)
		}
	}
}

func FuzzVerify(f *testing.F) {
	e := snptest.NewEndorser(f, true)
	f.Add(e.Endorse(f, e.DID(""), measurement, 1))
	f.Add(e.EndorseClaims(f, e.DID(""), measurement, 1))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := uvm.Verify(raw, measurement)
		if err == nil && got.SVN != 1 {
			t.Errorf("%+v", got)
		}
	})
}
