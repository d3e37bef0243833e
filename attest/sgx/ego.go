//go:build ego && cgo

package sgx

import (
	"errors"

	"github.com/edgelesssys/ego/attestation"
	"github.com/edgelesssys/ego/attestation/tcbstatus"
	"github.com/edgelesssys/ego/enclave"
)

// ego returns EGo's runtime.
func ego() (runtime, error) { return egoRuntime{}, nil }

type egoRuntime struct{}

func (egoRuntime) self() (report, error) {
	r, err := enclave.GetSelfReport()
	return fromEGo(r), err
}

func (egoRuntime) quote(data []byte) ([]byte, error) { return enclave.GetRemoteReport(data) }

// verify leaves the judgement of the TCB's status to the caller.
func (egoRuntime) verify(quote []byte) (report, error) {
	r, err := enclave.VerifyRemoteReport(quote)
	if errors.Is(err, attestation.ErrTCBLevelInvalid) {
		err = nil
	}
	return fromEGo(r), err
}

func (egoRuntime) uniqueKey() (key, info []byte, err error) { return enclave.GetRandomUniqueSealKey() }

func (egoRuntime) key(info []byte) ([]byte, error) { return enclave.GetSealKey(info) }

func fromEGo(r attestation.Report) report {
	return report{
		data: r.Data, uniqueID: r.UniqueID, debug: r.Debug,
		current: r.TCBStatus == tcbstatus.UpToDate, status: tcbstatus.Explain(r.TCBStatus),
	}
}
