package js

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"time"
)

// RecordTable holds the request that a transaction came of, where its endpoint asks for
// that ("chancery": {"record": true} in app.json): one row, rewritten by each, so that the
// ledger has them all. It is private, and no application can read it.
const RecordTable = "ccf.internal.chancery.requests"

// RecordKey is the key of its row.
var RecordKey = singleton

// Record is a request as its transaction keeps it: enough to execute it again over the
// state before it. It is made before the request is executed, for whose Date stands still
// then and whose Math.random begins at Seed.
type Record struct {
	At     time.Time `json:"at"`
	Seed   []byte    `json:"seed"` // 32 bytes
	Method string    `json:"method"`
	// Path is the full path as it was sent, Query the decoded query.
	Path    string      `json:"path"`
	Query   string      `json:"query,omitempty"`
	Host    string      `json:"host,omitempty"`
	Headers [][2]string `json:"headers,omitempty"`
	Body    []byte      `json:"body,omitempty"`
	Caller  *Caller     `json:"caller,omitempty"`
	// Committed is the last committed position that the application could see.
	Committed [2]uint64 `json:"committed"`
}

// withheld are the header fields whose values a record does not hold: whoever has them
// can act as the caller.
var withheld = []string{"authorization", "cookie", "proxy-authorization"}

// Record makes the record of a request that is to be executed, and has it executed as a
// replay will be.
func (r *Request) Record(at time.Time) (*Record, error) {
	rec := &Record{
		At: at.UTC().Truncate(time.Millisecond), Seed: make([]byte, 32),
		Method: r.Method, Path: r.Path, Query: r.Query, Host: r.Host, Body: r.Body,
	}
	rand.Read(rec.Seed)
	switch c := r.Caller.(type) {
	case nil:
	case *Caller:
		rec.Caller = c
	default:
		return nil, fmt.Errorf("a caller of type %T cannot be recorded", c)
	}
	if r.Header != nil {
		for name, value := range r.Header {
			if slices.Contains(withheld, name) {
				value = ""
			}
			rec.Headers = append(rec.Headers, [2]string{name, value})
		}
	}
	if r.Consensus != nil {
		rec.Committed[0], rec.Committed[1] = r.Consensus.LastCommitted()
	}
	rec.fix(r)
	return rec, nil
}

// fix gives a request the clock and the random numbers of the record.
func (rec *Record) fix(r *Request) {
	random := mathrand.New(mathrand.NewChaCha8([32]byte(rec.Seed)))
	r.Now, r.Random = func() time.Time { return rec.At }, random.Float64
}

// Request is the request that was recorded. What it runs over (Tx, Params) and what stands
// behind its host functions is left to the caller. The record must have its seed.
func (rec *Record) Request() (*Request, error) {
	if len(rec.Seed) != 32 {
		return nil, fmt.Errorf("the record of a request has a seed of %d bytes", len(rec.Seed))
	}
	r := &Request{
		Method: rec.Method, Path: rec.Path, Query: rec.Query, Host: rec.Host, Body: rec.Body,
		Header: func(yield func(name, value string) bool) {
			for _, h := range rec.Headers {
				if !yield(h[0], h[1]) {
					return
				}
			}
		},
	}
	rec.fix(r)
	if rec.Caller != nil {
		r.Caller = rec.Caller
	}
	return r, nil
}

// Caller is who asks, as the authentication policies found: request.caller.
type Caller struct {
	// Policy is the name of the policy that accepted the request, parts of an all_of
	// policy joined by "+".
	Policy string `json:"policy"`
	// ID and Cert (PEM) are "" for policies that know none; Data goes with ID.
	ID   string          `json:"id,omitempty"`
	Data json.RawMessage `json:"data,omitempty"`
	Cert string          `json:"cert,omitempty"`
	// COSE is the signed content, JWT the token, of the policies that have one.
	COSE *COSEContent `json:"cose,omitempty"`
	JWT  *Token       `json:"jwt,omitempty"`
	// All holds what the parts of an all_of policy found.
	All map[string]*Caller `json:"all,omitempty"`
}

// COSEContent is what a caller signed.
type COSEContent struct {
	Content []byte `json:"content"`
}

// Token is a JSON Web Token: who issued it, and its two documents.
type Token struct {
	Issuer  string          `json:"issuer"`
	Header  json.RawMessage `json:"header"`
	Payload json.RawMessage `json:"payload"`
}

// object is the caller with CCF's names.
func (c *Caller) object() Object {
	if c.All != nil {
		names := strings.Split(c.Policy, "+")
		o := Object{{Name: "policy", Value: names}}
		for _, name := range names {
			o = append(o, Property{Name: name, Value: c.All[name].object()})
		}
		return o
	}
	o := Object{{Name: "policy", Value: c.Policy}}
	if c.ID != "" {
		var data any
		if len(c.Data) > 0 {
			data = c.Data
		}
		o = append(o, Property{Name: "id", Value: c.ID}, Property{Name: "data", Value: data})
	}
	if c.Cert != "" {
		o = append(o, Property{Name: "cert", Value: c.Cert})
	}
	if c.COSE != nil {
		o = append(o, Property{Name: "cose", Value: Object{{Name: "content", Value: c.COSE.Content}}})
	}
	if c.JWT != nil {
		o = append(o, Property{Name: "jwt", Value: Object{
			{Name: "keyIssuer", Value: c.JWT.Issuer}, {Name: "header", Value: c.JWT.Header}, {Name: "payload", Value: c.JWT.Payload},
		}})
	}
	return o
}
