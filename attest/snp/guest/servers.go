package guest

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"chancery/attest"
	"chancery/attest/snp"
)

// Protocol is how a server is spoken to.
type Protocol string

// The protocols: Azure's cache of certificates, AMD's own server, and the service of
// an Azure host.
const (
	Azure Protocol = "Azure"
	AMD   Protocol = "AMD"
	THIM  Protocol = "THIM"
)

// Server hands out endorsements.
type Server struct {
	Protocol Protocol
	Address  string // host or host:port
	Retries  int    // how often a failed request is repeated
}

const (
	requestTimeout = 10 * time.Second
	retryPause     = time.Second
	maxAnswer      = 1 << 20 // bytes
)

// fetch asks the servers in turn.
func fetch(ctx context.Context, servers []Server, r *snp.Report) (*Bundle, error) {
	product, err := r.CPU().Product()
	if err != nil {
		return nil, err
	}
	tcb, err := attest.DecodeTCB(product, r.ReportedTCB.String())
	if err != nil {
		return nil, err
	}
	f, done := newFetcher()
	defer done()
	f.report, f.product, f.tcb, f.chip = r, product, tcb, r.ChipID[:]
	if product == attest.Turin {
		f.chip = f.chip[:8]
	}
	failed := []error{errors.New("no file, host or server has the endorsements of this chip (attestation.snp_endorsements_file, attestation.snp_endorsements_servers)")}
	for _, s := range servers {
		b, err := f.from(ctx, s)
		if err == nil {
			return b, nil
		}
		failed = append(failed, fmt.Errorf("%s server %s: %w", s.Protocol, s.Address, err))
	}
	return nil, errors.Join(failed...)
}

// newFetcher returns a fetcher and what ends its connections.
func newFetcher() (*fetcher, func()) {
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, // see the package's comment
	}
	return &fetcher{http: &http.Client{Transport: transport, Timeout: requestTimeout}}, transport.CloseIdleConnections
}

type fetcher struct {
	http    *http.Client
	report  *snp.Report
	product attest.Product
	tcb     attest.TCBVersion
	chip    []byte
}

func (f *fetcher) from(ctx context.Context, s Server) (*Bundle, error) {
	chip := hex.EncodeToString(f.chip)
	version := strconv.FormatUint(uint64(f.report.ReportedTCB), 16)
	switch s.Protocol {
	case Azure:
		all, err := f.get(ctx, s, url.URL{Scheme: "https", Path: "/SevSnpVM/certificates/" + chip + "/" + version,
			RawQuery: "api-version=2020-10-15-preview"})
		return &Bundle{Chain: string(all)}, err
	case AMD:
		query := url.Values{}
		for name, v := range map[string]*uint32{
			"blSPL": f.tcb.BootLoader, "teeSPL": f.tcb.TEE, "snpSPL": f.tcb.SNP, "ucodeSPL": f.tcb.Microcode, "fmcSPL": f.tcb.FMC,
		} {
			if v != nil {
				query.Set(name, strconv.FormatUint(uint64(*v), 10))
			}
		}
		path := "/vcek/v1/" + string(f.product) + "/"
		der, err := f.get(ctx, s, url.URL{Scheme: "https", Path: path + chip, RawQuery: query.Encode()})
		if err != nil {
			return nil, err
		}
		chain, err := f.get(ctx, s, url.URL{Scheme: "https", Path: path + "cert_chain"})
		return &Bundle{VCEK: certificatePEM(der), Chain: string(chain)}, err
	case THIM:
		text, err := f.get(ctx, s, url.URL{Scheme: "http", Path: "/metadata/THIM/amd/certification",
			RawQuery: url.Values{"tcbVersion": {version}, "platformId": {chip}}.Encode()})
		if err != nil {
			return nil, err
		}
		return ParseBundle(text)
	}
	return nil, fmt.Errorf("protocol %q is not known", s.Protocol)
}

// get sends one request, and again after failures that may pass.
func (f *fetcher) get(ctx context.Context, s Server, u url.URL) ([]byte, error) {
	u.Host = s.Address
	for attempt := 0; ; attempt++ {
		body, err := f.once(ctx, s, u)
		if err == nil || attempt >= s.Retries || ctx.Err() != nil {
			return body, err
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		case <-time.After(retryPause):
		}
	}
}

func (f *fetcher) once(ctx context.Context, s Server, u url.URL) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if s.Protocol == THIM {
		req.Header.Set("Metadata", "true")
	}
	resp, err := f.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case resp.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	case len(body) > maxAnswer:
		return nil, fmt.Errorf("more than %d bytes", maxAnswer)
	}
	return body, nil
}
