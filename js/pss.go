package js

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"errors"
	"math/big"
)

// RSA-PSS with an empty salt (RFC 8017 section 9.1), CCF's default, which crypto/rsa
// cannot make: there a salt length of 0 means "choose".

// encodePSS is EMSA-PSS-ENCODE with an empty salt, for a message of bits bits.
func encodePSS(hash crypto.Hash, digest []byte, bits int) ([]byte, error) {
	size := (bits + 7) / 8
	hLen := hash.Size()
	if size < hLen+2 {
		return nil, errors.New("RSA-PSS: the key is too small for the hash")
	}
	h := hash.New()
	h.Write(make([]byte, 8))
	h.Write(digest)
	em := make([]byte, size)
	db := em[:size-hLen-1]
	db[len(db)-1] = 0x01
	copy(em[len(db):], h.Sum(nil))
	em[size-1] = 0xBC
	maskMGF1(hash, em[len(db):size-1], db)
	db[0] &= 0xFF >> (8*size - bits)
	return em, nil
}

// maskMGF1 XORs data with the mask that seed gives.
func maskMGF1(hash crypto.Hash, seed, data []byte) {
	var counter [4]byte
	for i := uint32(0); len(data) > 0; i++ {
		binary.BigEndian.PutUint32(counter[:], i)
		h := hash.New()
		h.Write(seed)
		h.Write(counter[:])
		for _, m := range h.Sum(nil) {
			if len(data) == 0 {
				return
			}
			data[0] ^= m
			data = data[1:]
		}
	}
}

// signPSSUnsalted signs. math/big is not constant-time, so the private operation works
// on a blinded value.
func signPSSUnsalted(k *rsa.PrivateKey, hash crypto.Hash, digest []byte) ([]byte, error) {
	em, err := encodePSS(hash, digest, k.N.BitLen()-1)
	if err != nil {
		return nil, err
	}
	m := new(big.Int).SetBytes(em)
	e := big.NewInt(int64(k.E))
	var r, inverse *big.Int
	for inverse == nil {
		if r, err = rand.Int(rand.Reader, k.N); err != nil {
			return nil, errors.New("RSA-PSS: no randomness")
		}
		inverse = new(big.Int).ModInverse(r, k.N)
	}
	c := new(big.Int).Exp(r, e, k.N)
	c.Mul(c, m).Mod(c, k.N)
	c.Exp(c, k.D, k.N)
	c.Mul(c, inverse).Mod(c, k.N)
	if new(big.Int).Exp(c, e, k.N).Cmp(m) != 0 {
		return nil, errors.New("RSA-PSS: the private key is inconsistent")
	}
	return c.FillBytes(make([]byte, k.Size())), nil
}

func verifyPSSUnsalted(k *rsa.PublicKey, hash crypto.Hash, digest, sig []byte) bool {
	c := new(big.Int).SetBytes(sig)
	if len(sig) != k.Size() || c.Cmp(k.N) >= 0 {
		return false
	}
	want, err := encodePSS(hash, digest, k.N.BitLen()-1)
	if err != nil {
		return false
	}
	m := c.Exp(c, big.NewInt(int64(k.E)), k.N)
	if m.BitLen() > 8*len(want) {
		return false
	}
	return bytes.Equal(m.FillBytes(make([]byte, len(want))), want)
}

// generateRSA makes an RSA key of any exponent. crypto/rsa makes keys with exponent
// 65537 only, and cannot be interrupted; tick is called between candidates.
func generateRSA(bits int, exponent int64, tick func()) *rsa.PrivateKey {
	e := big.NewInt(exponent)
	one := big.NewInt(1)
	for {
		p, q := rsaPrime(bits/2, e, tick), rsaPrime(bits-bits/2, e, tick)
		n := new(big.Int).Mul(p, q)
		if p.Cmp(q) == 0 || n.BitLen() != bits {
			continue
		}
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		d := new(big.Int).ModInverse(e, phi)
		if d == nil {
			continue
		}
		k := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: n, E: int(exponent)}, D: d, Primes: []*big.Int{p, q}}
		k.Precompute()
		return k
	}
}

// rsaPrime returns a random prime of the given size, its two top bits set, whose
// predecessor has no factor in common with e.
func rsaPrime(bits int, e *big.Int, tick func()) *big.Int {
	raw := make([]byte, (bits+7)/8)
	p, rest, one := new(big.Int), new(big.Int), big.NewInt(1)
	for {
		tick()
		rand.Read(raw)
		p.SetBytes(raw)
		p.SetBit(p, 0, 1).SetBit(p, bits-1, 1).SetBit(p, bits-2, 1)
		for i := p.BitLen() - 1; i >= bits; i-- {
			p.SetBit(p, i, 0)
		}
		if rest.GCD(nil, nil, rest.Sub(p, one), e).Cmp(one) == 0 && p.ProbablyPrime(20) {
			return p
		}
	}
}
