package gov

import (
	"fmt"

	"github.com/dop251/goja"

	"chancery/gov/tables"
	"chancery/js"
	"chancery/kv"
)

// host gives apply the functions by which it reaches beyond the tables: ccf.node,
// ccf.network and a few of ccf itself. Each throws what its Go half returns.
type host struct {
	tx *kv.Tx
	fx Effects
}

// hostFunc is a function of the host; what it returns is the script's result.
type hostFunc func(call) (any, error)

// call is one call of a host function.
type call struct {
	vm   *goja.Runtime
	args []goja.Value
}

func (h *host) install(vm *goja.Runtime, ccf *goja.Object) {
	node := vm.NewObject()
	define(vm, node, map[string]hostFunc{
		"triggerLedgerRekey":           h.triggerLedgerRekey,
		"transitionServiceToOpen":      h.transitionServiceToOpen,
		"triggerRecoverySharesRefresh": h.triggerRecoverySharesRefresh,
		"triggerLedgerChunk":           h.triggerLedgerChunk,
		"triggerSnapshot":              h.triggerSnapshot,
		"shuffleSealedShares":          h.shuffleSealedShares,
	})
	network := vm.NewObject()
	define(vm, network, map[string]hostFunc{
		"getLatestLedgerSecretSeqno":  h.latestLedgerSecretSeqno,
		"generateEndorsedCertificate": h.generateEndorsedCertificate,
		"generateNetworkCertificate":  h.generateNetworkCertificate,
	})
	define(vm, ccf, map[string]hostFunc{
		"refreshAppBytecodeCache":    h.refreshAppBytecodeCache,
		"setJwtPublicSigningKeys":    h.setJWTPublicSigningKeys,
		"removeJwtPublicSigningKeys": h.removeJWTPublicSigningKeys,
	})
	mustSet(ccf, "node", node)
	mustSet(ccf, "network", network)
}

func define(vm *goja.Runtime, on *goja.Object, functions map[string]hostFunc) {
	class := vm.GlobalObject().Get("Error") // before a script can replace it
	for name, f := range functions {
		mustSet(on, name, func(c goja.FunctionCall) goja.Value {
			out, err := f(call{vm, c.Arguments})
			if err != nil {
				panic(internalError(vm, class, err))
			}
			if out == nil {
				return goja.Undefined()
			}
			return vm.ToValue(out)
		})
	}
}

// internalError is what a script sees of an error: its text, under the name by which
// QuickJS knows what goes wrong outside the script.
func internalError(vm *goja.Runtime, class goja.Value, err error) *goja.Object {
	o, failed := vm.New(class, vm.ToValue(err.Error()))
	if failed != nil {
		return vm.NewGoError(err)
	}
	mustSet(o, "name", "InternalError")
	return o
}

func mustSet(o *goja.Object, name string, v any) {
	if err := o.Set(name, v); err != nil {
		panic(err) // a fresh object takes any property
	}
}

// arity refuses a call with another number of arguments.
func (c call) arity(n int) error {
	if len(c.args) == n {
		return nil
	}
	if n == 0 {
		return fmt.Errorf("Passed %d arguments but expected none", len(c.args))
	}
	return fmt.Errorf("Passed %d arguments but expected %d", len(c.args), n)
}

// pem is the text of an argument that must be an ArrayBuffer; nil when it is undefined.
func (c call) pem(i int, what string) (*string, error) {
	if goja.IsUndefined(c.args[i]) {
		return nil, nil
	}
	buf, ok := c.args[i].Export().(goja.ArrayBuffer)
	if !ok {
		return nil, fmt.Errorf("%s argument is not an array buffer", what)
	}
	text := string(buf.Bytes())
	return &text, nil
}

// days is a number of days: a whole number that is not negative.
func (c call) days(i int) (uint64, error) {
	n := c.args[i].ToInteger()
	if n < 0 {
		return 0, fmt.Errorf("a validity period of %d days is not possible", n)
	}
	return uint64(n), nil
}

func (h *host) triggerLedgerRekey(c call) (any, error) {
	if err := c.arity(0); err != nil {
		return nil, err
	}
	if err := rekey(h.tx, h.fx); err != nil {
		return nil, fmt.Errorf("Failed to rekey ledger: %w", err)
	}
	return nil, nil
}

func (h *host) transitionServiceToOpen(c call) (any, error) {
	if err := c.arity(2); err != nil {
		return nil, err
	}
	previous, err := c.pem(0, "Previous service identity")
	if err != nil {
		return nil, err
	}
	next, err := c.pem(1, "Next service identity")
	if err != nil {
		return nil, err
	}
	if next == nil {
		return nil, fmt.Errorf("Proposal requires a service identity")
	}
	if err := openService(h.tx, h.fx, previous, *next); err != nil {
		return nil, fmt.Errorf("Unable to open service: %w", err)
	}
	return nil, nil
}

// triggerRecoverySharesRefresh refuses while a recovery runs: what would be shared then
// is the secret of the new life, and the shares that can open the old one would be lost.
func (h *host) triggerRecoverySharesRefresh(c call) (any, error) {
	if err := c.arity(0); err != nil {
		return nil, err
	}
	s, err := service(h.tx)
	if err == nil && (s.Status == tables.ServiceRecovering || s.Status == tables.ServiceWaiting) {
		err = fmt.Errorf("the service is %s: new shares could not recover it", s.Status)
	}
	if err == nil {
		err = refreshShares(h.tx, h.fx)
	}
	if err != nil {
		return nil, fmt.Errorf("Unable to trigger recovery shares refresh: %w", err)
	}
	return nil, nil
}

func (h *host) triggerLedgerChunk(call) (any, error) {
	h.fx.ForceChunk()
	return nil, nil
}

func (h *host) triggerSnapshot(call) (any, error) {
	h.fx.RequestSnapshot()
	return nil, nil
}

func (h *host) shuffleSealedShares(call) (any, error) {
	if err := shuffleSealedShares(h.tx, h.fx); err != nil {
		return nil, fmt.Errorf("Unable to shuffle sealed shares: %w", err)
	}
	return nil, nil
}

func (h *host) latestLedgerSecretSeqno(c call) (any, error) {
	if err := c.arity(0); err != nil {
		return nil, err
	}
	current, _, err := h.fx.LedgerSecrets()
	if err != nil {
		return nil, fmt.Errorf("Failed to fetch latest ledger secret seqno: %w", err)
	}
	return current.From, nil
}

func (h *host) generateEndorsedCertificate(c call) (any, error) {
	if err := c.arity(3); err != nil {
		return nil, err
	}
	days, err := c.days(2)
	if err != nil {
		return nil, err
	}
	pem, err := h.fx.EndorseNode(c.args[0].String(), c.args[1].String(), days)
	if err != nil {
		return nil, fmt.Errorf("Failed to create endorsed cert: %w", err)
	}
	return pem, nil
}

func (h *host) generateNetworkCertificate(c call) (any, error) {
	if err := c.arity(2); err != nil {
		return nil, err
	}
	days, err := c.days(1)
	if err != nil {
		return nil, err
	}
	pem, err := h.fx.RenewService(c.args[0].String(), days)
	if err != nil {
		return nil, fmt.Errorf("Error: %w", err)
	}
	return pem, nil
}

// refreshAppBytecodeCache checks that the modules link. Compiled code is kept in memory
// and not in the tables, so that a node of another implementation, whose engine has
// another version, compiles the sources for itself.
func (h *host) refreshAppBytecodeCache(c call) (any, error) {
	if err := c.arity(0); err != nil {
		return nil, err
	}
	if err := js.CheckModules(h.tx); err != nil {
		return nil, fmt.Errorf("Failed to refresh bytecode: %w", err)
	}
	tables.Bytecode.Clear(h.tx)
	return nil, tables.ModulesVersion.Put(h.tx, engineVersion)
}

// engineVersion is what modules_quickjs_version says: no version of QuickJS, so no
// bytecode in the tables can be meant for it.
const engineVersion = "goja"
