package server

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"chancery/server/api"
)

// object is a JSON object of a generated document; members come out sorted.
type jsonObject = map[string]any

// apiInfo is the info object of a frontend's document.
var apiInfo = map[Frontend]jsonObject{
	AppFrontend:  {"title": "Chancery application API", "description": "The endpoints of the application that runs on this service.", "version": "1.0.0"},
	GovFrontend:  {"title": "CCF Governance API", "description": "This API is used to submit and query proposals which affect CCF's public governance tables.", "version": "4.8.0"},
	NodeFrontend: {"title": "CCF Public Node API", "description": "This API provides public, uncredentialed access to service and node state.", "version": "5.0.5"},
}

// getAPI describes the endpoints of a frontend as OpenAPI 3.0. The versioned
// governance endpoints are in the document of their api-version.
func (s *Server) getAPI(_ context.Context, c *Call) (any, error) {
	version, versioned := c.Query.Get("api-version")
	if c.Frontend == GovFrontend && versioned && !supportsVersion(allVersions, version) {
		return nil, unsupportedVersion(version, allVersions)
	}
	paths := jsonObject{}
	for _, r := range s.tables[c.Frontend].routes {
		if r.Hidden || len(r.versions) > 0 && !(versioned && supportsVersion(r.versions, version)) {
			continue
		}
		addOperation(paths, r.FullPath(), r.Method, operation(r))
	}
	if c.Frontend == AppFrontend {
		if err := s.describeAllJS(c, paths); err != nil {
			return nil, err
		}
	}
	info := apiInfo[c.Frontend]
	if c.Frontend == GovFrontend && versioned {
		info = jsonObject{"title": info["title"], "description": info["description"], "version": version}
	}
	return jsonObject{"openapi": "3.0.0", "info": info, "servers": []any{}, "paths": paths, "components": apiComponents()}, nil
}

func addOperation(paths jsonObject, path, method string, op jsonObject) {
	item, ok := paths[path].(jsonObject)
	if !ok {
		item = jsonObject{}
		paths[path] = item
		var params []any
		if t, err := parseTemplate(path); err == nil {
			for _, name := range t.names {
				params = append(params, jsonObject{"name": name, "in": "path", "required": true, "schema": jsonObject{"type": "string"}})
			}
		}
		if params != nil {
			item["parameters"] = params
		}
	}
	item[strings.ToLower(method)] = op
}

// operation describes one endpoint.
func operation(r *Route) jsonObject {
	success := r.Success
	if success == 0 {
		success = http.StatusOK
	}
	answer := jsonObject{"description": "Default response description"}
	if success == http.StatusOK && r.Method != http.MethodHead && !r.NoBody {
		kind := r.Type
		if kind == "" {
			kind = api.TypeJSON
		}
		answer["content"] = jsonObject{kind: jsonObject{"schema": jsonObject{}}}
	}
	op := jsonObject{
		"operationId":      r.OperationID(),
		"responses":        jsonObject{strconv.Itoa(success): answer, "default": jsonObject{"$ref": "#/components/responses/default"}},
		"x-ccf-forwarding": jsonObject{"$ref": "#/components/x-ccf-forwarding/" + string(r.forwarding())},
	}
	var params []any
	for _, q := range r.Query {
		params = append(params, jsonObject{"name": q.Name, "in": "query", "required": q.Required, "schema": jsonObject{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if len(r.Auth) > 0 {
		op["security"] = security(r.Auth)
	}
	return op
}

// security lists the policies as alternatives; no_auth is the empty one.
func security(policies []Policy) []any {
	var out []any
	for _, p := range policies {
		switch p := p.(type) {
		case noAuth:
			out = append(out, jsonObject{})
		case allOf:
			all := jsonObject{}
			for _, part := range p.parts {
				all[part.Name()] = []any{}
			}
			out = append(out, all)
		default:
			out = append(out, jsonObject{p.Name(): []any{}})
		}
	}
	return out
}

// forwarding is CCF's word for where a request is executed.
func (r *Route) forwarding() Forwarding {
	switch {
	case r.Forwarding != "":
		return r.Forwarding
	case r.Local:
		return ForwardNever
	case r.Mode == ReadWrite:
		return ForwardAlways
	}
	return ForwardSometimes
}

// redirection is CCF's word for where a request is redirected.
func (r *Route) redirection() Redirection {
	switch {
	case r.Redirection != "":
		return r.Redirection
	case r.Local || r.Mode == ReadOnly:
		return RedirectNone
	}
	return RedirectToPrimary
}

// OperationID is the verb and the path in camel case, braces left out.
func (r *Route) OperationID() string {
	var b strings.Builder
	up := true
	for _, c := range strings.ToLower(r.Method) + r.FullPath() {
		switch {
		case c == '{' || c == '}':
		case !unicode.IsLetter(c) && !unicode.IsDigit(c):
			up = true
		case up:
			b.WriteRune(unicode.ToUpper(c))
			up = false
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

// apiComponents are the shared parts of every document.
func apiComponents() jsonObject {
	str := jsonObject{"type": "string"}
	errorSchema := jsonObject{"type": "object", "required": []string{"error"}, "properties": jsonObject{
		"error": jsonObject{"type": "object", "required": []string{"code", "message"}, "properties": jsonObject{
			"code": str, "message": str, "details": jsonObject{"type": "array", "items": jsonObject{"type": "object"}},
		}},
	}}
	cert := func(description string) jsonObject {
		return jsonObject{"type": "mutualTLS", "description": description}
	}
	signed := func(description string) jsonObject {
		return jsonObject{"type": "http", "scheme": "cose_sign1", "description": description}
	}
	return jsonObject{
		"responses": jsonObject{"default": jsonObject{
			"description": "An error occurred",
			"content":     jsonObject{api.TypeJSON: jsonObject{"schema": jsonObject{"$ref": "#/components/schemas/CCFError"}}},
		}},
		"schemas": jsonObject{"CCFError": errorSchema},
		"securitySchemes": jsonObject{
			"user_cert":                cert("Request must be sent over TLS with the certificate of a user"),
			"member_cert":              cert("Request must be sent over TLS with the certificate of a member"),
			"any_cert":                 cert("Request must be sent over TLS with any client certificate"),
			"node_cert":                cert("Request must be sent over TLS with the certificate of a node"),
			"jwt":                      jsonObject{"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
			"user_cose_sign1":          signed("Request payload must be a COSE Sign1 of a user"),
			"member_cose_sign1":        signed("Request payload must be a COSE Sign1 of a member"),
			"active_member_cose_sign1": signed("Request payload must be a COSE Sign1 of an active member"),
		},
		"x-ccf-forwarding": jsonObject{
			"always":    jsonObject{"value": "always", "description": "Requests are executed on the primary."},
			"sometimes": jsonObject{"value": "sometimes", "description": "Requests are executed on the receiving node unless their session was sent to the primary before."},
			"never":     jsonObject{"value": "never", "description": "Requests are executed on the receiving node."},
		},
	}
}
