package js

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/dop251/goja"
)

// jwk is a JSON Web Key (RFC 7517, 7518, 8037): its members, all strings.
type jwk map[string]string

// jwkMembers is the order in which members are given out.
var jwkMembers = []string{"crv", "d", "dp", "dq", "e", "kid", "kty", "n", "p", "q", "qi", "x", "y"}

// pemToJWK makes the function (pem, kid?) for one kind of key.
func pemToJWK(convert func(pem string) (jwk, error)) func(*sandbox, goja.FunctionCall) goja.Value {
	return func(s *sandbox, c goja.FunctionCall) goja.Value {
		if n := len(c.Arguments); n != 1 && n != 2 {
			s.throwType("Passed %d arguments, but expected 1 or 2", n)
		}
		k, err := convert(c.Arguments[0].String())
		if err != nil {
			s.throwInternal("Failed to convert pem to jwk: %s", err)
		}
		if len(c.Arguments) == 2 {
			k["kid"] = c.Arguments[1].String()
		}
		o := s.vm.NewObject()
		for _, m := range jwkMembers {
			if v, ok := k[m]; ok {
				_ = o.Set(m, v)
			}
		}
		return o
	}
}

// jwkToPEM makes the function (jwk) for one kind of key.
func jwkToPEM(convert func(jwk) (string, error)) func(*sandbox, goja.FunctionCall) goja.Value {
	return func(s *sandbox, c goja.FunctionCall) goja.Value {
		s.arity(c, 1)
		pem, err := convert(s.jwkArg(c.Arguments[0]))
		if err != nil {
			s.throwInternal("Failed to convert jwk to pem %s", err)
		}
		return s.vm.ToValue(pem)
	}
}

// jwkArg reads the members of a JWK; those that are no strings count as absent.
func (s *sandbox) jwkArg(v goja.Value) jwk {
	k := jwk{}
	if o, ok := v.(*goja.Object); ok {
		for _, m := range jwkMembers {
			if v := o.Get(m); v != nil && goja.IsString(v) {
				k[m] = v.String()
			}
		}
	}
	return k
}

// urlSafe turns base64 into base64url: CCF takes both.
var urlSafe = strings.NewReplacer("+", "-", "/", "_")

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// kind checks the key type.
func (k jwk) kind(want string) error {
	switch kty, ok := k["kty"]; {
	case !ok:
		return ccfText("Missing required field 'kty'")
	case kty != "EC" && kty != "RSA" && kty != "OKP":
		return fmt.Errorf("%q is not convertible to JsonWebKeyType", kty)
	case kty != want:
		return fmt.Errorf("JWK is of type %s, not %s", kty, want)
	}
	return nil
}

// bytes decodes a member; its value is in no error, since it may be secret.
func (k jwk) bytes(member string) ([]byte, error) {
	v, ok := k[member]
	if !ok {
		return nil, ccfText("Missing required field '" + member + "'")
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(urlSafe.Replace(v), "="))
	if err != nil {
		return nil, fmt.Errorf("field '%s' is not base64url", member)
	}
	return b, nil
}

// numbers decodes members as big-endian integers.
func (k jwk) numbers(members ...string) ([]*big.Int, error) {
	var out []*big.Int
	for _, m := range members {
		b, err := k.bytes(m)
		if err != nil {
			return nil, err
		}
		out = append(out, new(big.Int).SetBytes(b))
	}
	return out, nil
}

var curveNames = map[elliptic.Curve]string{elliptic.P256(): "P-256", elliptic.P384(): "P-384", elliptic.P521(): "P-521"}

func ecPublicToJWK(pem string) (jwk, error) {
	k, err := ecPublic(pem)
	if err != nil {
		return nil, err
	}
	return ecMembers(k)
}

func ecMembers(k *ecdsa.PublicKey) (jwk, error) {
	point, err := k.Bytes() // 4 | x | y
	if err != nil {
		return nil, fmt.Errorf("encoding public key: %w", err)
	}
	half := (len(point) - 1) / 2
	return jwk{"kty": "EC", "crv": curveNames[k.Curve], "x": encode64(point[1 : 1+half]), "y": encode64(point[1+half:])}, nil
}

func ecPrivateToJWK(pem string) (jwk, error) {
	k, err := ecPrivate(pem)
	if err != nil {
		return nil, err
	}
	out, err := ecMembers(&k.PublicKey)
	if err != nil {
		return nil, err
	}
	d, err := k.Bytes()
	if err != nil {
		return nil, errors.New("encoding private key")
	}
	out["d"] = encode64(d)
	return out, nil
}

// ecPoint reads curve and public point of a JWK.
func ecPoint(k jwk) (*ecdsa.PublicKey, error) {
	if err := k.kind("EC"); err != nil {
		return nil, err
	}
	for curve, name := range curveNames {
		if name != k["crv"] {
			continue
		}
		half := (curve.Params().BitSize + 7) / 8
		point := make([]byte, 1, 1+2*half)
		point[0] = 4
		for _, m := range []string{"x", "y"} {
			b, err := k.bytes(m)
			if err != nil {
				return nil, err
			}
			if len(b) > half {
				return nil, fmt.Errorf("field '%s' is too long for the curve", m)
			}
			point = append(append(point, make([]byte, half-len(b))...), b...)
		}
		public, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			return nil, errors.New("the point is not on the curve")
		}
		return public, nil
	}
	return nil, fmt.Errorf("%q is not convertible to JsonWebKeyECCurve", k["crv"])
}

func ecPublicFromJWK(k jwk) (string, error) {
	public, err := ecPoint(k)
	if err != nil {
		return "", err
	}
	return marshalPublic(public)
}

func ecPrivateFromJWK(k jwk) (string, error) {
	public, err := ecPoint(k)
	if err != nil {
		return "", err
	}
	d, err := k.bytes("d")
	if err != nil {
		return "", err
	}
	half := coordinateSize(public)
	if len(d) > half {
		return "", errors.New("field 'd' is too long for the curve")
	}
	private, err := ecdsa.ParseRawPrivateKey(public.Curve, append(make([]byte, half-len(d)), d...))
	if err != nil || !private.PublicKey.Equal(public) {
		return "", errors.New("private and public part do not belong together")
	}
	return marshalPrivate(private)
}

func rsaPublicToJWK(pem string) (jwk, error) {
	k, err := rsaPublic(pem)
	if err != nil {
		return nil, err
	}
	return rsaMembers(k), nil
}

func rsaMembers(k *rsa.PublicKey) jwk {
	return jwk{"kty": "RSA", "n": encode64(k.N.Bytes()), "e": encode64(big.NewInt(int64(k.E)).Bytes())}
}

func rsaPrivateToJWK(pem string) (jwk, error) {
	k, err := rsaPrivate(pem)
	if err != nil {
		return nil, err
	}
	if len(k.Primes) != 2 {
		return nil, errors.New("RSA keys of more than two primes have no JWK form here")
	}
	k.Precompute()
	out := rsaMembers(&k.PublicKey)
	for m, v := range map[string]*big.Int{
		"d": k.D, "p": k.Primes[0], "q": k.Primes[1],
		"dp": k.Precomputed.Dp, "dq": k.Precomputed.Dq, "qi": k.Precomputed.Qinv,
	} {
		out[m] = encode64(v.Bytes())
	}
	return out, nil
}

func rsaPublicFromJWK(k jwk) (string, error) {
	if err := k.kind("RSA"); err != nil {
		return "", err
	}
	public, err := rsaModulus(k)
	if err != nil {
		return "", err
	}
	return marshalPublic(public)
}

func rsaModulus(k jwk) (*rsa.PublicKey, error) {
	n, err := k.numbers("n", "e")
	if err != nil {
		return nil, err
	}
	if n[0].Sign() == 0 || n[0].BitLen() > 2*maxRSABits || n[1].BitLen() > 31 || n[1].Bit(0) == 0 {
		return nil, errors.New("modulus or exponent is out of range")
	}
	return &rsa.PublicKey{N: n[0], E: int(n[1].Int64())}, nil
}

func rsaPrivateFromJWK(k jwk) (string, error) {
	if err := k.kind("RSA"); err != nil {
		return "", err
	}
	public, err := rsaModulus(k)
	if err != nil {
		return "", err
	}
	n, err := k.numbers("d", "p", "q")
	if err != nil {
		return "", err
	}
	private := &rsa.PrivateKey{PublicKey: *public, D: n[0], Primes: []*big.Int{n[1], n[2]}}
	if err := private.Validate(); err != nil {
		return "", errors.New("the parts of the key do not belong together")
	}
	private.Precompute()
	return marshalPrivate(private)
}

func okpPublicToJWK(pem string) (jwk, error) {
	key, err := parsePublic(pem)
	if err != nil {
		return nil, err
	}
	k, err := okpOf(key)
	if err != nil {
		return nil, err
	}
	return jwk{"kty": "OKP", "crv": k.curve, "x": encode64(k.public)}, nil
}

func okpPrivateToJWK(pem string) (jwk, error) {
	key, err := parsePrivate(pem)
	if err != nil {
		return nil, err
	}
	k, err := okpOf(key)
	if err != nil {
		return nil, err
	}
	return jwk{"kty": "OKP", "crv": k.curve, "x": encode64(k.public), "d": encode64(k.private)}, nil
}

// okpCurve checks type and curve of a JWK.
func okpCurve(k jwk) error {
	if err := k.kind("OKP"); err != nil {
		return err
	}
	if k["crv"] != "Ed25519" && k["crv"] != "X25519" {
		return fmt.Errorf("%q is not convertible to JsonWebKeyEdDSACurve", k["crv"])
	}
	return nil
}

func okpPublicFromJWK(k jwk) (string, error) {
	if err := okpCurve(k); err != nil {
		return "", err
	}
	x, err := k.bytes("x")
	if err != nil {
		return "", err
	}
	if len(x) != ed25519.PublicKeySize {
		return "", errors.New("field 'x' is not of 32 bytes")
	}
	if k["crv"] == "Ed25519" {
		return marshalPublic(ed25519.PublicKey(x))
	}
	public, err := ecdh.X25519().NewPublicKey(x)
	if err != nil {
		return "", fmt.Errorf("reading public key: %w", err)
	}
	return marshalPublic(public)
}

func okpPrivateFromJWK(k jwk) (string, error) {
	if err := okpCurve(k); err != nil {
		return "", err
	}
	d, err := k.bytes("d")
	if err != nil {
		return "", err
	}
	if len(d) != ed25519.SeedSize {
		return "", errors.New("field 'd' is not of 32 bytes")
	}
	if k["crv"] == "Ed25519" {
		return marshalPrivate(ed25519.NewKeyFromSeed(d))
	}
	private, err := ecdh.X25519().NewPrivateKey(d)
	if err != nil {
		return "", errors.New("reading private key")
	}
	return marshalPrivate(private)
}
