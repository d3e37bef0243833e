package ledger

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"chancery/internal/cose"
	"chancery/internal/durable/memfs"
	"chancery/kv/writeset"
)

// forge returns the audit's error over a history that make continues; the history's
// own service certificate is the anchor, as it is at the end.
func forge(t *testing.T, make func(h *history)) error {
	t.Helper()
	h := newService(t, elliptic.P256())
	make(h)
	m := memfs.New()
	h.store(m)
	_, err := h.verifyAt(m)
	return err
}

// stranger is a node that is not of the service.
type stranger struct {
	id, cert string
	signer   *Signer
}

func newStranger(h *history) stranger {
	key := ecKey(h.t, elliptic.P256())
	s := *h.signer
	s.Node, s.NodeID = key, idOf(h.t, key)
	return stranger{id: s.NodeID, signer: &s}
}

// certified gives the stranger a certificate of the service's.
func (s stranger) certified(h *history) stranger {
	key := s.signer.Node.Public()
	cert := pemOf(certifyPublic(h.t, "node", key, h.service, h.signer.Service))
	s.cert, s.signer.NodeCertPEM = cert, cert
	return s
}

// TestForgedSignatures: ledgers whose entries and trees fit together, signed by
// somebody who may not. Each must be refused as untrusted.
func TestForgedSignatures(t *testing.T) {
	foreign := func(h *history) string { // a certificate for the same node by another service
		key := ecKey(h.t, elliptic.P256())
		ca := certify(h.t, "service", key, nil, key)
		return pemOf(certifyPublic(h.t, "node", h.signer.Node.Public(), ca, key))
	}
	cases := map[string]func(h *history){
		"unknown node": func(h *history) { h.signer = newStranger(h).certified(h).signer },
		"pending node": func(h *history) {
			s := newStranger(h).certified(h)
			h.seal(writeset.WriteSet{{Name: nodesInfoMap, Writes: []writeset.Write{{Key: []byte(s.id), Value: jsonOf(map[string]string{"status": "Pending"})}}}}, 0)
			h.sign(0)
			h.signer = s.signer
		},
		"pending node with a certificate": func(h *history) {
			s := newStranger(h).certified(h)
			h.seal(h.joined(s.id, "Pending", s.cert), 0)
			h.sign(0)
			h.signer = s.signer
		},
		"trusted node without a certificate": func(h *history) {
			s := newStranger(h).certified(h)
			h.seal(writeset.WriteSet{{Name: nodesInfoMap, Writes: []writeset.Write{{Key: []byte(s.id), Value: jsonOf(map[string]string{"status": "Trusted"})}}}}, 0)
			h.sign(0)
			h.signer = s.signer
		},
		"removed node": func(h *history) {
			s := newStranger(h).certified(h)
			h.seal(h.joined(s.id, "Trusted", s.cert), 0)
			h.sign(0)
			h.seal(writeset.WriteSet{{Name: nodesInfoMap, Removes: [][]byte{[]byte(s.id)}}}, 0)
			h.sign(0)
			h.signer = s.signer
		},
		"certificate of another service in the signature": func(h *history) { h.signer.NodeCertPEM = foreign(h) },
		"certificate of another service in the tables": func(h *history) {
			h.seal(h.joined(h.signer.NodeID, "Trusted", foreign(h)), 0)
		},
		"certificate over another key in the tables": func(h *history) {
			h.seal(h.joined(h.signer.NodeID, "Trusted", newStranger(h).certified(h).cert), 0)
		},
		"certificate for a node that is not known": func(h *history) {
			s := newStranger(h).certified(h)
			h.seal(h.joined(s.id, "Trusted", s.cert)[:1], 0)
		},
		"COSE signature of another service": func(h *history) {
			s := *h.signer
			s.Service = ecKey(h.t, elliptic.P256())
			h.signer = &s
		},
		"another identity comes in while the service is open": func(h *history) {
			h.identities(elliptic.P256())
			h.seal(h.created(statusOpen), 0)
		},
		"recovery that names another identity before it": func(h *history) {
			h.recover(func(ws writeset.WriteSet) writeset.WriteSet {
				key := ecKey(h.t, elliptic.P256())
				return append(ws, single(previousIdentityMap, jsonOf(pemOf(certify(h.t, "x", key, nil, key)))))
			})
		},
	}
	for name, make := range cases {
		t.Run(name, func(t *testing.T) {
			err := forge(t, func(h *history) {
				make(h)
				h.span(1, 0)
			})
			if !errors.Is(err, ErrUntrusted) {
				t.Errorf("%v, want ErrUntrusted", err)
			}
		})
	}
}

// TestForgedContents: ledgers that state something untrue. Each must be refused, with
// the words that name it.
func TestForgedContents(t *testing.T) {
	cases := map[string]struct {
		make func(h *history)
		want string
	}{
		"node did not sign": {func(h *history) {
			h.tamper(SignaturesMap, func(v map[string]any) {
				sig, _ := base64.StdEncoding.DecodeString(v["sig"].(string))
				sig[len(sig)-1] ^= 1
				v["sig"] = base64.StdEncoding.EncodeToString(sig)
			})
		}, "did not sign the root"},
		"signature is not DER": {func(h *history) {
			h.tamper(SignaturesMap, func(v map[string]any) { v["sig"] = base64.StdEncoding.EncodeToString([]byte{1, 2}) })
		}, SignaturesMap},
		"another root": {func(h *history) {
			h.tamper(SignaturesMap, func(v map[string]any) { v["root"] = strings.Repeat("ab", 32) })
		}, "it signs the root abab"},
		"another position": {func(h *history) {
			h.tamper(SignaturesMap, func(v map[string]any) { v["seqno"] = 4 })
		}, "it names itself 2.4"},
		"COSE of another position": {func(h *history) {
			h.recose(func(s *Signer, id *TxID) { id.Seqno-- })
		}, `it names itself "2.5"`},
		"COSE without the tree's structure": {func(h *history) {
			h.coseHeader(cose.Pair{Key: labelAlg, Value: cose.Algorithm(-7)})
		}, "verifiable data structure"},
		"another tree": {func(h *history) {
			ws := h.signature()
			tree := append([]byte(nil), ws.Map(TreeMap).Writes[0].Value...)
			tree[20] ^= 1
			h.seal(replaced(ws, TreeMap, tree), 0)
		}, TreeMap},
		"signature with another map": {func(h *history) {
			h.seal(append(h.signature(), single("public:zzz", nil)), 0)
		}, "the map has no place in it"},
		"no tree": {func(h *history) {
			h.seal(h.signature()[:2], 0)
		}, "it has no tree table"},
		"status backwards": {func(h *history) {
			h.seal(writeset.WriteSet{h.status(statusWaiting)}, 0)
			h.sign(0)
		}, "the service goes from status Open to WaitingForRecoveryShares"},
		"unknown status": {func(h *history) {
			h.seal(writeset.WriteSet{h.status("Closed")}, 0)
			h.sign(0)
		}, "unknown service status"},
		"view begins behind no signature": {func(h *history) {
			h.write(0)
			h.view++
			h.sign(0)
		}, "its view begins behind 2.5"},
		"endorsement of the wrong end": {func(h *history) {
			h.recover(nil)
			h.reopen(func(e *Epoch) { e.End.Seqno-- })
		}, "the endorsed epoch ends at"},
		"endorsement of another root": {func(h *history) {
			h.recover(nil)
			h.reopen(func(e *Epoch) { e.Root[0] ^= 1 })
		}, "the endorsed root"},
		"secret without the one before it": {func(h *history) {
			h.seal(writeset.WriteSet{single(historicalSecretMap, []byte(`{"next_version":5}`))}, 0)
			h.sign(0)
		}, "without the one before it"},
		"secret from the future": {func(h *history) {
			h.seal(writeset.WriteSet{h.sealed(newSecret(h.t, 9), 99, 1, nil)}, 0)
			h.sign(0)
		}, "in the future"},
		"secret that skips one": {func(h *history) {
			h.seal(writeset.WriteSet{h.sealed(newSecret(h.t, 9), 0, 3, nil)}, 0)
			h.sign(0)
		}, "the one before is that from 1"},
		"another secret is sealed": {func(h *history) {
			h.rekey(newSecret(h.t, 200))
			h.sign(0)
		}, "what is sealed is not the ledger secret from seqno 1"},
		"entry under another secret": {func(h *history) {
			h.secret = newSecret(h.t, 200)
			h.span(1, 0)
		}, ErrTag.Error()},
		"evidence of another secret": {func(h *history) {
			e := &Entry{ID: h.id(), Type: WriteSetWithEvidenceAndClaims}
			if err := e.encode(h.secret, nil); err != nil {
				h.t.Fatal(err)
			}
			h.add(e)
			h.sign(0)
		}, "commit evidence"},
		"secret stored elsewhere": {func(h *history) {
			stored := uint64(2)
			h.seal(writeset.WriteSet{h.sealed(newSecret(h.t, 9), 0, 1, &stored)}, 0)
			h.sign(0)
		}, "the table was last written at seqno 2, and that was at 3"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := forge(t, c.make)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q in it", err, c.want)
			}
		})
	}
}

// TestHonestStories: what a service may do in its life is accepted.
func TestHonestStories(t *testing.T) {
	cases := map[string]func(h *history){
		"nothing":        func(h *history) {},
		"COSE only":      func(h *history) { h.signer.Mode = COSEOnly; h.span(2, 0); h.signer.Mode = Dual; h.span(1, 0) },
		"P-384":          func(h *history) { h.recoverWith(elliptic.P384(), nil); h.reopen(nil) },
		"recovery":       func(h *history) { h.recover(nil); h.reopen(nil) },
		"two recoveries": func(h *history) { h.recover(nil); h.reopen(nil); h.span(1, 0); h.recover(nil); h.reopen(nil) },
		"rekey": func(h *history) {
			h.rekey(h.secret)
			h.span(1, 0)
			h.rekey(h.secret)
		},
		"new view": func(h *history) { h.view = 5; h.sign(0) },
		"retired node still signs": func(h *history) {
			h.seal(writeset.WriteSet{{Name: nodesInfoMap, Writes: []writeset.Write{{Key: []byte(h.signer.NodeID), Value: jsonOf(map[string]string{"status": "Retired"})}}}}, 0)
		},
		"second node": func(h *history) {
			s := newStranger(h).certified(h)
			h.seal(h.joined(s.id, "Trusted", s.cert), 0)
			h.sign(0)
			h.view++
			h.signer = s.signer
			h.sign(0)
		},
		"renewed service certificate": func(h *history) {
			key := h.signer.Service.(*ecdsa.PrivateKey)
			h.service = certify(h.t, "service", key, nil, key)
			h.seal(writeset.WriteSet{h.status(statusOpen)}, 0)
		},
		"null row of a pending node": func(h *history) {
			h.seal(writeset.WriteSet{{Name: nodesInfoMap, Writes: []writeset.Write{{Key: []byte("x"), Value: []byte("null")}}}}, 0)
		},
	}
	for name, make := range cases {
		t.Run(name, func(t *testing.T) {
			err := forge(t, func(h *history) {
				make(h)
				h.span(1, ForceChunkAfter)
				h.span(1, 0)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// replaced returns ws with another value in one of its maps.
func replaced(ws writeset.WriteSet, name string, value []byte) writeset.WriteSet {
	out := append(writeset.WriteSet(nil), ws...)
	for i := range out {
		if out[i].Name == name {
			out[i] = single(name, value)
		}
	}
	return out
}

// tamper seals a signature transaction of which change has changed the JSON.
func (h *history) tamper(name string, change func(map[string]any)) {
	h.t.Helper()
	h.write(0)
	ws := h.signature()
	var v map[string]any
	if err := json.Unmarshal(ws.Map(name).Writes[0].Value, &v); err != nil {
		h.t.Fatal(err)
	}
	change(v)
	h.seal(replaced(ws, name, jsonOf(v)), 0)
}

// recose seals a signature transaction with the COSE signature of another one.
func (h *history) recose(change func(*Signer, *TxID)) {
	h.t.Helper()
	h.write(0)
	ws, s, id := h.signature(), *h.signer, h.id()
	change(&s, &id)
	value, err := s.signCOSE(id, h.tree.Root())
	if err != nil {
		h.t.Fatal(err)
	}
	h.seal(replaced(ws, COSESignaturesMap, value), 0)
}

// coseHeader seals a signature transaction with the given protected header.
func (h *history) coseHeader(pairs ...cose.Pair) {
	h.t.Helper()
	protected, err := cose.EncodeMap(pairs...)
	if err != nil {
		h.t.Fatal(err)
	}
	root := h.tree.Root()
	sig, err := cose.SignDetached(h.signer.Service, protected, root[:])
	if err != nil {
		h.t.Fatal(err)
	}
	h.seal(replaced(h.signature(), COSESignaturesMap, jsonOf(base64.StdEncoding.EncodeToString(sig))), 0)
}

// status is the write of the service's status.
func (h *history) status(s string) writeset.MapWrites {
	return single(serviceInfoMap, jsonOf(map[string]string{"cert": pemOf(h.service), "status": s}))
}

// recover begins a new life of the service; extra may change its first write set.
func (h *history) recover(extra func(writeset.WriteSet) writeset.WriteSet) {
	h.t.Helper()
	h.recoverWith(elliptic.P256(), extra)
}

func (h *history) recoverWith(curve elliptic.Curve, extra func(writeset.WriteSet) writeset.WriteSet) {
	h.t.Helper()
	h.before = Epoch{Begin: TxID{View: 2, Seqno: 1}, End: TxID{View: h.view, Seqno: h.signed}, Root: h.tree.RootAt(h.signed)}
	old := h.service
	h.endorsed = old
	h.identities(curve)
	h.view += recoveryViews
	ws := h.created(statusRecovering)
	if extra == nil {
		ws = append(ws, single(previousIdentityMap, jsonOf(pemOf(old))))
	} else {
		ws = extra(ws)
	}
	h.seal(ws, ForceChunkBefore)
	h.sign(0)
}

// reopen ends a recovery; change may change the endorsement.
func (h *history) reopen(change func(*Epoch)) {
	h.t.Helper()
	h.seal(writeset.WriteSet{h.status(statusWaiting)}, 0)
	h.sign(0)
	epoch := h.before
	if change != nil {
		change(&epoch)
	}
	key, err := x509.MarshalPKIXPublicKey(h.endorsed.PublicKey)
	if err != nil {
		h.t.Fatal(err)
	}
	h.seal(writeset.WriteSet{h.status(statusOpen), h.endorsing(key, epoch)}, 0)
	h.sign(0)
}

// rekey seals the write that brings in a new ledger secret, which seals the given one,
// and goes on under it.
func (h *history) rekey(seals *Secret) {
	h.t.Helper()
	newer := newSecret(h.t, byte(len(h.known)+20))
	version := uint64(1)
	if n := len(h.known); n > 0 {
		version = h.known[n-1].from
	}
	inForce := h.secret
	h.secret = seals
	row := h.sealed(newer, 0, version, nil)
	h.secret = inForce
	e := h.seal(writeset.WriteSet{row}, 0)
	h.secret = newer
	h.known = append(h.known, secretFrom{e.ID.Seqno + 1, newer})
}

// sealed is the write that introduces a new ledger secret, with the one in force sealed
// under it.
func (h *history) sealed(newer *Secret, next, version uint64, stored *uint64) writeset.MapWrites {
	iv := make([]byte, ivSize)
	ct := newer.aead.Seal(nil, iv, h.secret.Key(), nil)
	blob := append(append(append([]byte(nil), ct[SecretSize:]...), iv...), ct[:SecretSize]...)
	previous := map[string]any{"encrypted_data": base64.StdEncoding.EncodeToString(blob), "version": version}
	if stored != nil {
		previous["previous_secret_stored_version"] = *stored
	}
	row := map[string]any{"previous_ledger_secret": previous}
	if next != 0 {
		row["next_version"] = next
	}
	return single(historicalSecretMap, jsonOf(row))
}
