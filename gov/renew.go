package gov

import (
	"time"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/kv"
)

// RenewCertificates gives certificates that end within a time from now as many days more
// as governance allows: those of trusted nodes, and the service's own. One that governance
// allows less than twice that time is renewed when half of it is over. It returns how many
// were renewed.
func RenewCertificates(tx *kv.Tx, fx Effects, within time.Duration) (int, error) {
	s, err := service(tx)
	if err != nil || s.Status != tables.ServiceOpen {
		return 0, err
	}
	cfg, err := config(tx)
	if err != nil {
		return 0, err
	}
	nodes, err := tables.NodesInfo.All(tx)
	if err != nil {
		return 0, err
	}
	renewed := 0
	from := fx.Now().UTC().Format(compactUTC)
	days := tables.Or(cfg.MaxNodeCertDays, tables.DefaultCertValidityDays)
	for _, n := range nodes {
		if n.Value.Status != tables.NodeTrusted || n.Value.CSR == "" {
			continue
		}
		old, ok, err := tables.NodesEndorsedCertificates.Get(tx, n.Key)
		if err != nil {
			return 0, err
		}
		if !ok {
			continue
		}
		if due, err := isDue(old, fx.Now(), within, days); err != nil {
			return 0, err
		} else if !due {
			continue
		}
		cert, err := fx.EndorseNode(n.Value.CSR, from, days)
		if err != nil {
			return 0, err
		}
		if err := tables.NodesEndorsedCertificates.Put(tx, n.Key, cert); err != nil {
			return 0, err
		}
		renewed++
	}
	days = tables.Or(cfg.MaxServiceCertDays, tables.DefaultCertValidityDays)
	if due, err := isDue(s.Cert, fx.Now(), within, days); err != nil || !due {
		return renewed, err
	}
	if s.Cert, err = fx.RenewService(from, days); err != nil {
		return 0, err
	}
	return renewed + 1, tables.ServiceInfo.Put(tx, s)
}

// compactUTC is the form of a moment in certificates.
const compactUTC = "060102150405Z"

// isDue says whether a certificate, PEM, is to be renewed for a number of days.
func isDue(pem string, now time.Time, within time.Duration, days uint64) (bool, error) {
	cert, err := identity.ParseCertificate([]byte(pem))
	if err != nil {
		return false, err
	}
	half := time.Duration(min(days, 10_000)) * 24 * time.Hour / 2
	return cert.NotAfter.Sub(now) < min(within, half), nil
}
