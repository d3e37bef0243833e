package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// voidShare is the client's share of the cores above which a row says nothing.
const voidShare = 0.45

func post(path, prefer, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: bench\r\nPrefer: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", path, prefer, len(body), body)
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: bench\r\n\r\n" }

func record(n uint64) string {
	return fmt.Sprintf(`{"id": %d, "msg": "a message of some length"}`, n%10000)
}

// loads are the table's rows.
func (b *bench) loads() ([]load, error) {
	write := func(prefer string) func(uint64) string {
		return func(n uint64) string { return post("/app/log/private", prefer, record(n)) }
	}
	read := func(n uint64) string { return get(fmt.Sprint("/app/log/private?id=", n%10+1)) }
	for _, t := range []*target{b.js, b.native} { // what the reads find
		for n := range uint64(11) {
			if _, err := t.writeOne(write("wait=commit")(n)); err != nil {
				return nil, err
			}
		}
	}
	small, err := b.js.writeOne(write("wait=commit")(1))
	if err != nil {
		return nil, err
	}
	rows, err := b.jsLoads()
	if err != nil {
		return nil, err
	}
	return append([]load{
		{"empty gin handler, POST", b.empty, write("respond-async")},
		{"empty gin handler, GET", b.empty, read},
		{"JS write, executed", b.js, write("respond-async")},
		{"JS write, committed", b.js, write("wait=commit")},
		{"JS read", b.js, read},
		{"native write, executed", b.native, write("respond-async")},
		{"native write, committed", b.native, write("wait=commit")},
		{"native read", b.native, read},
		{"native empty", b.native, func(uint64) string { return get("/app/log/request_query?empty") }},
		{"receipt", b.js, func(uint64) string { return get("/app/receipt?transaction_id=" + small) }},
	}, rows...), nil
}

// measure prints the table.
func (b *bench) measure() error {
	loads, err := b.loads()
	if err != nil {
		return err
	}
	fmt.Printf("%-26s %5s %9s %9s %9s %9s %8s %8s %6s\n", "", "conns", "req/s", "p50", "p95", "p99", "server", "client", "ratio")
	empty := map[string]float64{}
	var commit time.Duration
	only, err := regexp.Compile(b.rows)
	if err != nil {
		return err
	}
	for text := range strings.SplitSeq(b.conns, ",") {
		conns, err := strconv.Atoi(text)
		if err != nil || conns < 1 {
			return fmt.Errorf("-conns %q: %q is no number of connections", b.conns, text)
		}
		for _, l := range loads {
			if l.on != b.empty && !only.MatchString(l.name) {
				continue
			}
			before := ledgerBytes(l.on.ledger)
			r, err := drive(l, conns, b.duration)
			if err != nil {
				return err
			}
			method := l.request(1)[:4]
			if l.on == b.empty {
				empty[method] = r.rate
			}
			b.printRow(l, conns, r, r.rate/empty[method], ledgerBytes(l.on.ledger)-before)
			if l.name == "JS write, committed" && conns == 1 {
				commit = r.p50
			}
		}
	}
	if commit == 0 {
		return nil
	}
	return b.printCommit(commit)
}

// writeOne commits one small write and returns its transaction id.
func (t *target) writeOne(request string) (string, error) {
	c, err := tls.Dial("tcp", t.address, t.tls)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, request); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	id := resp.Header.Get("x-ms-ccf-transaction-id")
	if resp.StatusCode != http.StatusOK || id == "" {
		return "", fmt.Errorf("a write was answered %s", resp.Status)
	}
	return id, nil
}

func (b *bench) printRow(l load, conns int, r result, ratio float64, grown int64) {
	us := func(d time.Duration) string { return fmt.Sprintf("%dµs", d.Microseconds()) }
	note := ""
	if r.share > voidShare {
		note = fmt.Sprintf("  void: the client used %.0f%% of the cores", 100*r.share)
	}
	if n := r.rate * b.duration.Seconds(); grown > 0 && n >= 1 {
		note = fmt.Sprintf("  %.0f ledger bytes per write%s", float64(grown)/n, note)
	}
	fmt.Printf("%-26s %5d %9.0f %9s %9s %9s %8s %8s %6.2f%s\n", l.name, conns, r.rate, us(r.p50), us(r.p95), us(r.p99), us(r.server), us(r.client), ratio, note)
}

// printCommit compares the time to commit with what it is made of, measured now.
func (b *bench) printCommit(commit time.Duration) error {
	appendTime, err := boltAppend(filepath.Join(b.dir, "append.db"))
	if err != nil {
		return err
	}
	signTime, err := twoSignatures()
	if err != nil {
		return err
	}
	fmt.Printf("\nRSS of the node: with the JS application %d MB, with the native one %d MB\n", rss(b.js.pid)>>20, rss(b.native.pid)>>20)
	fmt.Printf("commit p50 at one client %v; one fsynced bolt append %v + two P-384 signatures %v; ratio %.2f\n",
		commit.Round(time.Microsecond), appendTime.Round(time.Microsecond), signTime.Round(time.Microsecond), float64(commit)/float64(appendTime+signTime))
	return nil
}

// median of n runs of f.
func median(n int, f func(i int) error) (time.Duration, error) {
	all := make([]time.Duration, n)
	for i := range all {
		begun := time.Now()
		if err := f(i); err != nil {
			return 0, err
		}
		all[i] = time.Since(begun)
	}
	return middle(all), nil
}

// middle is the median.
func middle(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func boltAppend(path string) (time.Duration, error) {
	store, err := raftboltdb.NewBoltStore(path)
	if err != nil {
		return 0, err
	}
	defer store.Close()
	data := make([]byte, 3000)
	return median(100, func(i int) error {
		return store.StoreLog(&raft.Log{Index: uint64(i + 1), Term: 2, Data: data})
	})
}

func twoSignatures() (time.Duration, error) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return 0, err
	}
	digest := sha512.Sum384([]byte("root"))
	return median(100, func(int) error {
		for range 2 {
			if _, err := ecdsa.SignASN1(rand.Reader, key, digest[:]); err != nil {
				return err
			}
		}
		return nil
	})
}
