// Command programmability is a node whose users may install JavaScript endpoints at run
// time: CCF's programmability sample in Go. A few endpoints in Go keep records; admins
// (users whose data says {"isAdmin": true}) put further ones beside them, by signed
// requests that the ledger keeps for auditors, without a vote of the members.
//
// Run it with
//
//	go build -o bin/programmability ./samples/programmability
//	bin/chancery up --node bin/programmability
package main

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/dop251/goja"

	"chancery/gov/tables"
	"chancery/js"
	"chancery/node/daemon"
	"chancery/server"
	"chancery/server/api"
)

func main() {
	os.Exit(daemon.Run(os.Args[1:], os.Stdout, programmability()))
}

// The names of this application.
const (
	privateRecords = "programmability.records"
	msgTypeHeader  = "app.msg.type"
	createdHeader  = "app.msg.created_at"
)

// programmability is the application.
func programmability() *server.App {
	custom := server.NewCustomEndpoints("public:custom_endpoints")
	custom.Restrict, custom.Extend = restrict, extend
	app := &server.App{Custom: custom}
	users := []server.Policy{server.UserCert}
	app.Handle(http.MethodPut, "/records/{key}", server.ReadWrite, users, putRecord)
	app.Handle(http.MethodGet, "/records/{key}", server.ReadOnly, users, getRecord)
	app.Handle(http.MethodPost, "/records", server.ReadWrite, users, postRecords)

	a := admin{custom}
	signed := func(msgType string) []server.Policy {
		return []server.Policy{server.TypedUserCOSE(msgType, msgTypeHeader), server.UserCert}
	}
	app.Handle(http.MethodPut, "/custom_endpoints", server.ReadWrite, signed("custom_endpoints"), a.put)
	app.Handle(http.MethodGet, "/custom_endpoints", server.ReadOnly, nil, a.get)
	app.Handle(http.MethodGet, "/custom_endpoints/modules", server.ReadOnly, nil, a.module)
	app.Handle(http.MethodPatch, "/custom_endpoints/runtime_options", server.ReadWrite, signed("runtime_options"), a.patch)
	app.Handle(http.MethodGet, "/custom_endpoints/runtime_options", server.ReadOnly, nil, a.options)
	return app
}

func putRecord(_ context.Context, c *server.Call) error {
	c.Tx.Put(privateRecords, []byte(c.Params.Get("key")), c.Body)
	c.Response.Status = http.StatusNoContent
	return nil
}

func getRecord(_ context.Context, c *server.Call) error {
	value, ok := c.Tx.Get(privateRecords, []byte(c.Params.Get("key")))
	if !ok {
		return api.Errorf(http.StatusNotFound, api.InvalidResourceName, "No such key")
	}
	c.Response.Raw(api.TypeText, value)
	return nil
}

func postRecords(_ context.Context, c *server.Call) error {
	var records map[string]string
	if err := c.DecodeJSON(&records); err != nil {
		return err
	}
	for key, value := range records {
		c.Tx.Put(privateRecords, []byte(key), []byte(value))
	}
	c.Response.Status = http.StatusNoContent
	return nil
}

// restrict keeps custom endpoints from what is ours: they may read the records, and know
// nothing else under this application's name.
func restrict(table string) (read, write bool, why string) {
	switch {
	case table == privateRecords:
		return true, false, "The " + privateRecords + " map is managed by endpoints in Go, so is read-only in JS."
	case strings.HasPrefix(strings.TrimPrefix(table, "public:"), "programmability."):
		return false, false, "The 'programmability.' prefix is reserved by the endpoints in Go for future use."
	}
	return true, true, ""
}

// extend gives custom endpoints a global object of this application's.
func extend(c *server.Call, vm *goja.Runtime, global *goja.Object) {
	o := vm.NewObject()
	set := func(name string, value any) {
		if err := o.Set(name, value); err != nil {
			panic(js.Throw(vm, err))
		}
	}
	set("my_constant", "Hello world")
	set("hasRole", func(call goja.FunctionCall) goja.Value {
		user, action := call.Argument(0), call.Argument(1)
		if len(call.Arguments) != 2 || !goja.IsString(user) || !goja.IsString(action) {
			panic(vm.NewTypeError("hasRole takes a user's id and an action, both text"))
		}
		permitted, err := hasRole(c, user.String(), action.String())
		if err != nil {
			panic(js.Throw(vm, err))
		}
		return vm.ToValue(permitted)
	})
	if err := global.Set("my_object", o); err != nil {
		panic(js.Throw(vm, err))
	}
}

// hasRole says whether one of a user's roles permits an action. Roles and their actions
// are governance's: user_data, and the action set_role_definition.
func hasRole(c *server.Call, user, action string) (bool, error) {
	info, ok, err := tables.UsersInfo.Get(c.Tx, user)
	if err != nil || !ok {
		return false, err
	}
	var data struct {
		Roles []string `json:"roles"`
	}
	if err := json.Unmarshal([]byte(info.Data), &data); err != nil {
		return false, nil // data of another form names no roles
	}
	key, err := json.Marshal(action)
	if err != nil {
		return false, err
	}
	return slices.ContainsFunc(data.Roles, func(role string) bool {
		return c.Tx.Has("public:programmability.roles."+role, key)
	}), nil
}

// admin are the endpoints by which custom endpoints are managed.
type admin struct{ custom *server.CustomEndpoints }

// authorized refuses users who are no admins.
func authorized(c *server.Call) error {
	var data struct {
		IsAdmin bool `json:"isAdmin"`
	}
	if err := json.Unmarshal(c.Caller.Data, &data); err != nil || !data.IsAdmin {
		return api.Errorf(http.StatusForbidden, api.AuthorizationFailed, "Only admins may access this endpoint.")
	}
	return nil
}

// action is what an admin asks for: the signed content, or the body. It is recorded, and
// refused where it is a replay.
func (a admin) action(c *server.Call) ([]byte, error) {
	if err := authorized(c); err != nil {
		return nil, err
	}
	if err := a.custom.RecordAction(c); err != nil {
		return nil, err
	}
	if c.Caller.COSE == nil {
		return c.Body, nil
	}
	created, ok := c.Caller.ProtectedInt(createdHeader)
	if !ok {
		return nil, api.Errorf(http.StatusBadRequest, api.MissingRequiredHeader, "Missing %s protected header", createdHeader)
	}
	return c.Caller.COSE.Payload, a.custom.CheckOriginal(c, created)
}

func (a admin) put(_ context.Context, c *server.Call) error {
	bundle, err := a.action(c)
	if err != nil {
		return err
	}
	c.Response.Status = http.StatusNoContent
	return a.custom.Install(c, bundle)
}

func (a admin) get(_ context.Context, c *server.Call) error {
	return c.Response.JSON(a.custom.Bundle(c))
}

func (a admin) module(_ context.Context, c *server.Call) error {
	name, ok := c.Query.Get("module_name")
	if !ok {
		return api.Errorf(http.StatusBadRequest, api.InvalidQueryParameterValue, "Missing query parameter 'module_name'")
	}
	text, ok := a.custom.Module(c, name)
	if !ok {
		return api.Errorf(http.StatusInternalServerError, api.InternalError, "Failed to get module: NotFound")
	}
	c.Response.Raw("text/javascript", []byte(text))
	return nil
}

func (a admin) patch(_ context.Context, c *server.Call) error {
	patch, err := a.action(c)
	if err != nil {
		return err
	}
	o, err := a.custom.PatchOptions(c, patch)
	if err != nil {
		return err
	}
	return c.Response.JSON(o)
}

func (a admin) options(_ context.Context, c *server.Call) error {
	o, err := a.custom.Options(c)
	if err != nil {
		return err
	}
	return c.Response.JSON(o)
}
