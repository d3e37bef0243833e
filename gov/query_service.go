package gov

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"

	"chancery/gov/tables"
	"chancery/kv/writeset"
)

// ServiceView is the service as the API shows it. TxIDs are "view.seqno".
type ServiceView struct {
	Certificate          string               `json:"certificate"`
	Configuration        *ConfigView          `json:"configuration,omitempty"`
	CreationTxID         string               `json:"creationTransactionId,omitempty"`
	PreviousCreationTxID string               `json:"previousServiceCreationTransactionId,omitempty"`
	RecoveryCount        uint64               `json:"recoveryCount"`
	ServiceData          tables.Data          `json:"serviceData"`
	Status               tables.ServiceStatus `json:"status"`
}

// ConfigView is the configuration with defaults filled in.
type ConfigView struct {
	MaximumNodeCertificateValidityDays    uint64 `json:"maximumNodeCertificateValidityDays"`
	MaximumServiceCertificateValidityDays uint64 `json:"maximumServiceCertificateValidityDays"`
	RecentCoseProposalsWindowSize         uint64 `json:"recentCoseProposalsWindowSize"`
	RecoveryThreshold                     uint64 `json:"recoveryThreshold"`
}

// ServiceInfo returns what there is to know of the service. viewOf gives the view of a
// seqno, 0 when it is not known.
func ServiceInfo(r tables.Reader, viewOf func(seqno uint64) uint64) (*ServiceView, error) {
	s, ok, err := tables.ServiceInfo.Get(r)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, refuse(Missing, CodeResourceNotFound, "Service info not yet available")
	}
	v := &ServiceView{
		Status: s.Status, Certificate: s.Cert, RecoveryCount: tables.Or(s.RecoveryCount, 0),
		CreationTxID: s.CreateTxID, ServiceData: s.Data,
	}
	if seqno := s.PreviousIdentityVersion; seqno != nil {
		v.PreviousCreationTxID = writeset.TxID{View: viewOf(*seqno), Seqno: *seqno}.String()
	}
	c, ok, err := tables.ServiceConfig.Get(r)
	if err != nil {
		return nil, err
	}
	if ok {
		v.Configuration = &ConfigView{
			RecoveryThreshold:                     c.RecoveryThreshold,
			MaximumNodeCertificateValidityDays:    tables.Or(c.MaxNodeCertDays, tables.DefaultCertValidityDays),
			MaximumServiceCertificateValidityDays: tables.Or(c.MaxServiceCertDays, tables.DefaultCertValidityDays),
			RecentCoseProposalsWindowSize:         tables.Or(c.RecentProposalsWindow, tables.DefaultRecentProposals),
		}
	}
	return v, nil
}

// Constitution returns the source of the constitution.
func Constitution(r tables.Reader) (string, error) {
	source, ok, err := tables.Constitution.Get(r)
	if err == nil && !ok {
		err = refuse(Missing, CodeResourceNotFound, "Constitution not found")
	}
	return source, err
}

// JWKView is whose tokens are accepted, and by which keys.
type JWKView struct {
	CACertBundles map[string]string     `json:"caCertBundles"`
	Issuers       map[string]IssuerView `json:"issuers"`
	// Keys are by kid.
	Keys map[string][]KeyView `json:"keys"`
}

// IssuerView is an issuer of tokens.
type IssuerView struct {
	AutoRefresh      bool    `json:"autoRefresh"`
	CACertBundleName *string `json:"caCertBundleName,omitempty"`
}

// KeyView is a key of an issuer, PEM.
type KeyView struct {
	Constraint *string `json:"constraint"`
	Issuer     string  `json:"issuer"`
	PublicKey  string  `json:"publicKey"`
}

// JWK returns the token issuers, their keys, and the certificates to fetch them with.
func JWK(r tables.Reader) (*JWKView, error) {
	v := &JWKView{Issuers: map[string]IssuerView{}, Keys: map[string][]KeyView{}}
	issuers, err := tables.JWTIssuers.All(r)
	if err != nil {
		return nil, err
	}
	for _, i := range issuers {
		v.Issuers[i.Key] = IssuerView{i.Value.AutoRefresh, i.Value.CABundle}
	}
	keys, err := tables.JWTKeys.All(r)
	if err != nil {
		return nil, err
	}
	for _, row := range keys {
		list := make([]KeyView, len(row.Value))
		for i, k := range row.Value {
			if _, err := x509.ParsePKIXPublicKey(k.PublicKey); err != nil {
				return nil, fmt.Errorf("reading %s[%q]: %w", tables.NameJWTSigningKeys, row.Key, err)
			}
			text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: k.PublicKey})
			list[i] = KeyView{Constraint: k.Constraint, Issuer: k.Issuer, PublicKey: string(text)}
		}
		v.Keys[row.Key] = list
	}
	v.CACertBundles, err = mapOf(r, tables.CACertBundles)
	return v, err
}

// JSAppView is the JavaScript application: by path and method either what was deployed
// or an [OperationView].
type JSAppView struct {
	Endpoints map[string]map[string]any `json:"endpoints"`
}

// OperationView is one endpoint of the application, with defaults filled in.
type OperationView struct {
	AuthnPolicies       []json.RawMessage `json:"authnPolicies"`
	ForwardingRequired  string            `json:"forwardingRequired"`
	JSFunction          string            `json:"jsFunction"`
	JSModule            string            `json:"jsModule"`
	Mode                string            `json:"mode"`
	OpenAPI             json.RawMessage   `json:"openApi"`
	RedirectionStrategy string            `json:"redirectionStrategy"`
}

// JSApp returns the endpoints of the JavaScript application; original asks for them in
// the words of the deployed bundle.
func JSApp(r tables.Reader, original bool) (*JSAppView, error) {
	all, err := tables.Endpoints.All(r)
	if err != nil {
		return nil, err
	}
	v := &JSAppView{Endpoints: map[string]map[string]any{}}
	for _, e := range all {
		method, path, _ := strings.Cut(e.Key, " ")
		var operation any = e.Value
		if !original {
			if operation, err = operationView(e.Value); err != nil {
				return nil, fmt.Errorf("reading %s[%q]: %w", tables.NameEndpoints, e.Key, err)
			}
		}
		if v.Endpoints[path] == nil {
			v.Endpoints[path] = map[string]any{}
		}
		v.Endpoints[path][method] = operation
	}
	return v, nil
}

func operationView(raw json.RawMessage) (*OperationView, error) {
	stored := struct {
		Mode        string            `json:"mode"`
		Forwarding  string            `json:"forwarding_required"`
		Redirection string            `json:"redirection_strategy"`
		Policies    []json.RawMessage `json:"authn_policies"`
		OpenAPI     json.RawMessage   `json:"openapi"`
		Module      string            `json:"js_module"`
		Function    string            `json:"js_function"`
	}{
		Mode: "readwrite", Forwarding: "always", Redirection: "to_primary",
		Policies: []json.RawMessage{}, OpenAPI: json.RawMessage("null"),
	}
	if err := json.Unmarshal(raw, &stored); err != nil {
		return nil, err
	}
	return &OperationView{
		JSModule: stored.Module, JSFunction: stored.Function, Mode: stored.Mode,
		ForwardingRequired: stored.Forwarding, RedirectionStrategy: stored.Redirection,
		AuthnPolicies: stored.Policies, OpenAPI: stored.OpenAPI,
	}, nil
}

// ModuleView names a module of the application.
type ModuleView struct {
	ModuleName string `json:"moduleName"`
}

// Modules returns the names of the application's modules.
func Modules(r tables.Reader) ([]ModuleView, error) {
	names := tables.Modules.Keys(r)
	out := make([]ModuleView, len(names))
	for i, name := range names {
		out[i] = ModuleView{name}
	}
	return out, nil
}

// Module returns the source of a module; names begin with a slash.
func Module(r tables.Reader, name string) (string, error) {
	source, ok, err := tables.Modules.Get(r, name)
	if err == nil && !ok {
		err = refuse(Missing, CodeResourceNotFound, "Module %s does not exist.", name)
	}
	return source, err
}
