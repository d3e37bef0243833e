package apptest

import (
	"crypto/elliptic"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/dop251/goja"

	"chancery/gov/tables"
	"chancery/internal/identity"
	"chancery/js"
)

// install puts the global object chancery into a test's interpreter.
func (t *test) install(vm *goja.Runtime) error {
	host := vm.NewObject()
	for name, f := range map[string]func(*goja.Runtime, []goja.Value) (any, error){
		"call": t.call, "account": t.account, "get": t.get, "set": t.set,
	} {
		err := host.Set(name, func(c goja.FunctionCall) goja.Value {
			out, err := f(vm, c.Arguments)
			if err != nil {
				panic(js.Throw(vm, err))
			}
			return vm.ToValue(out)
		})
		if err != nil {
			return err
		}
	}
	v, err := vm.RunScript("chancery", hostSource)
	if err != nil {
		return fmt.Errorf("preparing the test: %w", err)
	}
	begin, _ := goja.AssertFunction(v)
	_, err = begin(goja.Undefined(), host)
	return err
}

// bytesOf returns what an ArrayBuffer holds.
func bytesOf(v goja.Value) ([]byte, error) {
	b, ok := v.Export().(goja.ArrayBuffer)
	if !ok {
		return nil, errors.New("keys, values and bodies are text or ArrayBuffers")
	}
	return slices.Clone(b.Bytes()), nil
}

// get is chancery.get(map, key).
func (t *test) get(vm *goja.Runtime, args []goja.Value) (any, error) {
	key, err := bytesOf(args[1])
	if err != nil {
		return nil, err
	}
	value, ok := t.store.Begin().Get(args[0].String(), key)
	if !ok {
		return goja.Undefined(), nil
	}
	return vm.NewArrayBuffer(slices.Clone(value)), nil
}

// set is chancery.set(map, key, value).
func (t *test) set(_ *goja.Runtime, args []goja.Value) (any, error) {
	key, err := bytesOf(args[1])
	if err != nil {
		return nil, err
	}
	value, err := bytesOf(args[2])
	if err != nil {
		return nil, err
	}
	tx := t.store.Begin()
	tx.Put(args[0].String(), key, value)
	return goja.Undefined(), t.commit(tx)
}

// account makes a user or a member, as the policy says, with its certificate.
func (t *test) account(vm *goja.Runtime, args []goja.Value) (any, error) {
	policy, data := args[0].String(), args[1].String()
	t.callers++
	p, err := identity.NewParticipant(fmt.Sprintf("test%d", t.callers), elliptic.P256(), time.Now(), 1, false)
	if err != nil {
		return nil, err
	}
	tx, cert := t.store.Begin(), string(p.Cert)
	if policy == "member_cert" {
		err = errors.Join(tables.MembersCerts.Put(tx, p.ID, cert),
			tables.MembersInfo.Put(tx, p.ID, tables.Member{Status: tables.MemberActive, Data: []byte(data)}))
	} else {
		err = tables.UsersCerts.Put(tx, p.ID, cert)
		if data != "" { // a user without data has no such row
			err = errors.Join(err, tables.UsersInfo.Put(tx, p.ID, tables.User{Data: []byte(data)}))
		}
	}
	if err == nil {
		err = t.commit(tx)
	}
	return map[string]any{"id": p.ID, "cert": cert}, err
}

// call is chancery.call: one request to the application.
func (t *test) call(vm *goja.Runtime, args []goja.Value) (any, error) {
	body, err := bytesOf(args[3])
	if err != nil {
		return nil, err
	}
	path, query, _ := strings.Cut(args[1].String(), "?")
	if query, err = url.QueryUnescape(query); err != nil {
		return nil, fmt.Errorf("the query of %s: %w", args[1], err)
	}
	headers := make(map[string]string)
	for name, value := range args[2].Export().(map[string]any) {
		headers[name] = fmt.Sprint(value)
	}
	r := &js.Request{
		Method: strings.ToUpper(args[0].String()), Query: query, Body: body, Log: t.print, Consensus: consensus{t},
		Header: func(yield func(name, value string) bool) {
			for _, name := range slices.Sorted(maps.Keys(headers)) {
				if !yield(name, headers[name]) {
					return
				}
			}
		},
	}
	// In a goroutine of its own: two interpreters must not share a stack, by which the
	// engine finds out who holds how much memory.
	var a *answer
	done := make(chan error, 1)
	go func() {
		var err error
		a, err = t.ask(r, path, args[4].String())
		done <- err
	}()
	if err := <-done; err != nil {
		return nil, err
	}
	out := map[string]any{"status": a.Status, "headers": a.Header, "body": vm.NewArrayBuffer(a.Body), "applied": a.applied}
	if a.Claims != nil {
		out["claims"] = vm.NewArrayBuffer(a.Claims[:])
	}
	return out, nil
}

// answer is what a request came to.
type answer struct {
	js.Response
	applied bool
}

// ask runs a request as a service does.
func (t *test) ask(r *js.Request, path, caller string) (*answer, error) {
	for {
		tx := t.store.Begin()
		app, err := t.apps.At(tx)
		if err != nil {
			return nil, err
		}
		m, err := app.Match(r.Method, path)
		if err != nil {
			return refused(http.StatusInternalServerError, "InternalError", "Exception: "+err.Error(), nil), nil
		}
		if m.Endpoint == nil && len(m.Allowed) > 0 {
			return refused(http.StatusMethodNotAllowed, "UnsupportedHttpVerb", fmt.Sprintf("Allowed methods for '%s' are: %s.", path, strings.Join(m.Allowed, ", ")), nil), nil
		}
		if m.Endpoint == nil {
			return refused(http.StatusNotFound, "ResourceNotFound", fmt.Sprintf("Unknown path: %s.", path), nil), nil
		}
		if m.Endpoint.Mode == js.ModeHistorical {
			return nil, fmt.Errorf("%s %s is historical, and a test has no ledger: ask a service (chancery app dev)", r.Method, path)
		}
		ok, err := admit(r, m.Endpoint, caller)
		if err != nil {
			return nil, err
		}
		if !ok {
			return refused(http.StatusUnauthorized, "InvalidAuthenticationInfo", "Invalid authentication credentials.", nil), nil
		}
		r.Tx, r.Path, r.Params = tx, "/app"+path, m.Params
		resp, err := app.Execute(t.ctx, m.Endpoint, r)
		var failed *js.EndpointError
		switch {
		case errors.Is(err, js.ErrAgain):
			continue
		case errors.As(err, &failed):
			if x := failed.Exception; x != nil {
				t.log = append(t.log, strings.TrimRight(x.Reason+"\n"+x.Trace, "\n"))
			}
			return refused(http.StatusInternalServerError, "InternalError", failed.Message, failed.Exception), nil
		case err != nil:
			return nil, err
		}
		a := &answer{Response: *resp, applied: resp.Status >= 200 && resp.Status < 300}
		if resp.ApplyWrites != nil {
			a.applied = *resp.ApplyWrites
		}
		if !a.applied {
			return a, nil
		}
		return a, t.commit(tx)
	}
}

// admit decides whether a caller may ask the endpoint, and shows it to the application.
func admit(r *js.Request, e *js.Endpoint, caller string) (bool, error) {
	r.Caller = nil
	if len(e.Policies) == 0 {
		return true, nil
	}
	who := struct {
		Policy json.RawMessage `json:"policy"`
	}{Policy: []byte(`"no_auth"`)}
	if caller == "" {
		caller = `{"policy": "no_auth"}`
	} else if err := json.Unmarshal([]byte(caller), &who); err != nil {
		return false, fmt.Errorf("the caller: %w", err)
	}
	var name string
	if err := json.Unmarshal(who.Policy, &name); err != nil {
		var parts []string
		if err := json.Unmarshal(who.Policy, &parts); err != nil {
			return false, errors.New("a caller has a policy: a name, or an array of names")
		}
		slices.Sort(parts)
		name = strings.Join(parts, "+")
	}
	r.Caller = json.RawMessage(caller)
	return slices.ContainsFunc(e.Policies, func(p js.Policy) bool { return p.Name == name }), nil
}

// refused is an error's answer. What was thrown is shown in it.
func refused(status int, code, message string, x *js.Exception) *answer {
	body := map[string]any{"code": code, "message": message}
	if x != nil {
		body["details"] = []any{map[string]any{"code": "JSException", "message": x.Reason, "trace": x.Trace}}
	}
	text, _ := json.Marshal(map[string]any{"error": body}) // strings alone: it cannot fail
	return &answer{Response: js.Response{Status: status, Header: map[string]string{"content-type": "application/json"}, Body: text}}
}

// consensus is that of one node that commits at once.
type consensus struct{ t *test }

func (c consensus) LastCommitted() (uint64, uint64) { return view, c.t.store.Head().TxID().Seqno }

func (c consensus) Status(v, seqno uint64) string {
	switch _, head := c.LastCommitted(); {
	case seqno > head:
		return "Unknown"
	case v == view:
		return "Committed"
	}
	return "Invalid"
}

func (c consensus) ViewOf(seqno uint64) (uint64, bool) {
	_, head := c.LastCommitted()
	return view, seqno > 0 && seqno <= head
}
