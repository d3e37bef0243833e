package guest

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/google/go-sev-guest/client"

	"chancery/attest"
)

// KeyDevice asks the processor for keys.
type KeyDevice interface {
	// DerivedKey returns the key that the processor derives from its chip's key, the
	// guest's measurement and host data, and a TCB version no newer than its own.
	DerivedKey(tcb uint64) ([32]byte, error)
}

// sevDevice is /dev/sev-guest.
type sevDevice struct{}

// OpenKeys returns the device of this machine. It fails where there is none.
func OpenKeys() (KeyDevice, error) {
	d, err := client.OpenDevice()
	if err != nil {
		return nil, fmt.Errorf("this machine is no SEV-SNP guest: %w", err)
	}
	return sevDevice{}, d.Close()
}

// DerivedKey asks as CCF does, and for the guest's policy as well: the measurement does not
// cover it, and the host reads the memory of a guest whose policy allows debugging. The
// chip's key and the host data are always in it.
func (sevDevice) DerivedKey(tcb uint64) (key [32]byte, err error) {
	d, err := client.OpenDevice()
	if err != nil {
		return key, err
	}
	answer, err := client.GetDerivedKeyAcknowledgingItsLimitations(d, &client.SnpDerivedKeyReq{
		UseVCEK: true, TCBVersion: tcb, GuestFieldSelect: client.GuestFieldSelect{GuestPolicy: true, Measurement: true, TCBVersion: true},
	})
	if err == nil && answer.Status != 0 {
		err = fmt.Errorf("status %#x", answer.Status)
	}
	if err == nil {
		key = answer.Data
		clear(answer.Data[:])
	}
	return key, errors.Join(err, d.Close())
}

// Sealer seals to the processor.
type Sealer struct{ Device KeyDevice }

var _ attest.Sealer = Sealer{}

// Algorithm is CCF's.
func (Sealer) Algorithm() string { return attest.SealedSNP }

// sealingLabel keeps the key apart from others that may be derived; it is CCF's.
const sealingLabel = "CCF AMD Local Sealing Key"

// SealingKey derives the key from the processor's.
func (s Sealer) SealingKey(tcb string) ([]byte, error) {
	version, err := hex.DecodeString(tcb)
	if err != nil || len(version) != 8 {
		return nil, fmt.Errorf("TCB version %q is not 16 hex digits", tcb)
	}
	derived, err := s.Device.DerivedKey(binary.BigEndian.Uint64(version))
	if err != nil {
		return nil, fmt.Errorf("asking the processor for a key: %w", err)
	}
	defer clear(derived[:])
	if derived == [32]byte{} {
		return nil, errors.New("asking the processor for a key: all zeros came")
	}
	return hkdf.Key(sha256.New, derived[:], nil, sealingLabel, 32)
}
