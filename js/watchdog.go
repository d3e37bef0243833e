package js

import (
	"bufio"
	"bytes"
	"math"
	"runtime"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The watchdog bounds the memory that scripts hold. goja does not count what a script
// allocates, and the Go runtime does not count by goroutine; but its heap profile
// records the stack of each sampled allocation. So each call runs below a few frames
// that spell the number of its slot in binary (see below), and when the heap has grown
// by more than a running call may hold, a collection and the profile tell which call
// holds it. That one is stopped; its neighbours are not.

// Timing of the watchdog.
const (
	watchEvery = 5 * time.Millisecond
	watchAfter = 10 * time.Millisecond  // calls younger than this are not looked at
	watchPause = 100 * time.Millisecond // between two looks at the profile
)

// slots bounds the calls that are told apart; those beyond share the last one, and are
// bounded together.
const slotBits = 7

// watchdog observes the running calls. Its goroutine runs while there are any.
type watchdog struct {
	mu      sync.Mutex
	running map[*sandbox]*watched
	free    []uint8 // slots given back
	next    uint8   // slots never used
	awake   bool
	heap    uint64 // heap at the last tick
	looked  time.Time
}

type watched struct {
	slot uint8
	base uint64 // heap when the call began
}

var dog = &watchdog{running: make(map[*sandbox]*watched)}

// watch observes s until the returned function is called.
func watch(s *sandbox) (done func()) {
	dog.mu.Lock()
	defer dog.mu.Unlock()
	w := &watched{base: dog.heap, slot: 1<<slotBits - 1}
	if n := len(dog.free); n > 0 {
		w.slot = dog.free[n-1]
		dog.free = dog.free[:n-1]
	} else if dog.next < 1<<slotBits-1 {
		w.slot = dog.next
		dog.next++
	}
	dog.running[s] = w
	s.slot = w.slot
	if !dog.awake {
		dog.awake = true
		dog.heap = heapBytes()
		w.base = dog.heap
		go dog.run()
	}
	return func() { dog.forget(s, w) }
}

func (d *watchdog) forget(s *sandbox, w *watched) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.running, s)
	if w.slot < 1<<slotBits-1 {
		d.free = append(d.free, w.slot)
	}
}

// run ticks until nothing has run for a tick.
func (d *watchdog) run() {
	t := time.NewTicker(watchEvery)
	defer t.Stop()
	for now := range t.C {
		if !d.tick(now) {
			return
		}
	}
}

// tick looks at the heap, and closer if a call may hold too much. It returns false
// when nothing runs.
func (d *watchdog) tick(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.running) == 0 {
		d.awake = false
		return false
	}
	d.heap = heapBytes()
	suspect := false
	for s, w := range d.running {
		suspect = suspect || now.Sub(s.started) > watchAfter && d.heap > w.base+s.limits.MaxHeapBytes
	}
	if suspect && now.Sub(d.looked) > watchPause {
		d.looked = now
		d.look()
		d.looked = time.Now()
	}
	return true
}

// look collects garbage and stops the calls that hold more than they may.
func (d *watchdog) look() {
	runtime.GC()
	held := heldBySlot()
	d.heap = heapBytes()
	for s, w := range d.running {
		if held[w.slot] > s.limits.MaxHeapBytes {
			s.stop(ErrHeap)
		}
	}
}

// heapBytes is the size of all objects of the heap, dead ones not yet swept included.
func heapBytes() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// inSlot runs f below frames that spell the slot's number, lowest bit outermost.
func inSlot(slot uint8, f func()) { mark(uint(slot), slotBits, f) }

func mark(rest, bits uint, f func()) {
	switch {
	case bits == 0:
		f()
	case rest&1 == 0:
		slotBit0(rest>>1, bits-1, f)
	default:
		slotBit1(rest>>1, bits-1, f)
	}
}

//go:noinline
func slotBit0(rest, bits uint, f func()) { mark(rest, bits, f) }

//go:noinline
func slotBit1(rest, bits uint, f func()) { mark(rest, bits, f) }

// frameKind says what a return address in a profile means to us.
type frameKind uint8

const (
	frameOther frameKind = iota
	frameBit0
	frameBit1
	frameStored // an allocation that outlives the call: a value written to a map
)

var frameKinds sync.Map // of uintptr to frameKind

func kindOf(pc uintptr) frameKind {
	if k, ok := frameKinds.Load(pc); ok {
		return k.(frameKind)
	}
	k := frameOther
	frames := runtime.CallersFrames([]uintptr{pc})
	for {
		f, more := frames.Next()
		switch {
		case strings.HasSuffix(f.Function, "js.slotBit0"):
			k = frameBit0
		case strings.HasSuffix(f.Function, "js.slotBit1"):
			k = frameBit1
		case strings.HasSuffix(f.Function, "js.(*sandbox).kvSet"):
			k = frameStored
		}
		if !more {
			break
		}
	}
	frameKinds.Store(pc, k)
	return k
}

// heldBySlot estimates from the heap profile what each slot's call holds.
func heldBySlot() [1 << slotBits]uint64 {
	var held [1 << slotBits]uint64
	var text bytes.Buffer
	if err := pprof.Lookup("heap").WriteTo(&text, 1); err != nil {
		return held // a bytes.Buffer does not fail
	}
	lines := bufio.NewScanner(&text)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if slot, n, ok := slotOf(lines.Text()); ok {
			held[slot] += n
		}
	}
	return held
}

// slotOf reads a record of the profile's text form,
// "objects: bytes [objects: bytes] @ 0x… 0x…", innermost frame first.
func slotOf(line string) (slot uint8, held uint64, ok bool) {
	left, right, ok := strings.Cut(line, "] @ ")
	if !ok || strings.HasPrefix(line, "heap profile") {
		return 0, 0, false
	}
	bits := 0
	for _, word := range strings.Fields(right) {
		pc, err := strconv.ParseUint(strings.TrimPrefix(word, "0x"), 16, 64)
		if err != nil {
			return 0, 0, false
		}
		switch kindOf(uintptr(pc)) {
		case frameBit0:
			slot <<= 1
			bits++
		case frameBit1:
			slot = slot<<1 | 1
			bits++
		case frameStored:
			return 0, 0, false
		}
	}
	objects, size, _ := strings.Cut(left, ": ")
	size, _, _ = strings.Cut(size, " ")
	n, err1 := strconv.ParseFloat(objects, 64)
	b, err2 := strconv.ParseFloat(size, 64)
	if err1 != nil || err2 != nil || n == 0 || bits != slotBits {
		return 0, 0, false
	}
	// Undo the sampling, as pprof does.
	return slot, uint64(b / (1 - math.Exp(-b/n/float64(runtime.MemProfileRate)))), true
}
