package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"chancery/client"
)

// registerOp is one read or write of one record.
type registerOp struct {
	key   int
	write string // "" reads
}

// registers is a set of records that are there from the start, with the value "".
var registers = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[int][]porcupine.Operation{}
		for _, op := range history {
			k := op.Input.(registerOp).key
			byKey[k] = append(byKey[k], op)
		}
		var out [][]porcupine.Operation
		for _, ops := range byKey {
			out = append(out, ops)
		}
		return out
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		if op := input.(registerOp); op.write != "" {
			return true, op.write
		}
		return output == state, state
	},
	DescribeOperation: func(input, output any) string {
		op := input.(registerOp)
		if op.write != "" {
			return fmt.Sprintf("write %d %s", op.key, op.write)
		}
		return fmt.Sprintf("read %d %v", op.key, output)
	},
}

// TestLinearizable writes and reads a few records through all nodes, with Prefer:
// wait=commit, while the primary is frozen and woken, and killed: what clients saw is the
// history of one copy. A write without an answer may have happened or not.
func TestLinearizable(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("three processes under load, and a search")
	}
	w := newNetwork(t, 3)
	first := w.client(w.nodes[0])
	const keys = 4
	for k := range keys {
		_, err := first.Do(t.Context(), write(k, ""))
		must(t, err)
	}
	first.Close()
	began := time.Now()
	since := func() int64 { return time.Since(began).Nanoseconds() }
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	var history []porcupine.Operation
	unknown := 0
	var clients sync.WaitGroup
	for id := range 6 {
		c := w.client(w.nodes[id%3], w.nodes[(id+1)%3], w.nodes[(id+2)%3])
		clients.Go(func() {
			defer c.Close()
			chance := rand.New(rand.NewPCG(uint64(id), 7))
			for i := 0; ctx.Err() == nil; i++ {
				op := porcupine.Operation{ClientId: id, Input: registerOp{key: chance.IntN(keys)}, Call: since()}
				if chance.IntN(2) == 0 {
					op.Input = registerOp{key: op.Input.(registerOp).key, write: fmt.Sprintf("%d-%d", id, i)}
				}
				value, err := do(ctx, c, op.Input.(registerOp))
				op.Return, op.Output = since(), value
				mu.Lock()
				switch {
				case err == nil:
					history = append(history, op)
				case op.Input.(registerOp).write != "" && !refused(err):
					unknown++
					op.Return = int64(1) << 62 // it may take effect at any later time
					history = append(history, op)
				}
				mu.Unlock()
			}
		})
	}
	pause := func(d time.Duration) { <-time.After(d) } // the load goes on meanwhile
	pause(time.Second)
	frozen := w.primary()
	must(t, frozen.cmd.Process.Signal(syscall.SIGSTOP))
	w.forget(frozen)
	w.primary()
	pause(500 * time.Millisecond)
	must(t, frozen.cmd.Process.Signal(syscall.SIGCONT))
	pause(time.Second)
	w.nodes = append(w.nodes, frozen)
	killed := w.primary()
	must(t, killed.cmd.Process.Kill())
	w.forget(killed)
	w.primary()
	pause(time.Second)
	cancel()
	clients.Wait()
	if len(history) < 100 {
		t.Fatalf("%d operations", len(history))
	}
	t.Logf("%d operations, %d writes of unknown outcome", len(history), unknown)
	if result := porcupine.CheckOperationsTimeout(registers, history, time.Minute); result != porcupine.Ok {
		t.Errorf("the history of %d operations is %s", len(history), result)
	}
}

func write(key int, value string) client.Request {
	return client.Request{
		Method: "POST", Path: "/app/log/private", Wait: client.ForCommit,
		JSON: map[string]any{"id": key, "msg": "value " + value},
	}
}

func do(ctx context.Context, c *client.Client, op registerOp) (string, error) {
	if op.write != "" {
		_, err := c.Do(ctx, write(op.key, op.write))
		return "", err
	}
	resp, err := c.Do(ctx, client.Request{Path: fmt.Sprint("/app/log/private?id=", op.key), Wait: client.ForCommit})
	if err != nil {
		return "", err
	}
	var value struct{ Msg string }
	if err := resp.JSON(&value); err != nil {
		return "", err
	}
	return value.Msg[len("value "):], nil
}

// refused says that an error is the service's word that it wrote nothing and never will.
func refused(err error) bool {
	var e *client.Error
	return errors.Is(err, client.ErrRolledBack) || errors.As(err, &e) && e.Status == http.StatusNotFound
}
