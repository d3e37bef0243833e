package tests

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"chancery/client"
	"chancery/kv/writeset"
	"chancery/server/api"
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

// linear records what clients of a network see, as the history that porcupine judges.
type linear struct {
	w     *network
	keys  int
	began time.Time

	mu      sync.Mutex
	history []porcupine.Operation
	unknown int
	kinds   map[string]int               // of errors that left the outcome open
	acked   map[writeset.TxID]registerOp // writes that were acknowledged as committed
}

func newLinear(w *network, keys int) *linear {
	l := &linear{w: w, keys: keys, began: time.Now(), acked: map[writeset.TxID]registerOp{}, kinds: map[string]int{}}
	c := w.client(w.nodes[0])
	defer c.Close()
	for k := range keys {
		_, err := c.Do(w.t.Context(), write(k, ""))
		must(w.t, err)
	}
	return l
}

func (l *linear) since() int64 { return time.Since(l.began).Nanoseconds() }

// run reads and writes as one client until ctx ends. Nodes come and go: it turns to those
// that are there now and then. A write without an answer may have happened or not.
func (l *linear) run(ctx context.Context, id int, seed uint64) {
	chance := rand.New(rand.NewPCG(seed, uint64(id)))
	var c *client.Client
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for i := 0; ctx.Err() == nil; i++ {
		if i%50 == 0 {
			if c != nil {
				c.Close()
			}
			c = l.w.client(l.w.shuffled(chance)...)
		}
		in := registerOp{key: chance.IntN(l.keys)}
		if chance.IntN(2) == 0 {
			in.write = fmt.Sprintf("%d-%d", id, i)
		}
		op := porcupine.Operation{ClientId: id, Input: in, Call: l.since()}
		value, tx, err := do(ctx, c, in)
		op.Return, op.Output = l.since(), value
		l.mu.Lock()
		switch {
		case err == nil:
			l.history = append(l.history, op)
			if in.write != "" {
				l.acked[tx] = in
			}
		case in.write != "" && !refused(err):
			l.unknown++
			l.kinds[kindOf(err)]++
			op.Return = int64(1) << 62 // it may take effect at any later time
			l.history = append(l.history, op)
		}
		l.mu.Unlock()
		if err != nil {
			<-time.After(20 * time.Millisecond)
		}
	}
}

// kindOf sorts errors that leave an outcome open.
func kindOf(err error) string {
	var e *client.Error
	if errors.As(err, &e) {
		return fmt.Sprint(e.Status, " ", e.Code)
	}
	if errors.Is(err, client.ErrOutcomeUnknown) {
		return "no answer"
	}
	return "other"
}

// count returns how many operations there are, and how many writes were acknowledged.
func (l *linear) count() (operations, acked int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.history), len(l.acked)
}

// judge has porcupine judge the history.
func (l *linear) judge() {
	l.w.t.Helper()
	share := 100 * float64(l.unknown) / float64(max(len(l.history), 1))
	l.w.t.Logf("%d operations, %d writes acknowledged as committed, %d of unknown outcome (%.2f %%: %v)", len(l.history), len(l.acked), l.unknown, share, l.kinds)
	if result := porcupine.CheckOperationsTimeout(registers, l.history, 2*time.Minute); result != porcupine.Ok {
		l.w.t.Errorf("the history of %d operations is %s", len(l.history), result)
	}
}

func write(key int, value string) client.Request {
	return client.Request{
		Method: "POST", Path: "/app/log/private", Wait: client.ForCommit,
		JSON: map[string]any{"id": key, "msg": "value " + value},
	}
}

func do(ctx context.Context, c *client.Client, op registerOp) (value string, tx writeset.TxID, err error) {
	if op.write != "" {
		resp, err := c.Do(ctx, write(op.key, op.write))
		if err != nil {
			return "", tx, err
		}
		return "", resp.TxID, nil
	}
	resp, err := c.Do(ctx, client.Request{Path: fmt.Sprint("/app/log/private?id=", op.key), Wait: client.ForCommit})
	if err != nil {
		return "", tx, err
	}
	var body struct{ Msg string }
	if err := resp.JSON(&body); err != nil {
		return "", tx, err
	}
	return body.Msg[len("value "):], resp.TxID, nil
}

// refused says that an error is the service's word that it wrote nothing and never will, or
// that it was sent nothing.
func refused(err error) bool {
	var e *client.Error
	return errors.Is(err, client.ErrRolledBack) || errors.Is(err, client.ErrUnreachable) ||
		errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusUnauthorized || e.Code == api.PrimaryNotFound)
}
