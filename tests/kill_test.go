package tests

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"chancery/client"
	"chancery/kv/writeset"
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

// TestKill kills the node with -9 at random moments under eight writers and resumes
// it: nothing that was acknowledged as committed may be lost, and no TxID may come to
// mean another transaction.
func TestKill(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("CHANCERY_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("CHANCERY_SEED=%d", seed)
	moments := rand.New(rand.NewPCG(seed, 0))
	s := newSandbox(t)
	acked := &record{byID: map[uint64]writeset.TxID{}}
	for round := range kills(t) {
		s.up()
		c := s.client()
		s.check(c, acked, round)
		ctx, cancel := context.WithCancel(t.Context())
		var writers sync.WaitGroup
		for range 8 {
			writers.Go(func() { acked.write(ctx, c) })
		}
		<-time.After(time.Duration(20+moments.IntN(400)) * time.Millisecond) // the random moment
		s.kill()
		cancel()
		writers.Wait()
		c.Close()
	}
	s.up()
	c := s.client()
	defer c.Close()
	s.check(c, acked, -1)
	if len(acked.byID) == 0 {
		t.Fatal("nothing was acknowledged as committed")
	}
	t.Logf("%d transactions acknowledged as committed, none lost", len(acked.byID))
	s.interrupt()
	s.sh("bin/chancery ledger verify workspace/sandbox_0/ledger")
}

// record is what was acknowledged as committed.
type record struct {
	mu   sync.Mutex
	next uint64
	byID map[uint64]writeset.TxID
	news []uint64 // acknowledged since the last check
}

// write posts records, each under a key of its own, until the node is gone.
func (r *record) write(ctx context.Context, c *client.Client) {
	for ctx.Err() == nil {
		r.mu.Lock()
		r.next++
		id := r.next
		r.mu.Unlock()
		resp, err := c.Do(ctx, client.Request{
			Method: "POST", Path: "/app/log/private", Wait: client.ForCommit,
			JSON: map[string]any{"id": id, "msg": fmt.Sprint("message ", id)},
		})
		if err != nil {
			continue // the outcome is not known; nothing was acknowledged
		}
		r.mu.Lock()
		r.byID[id] = resp.TxID
		r.news = append(r.news, id)
		r.mu.Unlock()
	}
}

// check reads back what was acknowledged since the last check, and some of what was
// before: each TxID must be committed, and no two records may share one.
func (s *sandbox) check(c *client.Client, r *record, round int) {
	s.t.Helper()
	seen := map[writeset.TxID]uint64{}
	older := 500 // the order of a map's iteration is random
	for id, tx := range r.byID {
		if other, twice := seen[tx]; twice {
			s.t.Fatalf("round %d: records %d and %d are both %v", round, id, other, tx)
		}
		seen[tx] = id
		if !slices.Contains(r.news, id) {
			if older--; older < 0 {
				continue
			}
		}
		resp, err := c.Do(s.t.Context(), client.Request{Method: "GET", Path: "/app/log/private?id=" + strconv.FormatUint(id, 10)})
		if err != nil {
			s.t.Fatalf("round %d: record %d, acknowledged as committed at %v: %v", round, id, tx, err)
		}
		if want := fmt.Sprintf(`{"msg":"message %d"}`, id); string(resp.Body) != want {
			s.t.Fatalf("round %d: record %d: got %s, want %s", round, id, resp.Body, want)
		}
		resp, err = c.Do(s.t.Context(), client.Request{Method: "GET", Path: "/app/tx?transaction_id=" + tx.String()})
		if err != nil || !bytes.Contains(resp.Body, []byte(`"status":"Committed"`)) {
			s.t.Fatalf("round %d: %v, acknowledged as committed: %s %v", round, tx, resp.Body, err)
		}
	}
	r.news = nil
}

// client connects as user0.
func (s *sandbox) client() *client.Client {
	s.t.Helper()
	common := filepath.Join(s.dir, "workspace", "sandbox_common")
	own, err := tls.LoadX509KeyPair(filepath.Join(common, "user0_cert.pem"), filepath.Join(common, "user0_privk.pem"))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.clientAs(&own)
}

// anonymous connects without a certificate.
func (s *sandbox) anonymous() *client.Client { return s.clientAs(nil) }

func (s *sandbox) clientAs(own *tls.Certificate) *client.Client {
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
	c, err := client.New(client.Config{URLs: []string{"https://127.0.0.1:" + s.port}, Service: service, Certificate: own})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}
