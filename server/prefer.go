package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"chancery/ledger"
	"chancery/server/api"
)

// preference is what a client's Prefer header asks for (doc.go, "Waiting").
type preference struct {
	async   bool          // respond-async
	commit  bool          // wait=commit
	receipt bool          // wait=receipt
	bound   time.Duration // wait=<seconds>; 0: none
}

// parsePrefer parses the values of Prefer fields. What is not understood is ignored,
// as RFC 7240 wants it.
func parsePrefer(values []string) preference {
	var p preference
	for _, v := range values {
		for _, item := range strings.Split(v, ",") {
			item, _, _ = strings.Cut(item, ";")
			name, value, _ := strings.Cut(item, "=")
			name = strings.ToLower(strings.TrimSpace(name))
			value = strings.Trim(strings.TrimSpace(value), `"`)
			switch {
			case name == "respond-async":
				p.async = true
			case name != "wait":
			case value == "commit":
				p.commit = true
			case value == "receipt":
				p.receipt = true
			default:
				if n, err := strconv.ParseUint(value, 10, 31); err == nil && n > 0 {
					p.bound = time.Duration(n) * time.Second
				}
			}
		}
	}
	return p
}

// applied is the value of the Preference-Applied field for what was honoured.
func (p preference) applied(bounded bool) string {
	var out []string
	switch {
	case p.receipt:
		out = append(out, "wait=receipt")
	case p.commit:
		out = append(out, "wait=commit")
	case p.async:
		return "respond-async"
	}
	if bounded && p.bound > 0 {
		out = append(out, "wait="+strconv.FormatInt(int64(p.bound/time.Second), 10))
	}
	return strings.Join(out, ", ")
}

// linearizes says whether a client asked by itself for an answer on committed state: its
// reads are the primary's then, which confirms that it leads.
func linearizes(req *Request) bool {
	p := parsePrefer(req.Header["Prefer"])
	return req.Frontend != NodeFrontend && (p.commit || p.receipt)
}

// waits says whether the answer to a request, if it has a TxID, is held for the commit.
func (s *Server) waits(req *Request) bool {
	p := parsePrefer(req.Header["Prefer"])
	return req.Frontend != NodeFrontend && (p.commit || p.receipt || s.cfg.RespondCommitted && !p.async)
}

// prefer holds the answer of a transaction until it is final, where the client or the
// configuration wants that, and makes it tell the truth about what became of it.
func (s *Server) prefer(ctx context.Context, req *Request, out *outcome) {
	var p preference
	if values := req.Header["Prefer"]; values != nil {
		p = parsePrefer(values)
	}
	waits := p.commit || p.receipt || s.cfg.RespondCommitted && !p.async
	if a := p.applied(waits); a != "" {
		out.res.Set(api.HeaderPreferApplied, a)
	}
	if !waits || req.Frontend == NodeFrontend {
		return
	}
	bound := s.cfg.MaxWait
	if p.bound > 0 && p.bound < bound {
		bound = p.bound
	}
	switch status, ok := s.await(ctx, req, out, bound); {
	case !ok:
	case status == Invalid:
		fatal(out, invalidated(out.id))
	case p.receipt:
		s.withReceipt(ctx, out)
	}
}

// fatal replaces an answer, keeping the TxID so that the client can ask for its fate.
func fatal(out *outcome, e *api.Error) {
	out.res = Response{Header: map[string]string{api.HeaderTxID: out.id.String()}}
	out.res.setError(e)
}

// undecided answers 202 when a wait ended before the transaction was final.
func undecided(out *outcome, status Status) {
	header := map[string]string{api.HeaderTxID: out.id.String(), api.HeaderRetryAfter: "1"}
	if v, ok := out.res.Header[api.HeaderPreferApplied]; ok {
		header[api.HeaderPreferApplied] = v
	}
	out.res = Response{Status: http.StatusAccepted, Header: header}
	if err := out.res.JSON(api.TxStatus{Status: string(status), TransactionID: out.id.String()}); err != nil {
		fatal(out, &api.Error{Status: http.StatusInternalServerError, Code: api.InternalError, Message: "internal error"})
	}
}

// withReceipt wraps a committed answer together with its receipt (api.Written).
func (s *Server) withReceipt(ctx context.Context, out *outcome) {
	receipt, err := s.node.Receipt(ctx, out.id)
	if err == nil {
		var w api.Written
		if w, err = written(out, receipt); err == nil {
			res := Response{Status: http.StatusOK, Header: map[string]string{
				api.HeaderTxID: out.id.String(), api.HeaderPreferApplied: out.res.Header[api.HeaderPreferApplied],
			}}
			if err = res.JSON(w); err == nil {
				out.res = res
				return
			}
		}
	}
	s.log.WarnContext(ctx, "no receipt for a committed answer", "err", err)
	fatal(out, api.Errorf(http.StatusInternalServerError, api.InternalError, "TxID %s is Committed; its receipt could not be made", out.id))
}

// written makes the document that carries an answer and its receipt.
func written(out *outcome, receipt *ledger.Receipt) (api.Written, error) {
	rj, err := encodeJSON(receipt)
	if err != nil {
		return api.Written{}, fmt.Errorf("encoding the receipt: %w", err)
	}
	w := api.Written{
		TransactionID: out.id.String(), Status: out.res.Status,
		ContentType: out.res.Header[api.HeaderContentType], Receipt: rj,
	}
	body := out.res.Body
	switch {
	case len(body) == 0:
	case w.ContentType == api.TypeJSON && json.Valid(body):
		w.Body = body
	case utf8.Valid(body):
		if w.Body, err = encodeJSON(string(body)); err != nil {
			return api.Written{}, err
		}
	default:
		w.Encoding = "base64"
		if w.Body, err = encodeJSON(base64.StdEncoding.EncodeToString(body)); err != nil {
			return api.Written{}, err
		}
	}
	return w, nil
}
