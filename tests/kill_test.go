package tests

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	bits "encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"chancery/client"
	"chancery/internal/durable"
	"chancery/kv/writeset"
	"chancery/ledger"
)

// kills is how often TestKill kills: CHANCERY_KILLS, or a few.
func kills(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("CHANCERY_KILLS"))
	switch {
	case err == nil:
		return n
	case testing.Short() || raceEnabled:
		return 3
	}
	return 10
}

// TestKill kills the node with -9 at random moments, under eight writers, while it signs,
// while it closes chunks (which are small here) and while it opens its files again.
// Nothing that was acknowledged as committed may be lost, no TxID may come to mean
// another transaction, no two entries may share an IV, a transaction whose commit nobody
// waited for is there if and only if it is Committed, and the state is that of a replay
// of the ledger (rows 1 to 6, 52 and 72 of the fault matrix).
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("CHANCERY_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("CHANCERY_SEED=%d", seed)
	moments := rand.New(rand.NewPCG(seed, 0))
	s := prepared(t)
	s.configure(func(c map[string]any) { c["ledger"] = map[string]any{"chunk_size": "50KB"} })
	c := s.client()
	defer c.Close()
	acked := &record{byID: map[uint64]written{}}
	files := &replayed{ivs: map[writeset.TxID]ledger.Digest{}, records: map[string]string{}}
	opening := 0
	for round := range kills(t) {
		n := s.start()
		if round%4 == 3 { // while it opens
			opening++
			<-time.After(time.Duration(moments.IntN(900)) * time.Millisecond)
			n.kill()
			continue
		}
		n.open(c)
		s.check(c, acked, files, round)
		ctx, cancel := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for i := range 8 {
			writers.Go(func() { acked.write(ctx, c, i%2 == 0, i < 5) })
		}
		<-time.After(time.Duration(20+moments.IntN(400)) * time.Millisecond) // the random moment
		n.kill()
		cancel()
		writers.Wait()
	}
	n := s.start()
	n.open(c)
	s.check(c, acked, files, -1)
	if len(acked.byID) == 0 {
		t.Fatal("nothing was acknowledged as committed")
	}
	n.stop()
	files.next = 0
	files.read(t, filepath.Join(s.home(), "ledger"))
	s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger")
	t.Logf("%d transactions acknowledged as committed, none lost; %d executed only; %d kills while opening; %d entries", len(acked.byID), acked.executed, opening, len(files.ivs))
}

// TestKillOpening kills `up` and its node at random moments between the making of keys
// and the open service: the next `up` finds its way from wherever the first one got to
// (rows 10 and 11 of the fault matrix).
func TestKillOpening(t *testing.T) {
	for range max(2, kills(t)/5) {
		s := newSandbox(t)
		s.cmd = exec.Command(filepath.Join(s.dir, "bin", "chancery"), "up", "--port", s.port)
		s.cmd.Dir = s.dir
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = s.cmd.Wait()
			close(ended)
		}()
		moment := time.Duration(rand.IntN(1800)) * time.Millisecond
		<-time.After(moment)
		_ = s.cmd.Process.Kill()
		<-ended
		if pid := s.nodePID(); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			s.awaitEnd(pid)
		}
		s.awaitPort()
		s.up()
		c := s.client()
		if _, err := c.Do(t.Context(), put(1, "after")); err != nil {
			t.Errorf("killed after %v, the service does not work: %v", moment, err)
		}
		c.Close()
		s.interrupt()
		s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger")
	}
}

// TestKillRekey kills the node at random moments around a change of the ledger secret:
// what was written before and after it opens, and the service goes on (row 8 of the
// fault matrix).
func TestKillRekey(t *testing.T) {
	s := prepared(t)
	c := s.client()
	defer c.Close()
	text, err := json.Marshal(map[string]any{"actions": []any{map[string]any{"name": "trigger_ledger_rekey"}}})
	if err != nil {
		t.Fatal(err)
	}
	member := s.member(c)
	acked := map[int]string{0: "before"}
	rekeyed := 0
	for round := range max(4, kills(t)/4) {
		n := s.start()
		n.open(c)
		s.holds(c, acked)
		done := make(chan bool, 1)
		go func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, err := member.Propose(ctx, text)
			done <- err == nil
		}()
		id := round + 1
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if _, err := c.Do(ctx, put(id, fmt.Sprint("in round ", round))); err == nil {
			acked[id] = fmt.Sprint("in round ", round)
		}
		cancel()
		<-time.After(time.Duration(rand.IntN(30)) * time.Millisecond)
		n.kill()
		if <-done {
			rekeyed++
		}
	}
	n := s.start()
	n.open(c)
	s.holds(c, acked)
	n.stop()
	t.Logf("%d of the changes were acknowledged", rekeyed)
	s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger")
}

// member signs as member0.
func (s *sandbox) member(c *client.Client) *client.Member {
	s.t.Helper()
	own := s.keyPair("member0")
	m, err := c.Member(own.Leaf, own.PrivateKey.(crypto.Signer))
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// keyPair is somebody's certificate and key.
func (s *sandbox) keyPair(name string) tls.Certificate {
	s.t.Helper()
	common := filepath.Join(s.dir, "workspace", "sandbox_common")
	own, err := tls.LoadX509KeyPair(filepath.Join(common, name+"_cert.pem"), filepath.Join(common, name+"_privk.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	return own
}

// written is a record that was stored.
type written struct {
	tx     writeset.TxID
	public bool
	waited bool // acknowledged as committed
}

// record is what was acknowledged.
type record struct {
	mu       sync.Mutex
	next     uint64
	byID     map[uint64]written
	news     []uint64 // acknowledged since the last check
	executed int      // acknowledged as executed only
}

func recordPath(public bool) string {
	if public {
		return "/app/log/public"
	}
	return "/app/log/private"
}

// write posts records, each under a key of its own, until the node is gone.
func (r *record) write(ctx context.Context, c *client.Client, public, wait bool) {
	until := client.ForCommit
	if !wait {
		until = client.ForExecution
	}
	for ctx.Err() == nil {
		r.mu.Lock()
		r.next++
		id := r.next
		r.mu.Unlock()
		resp, err := c.Do(ctx, client.Request{
			Method: "POST", Path: recordPath(public), Wait: until,
			JSON: map[string]any{"id": id, "msg": fmt.Sprint("message ", id)},
		})
		if err != nil {
			continue // the outcome is not known; nothing was acknowledged
		}
		r.mu.Lock()
		r.byID[id] = written{tx: resp.TxID, public: public, waited: wait}
		r.news = append(r.news, id)
		r.mu.Unlock()
	}
}

// check reads back what was acknowledged since the last check, and some of what was
// before, and compares it with the ledger's files.
func (s *sandbox) check(c *client.Client, r *record, files *replayed, round int) {
	s.t.Helper()
	files.read(s.t, filepath.Join(s.home(), "ledger"))
	seen := map[writeset.TxID]uint64{}
	older := 300 // the order of a map's iteration is random
	for id, w := range r.byID {
		if other, twice := seen[w.tx]; twice {
			s.t.Fatalf("round %d: records %d and %d are both %v", round, id, other, w.tx)
		}
		seen[w.tx] = id
		if !slices.Contains(r.news, id) {
			if older--; older < 0 {
				continue
			}
		}
		s.checkOne(c, r, files, id, w, round)
	}
	r.news = nil
}

func (s *sandbox) checkOne(c *client.Client, r *record, files *replayed, id uint64, w written, round int) {
	s.t.Helper()
	resp, err := c.Do(s.t.Context(), client.Request{Method: "GET", Path: "/app/tx?transaction_id=" + w.tx.String()})
	if err != nil {
		s.t.Fatalf("round %d: status of %v: %v", round, w.tx, err)
	}
	committed := bytes.Contains(resp.Body, []byte(`"status":"Committed"`))
	if w.waited && !committed || !committed && !bytes.Contains(resp.Body, []byte(`"status":"Invalid"`)) {
		s.t.Fatalf("round %d: %v, which was acknowledged (as committed: %v): %s", round, w.tx, w.waited, resp.Body)
	}
	text := strconv.FormatUint(id, 10)
	resp, err = c.Do(s.t.Context(), client.Request{Method: "GET", Path: recordPath(w.public) + "?id=" + text})
	there := err == nil && string(resp.Body) == fmt.Sprintf(`{"msg":"message %d"}`, id)
	if there != committed {
		s.t.Fatalf("round %d: record %d, of %v: committed is %v, and reading it gives %v %v", round, id, w.tx, committed, resp, err)
	}
	if _, replayed := files.records[text]; w.public && replayed != committed {
		s.t.Fatalf("round %d: record %d, of %v: committed is %v, and a replay of the ledger has it: %v", round, id, w.tx, committed, replayed)
	}
	if !w.waited {
		// From now on it is one whose outcome is known.
		delete(r.byID, id)
		r.executed++
		if committed {
			r.byID[id] = written{tx: w.tx, public: w.public, waited: true}
		}
	}
}

// replayed is what the ledger's files say, without the service.
type replayed struct {
	next    uint64                          // first seqno not yet read
	ivs     map[writeset.TxID]ledger.Digest // the entry sealed under each IV
	records map[string]string               // the public table of the logging application
}

// read reads what is new in the files. An IV is a TxID: under each, there is one entry,
// for ever.
func (r *replayed) read(t *testing.T, dir string) {
	t.Helper()
	for e, err := range ledger.ReadEntries(durable.OS(), dir, max(r.next, 1)) {
		if errors.Is(err, ledger.ErrNotFound) {
			break
		}
		if err != nil {
			t.Fatalf("reading the ledger: %v", err)
		}
		iv := writeset.TxID{Seqno: bits.LittleEndian.Uint64(e.Raw[24:]), View: uint64(bits.LittleEndian.Uint32(e.Raw[32:]))}
		digest := ledger.Digest(sha256.Sum256(e.Raw))
		if before, used := r.ivs[iv]; used && before != digest {
			t.Fatalf("the IV of %v is that of another entry", e.ID)
		}
		r.ivs[iv] = digest
		if m := e.Public.Map("public:records"); m != nil {
			for _, w := range m.Writes {
				r.records[string(w.Key)] = string(w.Value)
			}
		}
		r.next = e.ID.Seqno + 1
	}
}

// user is user0's certificate and key.
func (s *sandbox) user() *tls.Certificate {
	s.t.Helper()
	common := filepath.Join(s.dir, "workspace", "sandbox_common")
	own, err := tls.LoadX509KeyPair(filepath.Join(common, "user0_cert.pem"), filepath.Join(common, "user0_privk.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	return &own
}

// client connects as user0.
func (s *sandbox) client() *client.Client { return s.clientAs(s.user()) }

// anonymous connects without a certificate.
func (s *sandbox) anonymous() *client.Client { return s.clientAs(nil) }

// service is the service's certificate.
func (s *sandbox) service() *x509.Certificate {
	s.t.Helper()
	text, err := os.ReadFile(filepath.Join(s.dir, "workspace", "sandbox_common", "service_cert.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	service, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		s.t.Fatal(err)
	}
	return service
}

func (s *sandbox) clientAs(own *tls.Certificate) *client.Client {
	s.t.Helper()
	return s.clientOf([]string{"https://127.0.0.1:" + s.port}, own)
}

// clientOf connects to several nodes.
func (s *sandbox) clientOf(urls []string, own *tls.Certificate) *client.Client {
	s.t.Helper()
	c, err := client.New(client.Config{URLs: urls, Service: s.service(), Certificate: own})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}
