// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// soakEvents is the number of events of TestSoak, and soakWarm how many of them
// come before the first measurement: by then the server has as many threads,
// connections and buffers as its load needs.
const (
	soakEvents = 6000
	soakWarm   = 2000
	soakShort  = 600 // with -short, and without C programs

	// soakLong is from how many events on one in a hundred is faulty. In shorter
	// runs they are more, so that each kind comes often enough to show something.
	soakLong = 50000

	// soakIdle is how long machines are kept: after that nothing may be left of
	// them. How many of them the last events happened to need is not what is
	// measured.
	soakIdle = time.Second

	// soakKill is the mean time between two worker processes that are killed.
	soakKill = 2 * time.Second

	// soakCrowd is how many events a crowd is.
	soakCrowd = 40

	// soakAnswer is how long any answer may take.
	soakAnswer = 2 * time.Minute
)

// way is how the events of a sink get their machines.
type way struct {
	name  string
	share int // of all events, beside the other ways'
	spec  []string
}

// program is what sinks run: each has one sink for each way.
type program struct {
	name   string
	share  int // of the events of a way that succeed; 0: it is faulty
	status int // wanted
	path   string
	args   []string
	spec   []string
}

// kind is one kind of event of the soak.
type kind struct {
	name   string
	share  int
	faulty bool
	status int // wanted; 0: none is
	send   func(ctx context.Context, c *http.Client, s *server, id string) (*answer, error)

	sent atomic.Int64
}

// soakWays are the tiers and platforms: a line adds one.
func soakWays(t *testing.T) []way {
	ways := []way{
		{"anew", 4, []string{"isolation: VM", "snapshot: {mode: Never}"}},
		{"process", 15, []string{"isolation: Process", "snapshot: {mode: Ready, storage: Disk}"}},
		{"vm", 20, []string{"isolation: VM", "snapshot: {mode: Ready, storage: Memory}"}},
		{"reset", 51, []string{"isolation: Reset", "snapshot: {mode: Ready, storage: Disk}"}},
		{"ptrace", 10, []string{"platform: Ptrace", "isolation: Reset", "snapshot: {mode: Ready, storage: Memory}"}},
	}
	host, err := vmexec.Open(vmexec.Ptrace)
	if err != nil {
		if os.Getenv("VMEXEC_REQUIRE_PTRACE") == "1" {
			t.Fatalf("VMEXEC_REQUIRE_PTRACE=1, but %v", err)
		}
		t.Logf("without sinks on ptrace: %v", err)
		return ways[:len(ways)-1]
	}
	if err := host.Close(); err != nil {
		t.Error(err)
	}
	return ways
}

// soakPrograms are what runs: a line adds one, of whatever contract.
func soakPrograms() []program {
	quick, quickArgs, tiny, crash := wordcount, []string(nil), cGuest, "store"
	if cMissing != "" {
		quick, quickArgs, tiny, crash = guest, []string{"print", "hi"}, guest, "nil"
	}
	return []program{
		{"quick", 6, 200, quick, quickArgs, nil},
		{"go", 2, 200, uppercase, nil, nil},
		{"http", 1, 200, greeting, nil, []string{"contract: {type: http}"}},
		{"lambda", 1, 200, invoice, nil, []string{"contract: {type: lambda}"}},
		{"crash", 0, 502, tiny, []string{crash}, nil},
		{"reject", 0, 422, tiny, []string{"exit", "65"}, nil},
		{"fail", 0, 502, tiny, []string{"exit", "1"}, nil},
		{"memory", 0, 502, tiny, []string{"memory"}, []string{"resources: {limits: {memory: 16Mi}}"}},
		{"slow", 0, 504, tiny, []string{"spin"}, []string{"timeout: 30ms"}},
		{"spin", 0, 0, tiny, []string{"spin"}, nil}, // its senders go away
	}
}

// post sends an event to a sink.
func post(name string) func(context.Context, *http.Client, *server, string) (*answer, error) {
	return func(ctx context.Context, c *http.Client, s *server, id string) (*answer, error) {
		return do(c, newEvent(ctx, s.sink(name), id, `{"text":"one two three","name":"Ada","items":[{"price":1.5,"count":2}]}`))
	}
}

// goneAfter sends an event whose sender does not wait for the answer.
func goneAfter(d time.Duration, name string) func(context.Context, *http.Client, *server, string) (*answer, error) {
	return func(ctx context.Context, c *http.Client, s *server, id string) (*answer, error) {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		a, err := post(name)(ctx, c, s, id)
		if errors.Is(err, context.DeadlineExceeded) {
			return &answer{}, nil
		}
		return a, err
	}
}

// crowd sends soakCrowd events at once, and returns the answer that is worth most to
// know: of what was lost with its worker, or of what is wrong.
func crowd(name string) func(context.Context, *http.Client, *server, string) (*answer, error) {
	return func(ctx context.Context, c *http.Client, s *server, id string) (*answer, error) {
		answers, errs := make([]*answer, soakCrowd), make([]error, soakCrowd)
		var all sync.WaitGroup
		for i := range soakCrowd {
			all.Go(func() {
				own := fmt.Sprint(id, ".", i)
				answers[i], errs[i] = do(c, newEvent(ctx, s.sink(name), own, `"`+own+`"`))
				if errs[i] == nil && answers[i].status == 200 && answers[i].body != `"`+own+`"` {
					errs[i] = fmt.Errorf("event %s has the answer of another: %s", own, answers[i].body)
				}
			})
		}
		all.Wait()
		a := answers[0]
		for i, b := range answers {
			if errs[i] != nil {
				return nil, errs[i]
			}
			if b.status != 200 && (a.status == 200 || !strings.Contains(b.body, "SIGKILL")) {
				a = b
			}
		}
		return a, nil
	}
}

// soakKinds writes the manifests and returns the kinds of events.
func soakKinds(t *testing.T, dir string) []*kind {
	var kinds []*kind
	for _, w := range soakWays(t) {
		for _, p := range soakPrograms() {
			name := w.name + "-" + p.name
			sink(t, dir, name, p.path, p.args, slices.Concat(w.spec, p.spec, []string{fmt.Sprintf("idleTimeout: %s", soakIdle)})...)
			k := &kind{name: name, share: w.share * p.share, faulty: p.share == 0, status: p.status, send: post(name)}
			if p.status == 0 {
				k.send = goneAfter(20*time.Millisecond, name)
			}
			kinds = append(kinds, k)
		}
	}
	// So many at once that worker processes have several machines.
	for _, isolation := range []string{"Reset", "VM"} {
		name := "crowd-" + strings.ToLower(isolation)
		sink(t, dir, name, guest, []string{"hold", "300"}, "isolation: "+isolation, "snapshot: {mode: Ready}", fmt.Sprintf("concurrency: %d", soakCrowd), fmt.Sprintf("idleTimeout: %s", soakIdle))
		kinds = append(kinds, &kind{name: name, share: 3, status: 200, send: crowd(name)})
	}
	// What is wrong with a request concerns no machine.
	const name = "reset-quick"
	large := `{"text":"` + strings.Repeat("x", 512<<10) + `"}`
	return append(kinds,
		&kind{name: "large", share: 10, status: 200, send: func(ctx context.Context, c *http.Client, s *server, id string) (*answer, error) {
			return do(c, newEvent(ctx, s.sink(name), id, large))
		}},
		&kind{name: "cut short", faulty: true, send: func(ctx context.Context, _ *http.Client, s *server, id string) (*answer, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
			if err != nil {
				return nil, err
			}
			_, err = fmt.Fprintf(conn, "POST /ns/%s HTTP/1.1\r\nHost: h\r\nCe-Specversion: 1.0\r\nCe-Id: %s\r\nCe-Source: /s\r\nCe-Type: t\r\nContent-Length: 1000\r\n\r\n{", name, id)
			return &answer{}, errors.Join(err, conn.Close())
		}},
		&kind{name: "malformed", faulty: true, status: 400, send: func(ctx context.Context, c *http.Client, s *server, id string) (*answer, error) {
			r := newEvent(ctx, s.sink(name), id, "{}")
			r.Header.Del("Ce-Type")
			return do(c, r)
		}},
		&kind{name: "too large", faulty: true, status: 413, send: func(ctx context.Context, c *http.Client, s *server, id string) (*answer, error) {
			return do(c, newEvent(ctx, s.sink(name), id, `"`+strings.Repeat("x", 1<<20)+`"`))
		}},
	)
}

// mix says of which kind each event is: always the same one.
type mix struct {
	good, faulty []*kind
	shares       int // of good
	percent      int // faulty
}

func newMix(kinds []*kind, percent int) *mix {
	m := &mix{percent: percent}
	for _, k := range kinds {
		if k.faulty {
			m.faulty = append(m.faulty, k)
		} else {
			m.good = append(m.good, k)
			m.shares += k.share
		}
	}
	return m
}

func (m *mix) pick(i int) *kind {
	random := rand.New(rand.NewPCG(1, uint64(i)))
	if random.IntN(100) < m.percent {
		return m.faulty[random.IntN(len(m.faulty))]
	}
	n := random.IntN(m.shares)
	for _, k := range m.good {
		if n < k.share {
			return k
		}
		n -= k.share
	}
	panic("the shares are miscounted")
}

// killer kills worker processes of a server now and then.
type killer struct {
	killed atomic.Int64
	hold   sync.Mutex // held while none may be killed
}

// run kills until ctx is done.
func (k *killer) run(ctx context.Context, t *testing.T, pid int) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(soakKill/2 + rand.N(soakKill)):
		}
		k.hold.Lock()
		if pids := children(t, pid); len(pids) > 0 && kill(pids[rand.IntN(len(pids))], pid) {
			k.killed.Add(1)
		}
		k.hold.Unlock()
	}
}

// kill kills a child of parent, and says whether it was still there. The number may
// have passed to another process meanwhile: a descriptor of it cannot.
func kill(pid, parent int) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// PID (NAME) STATE PPID …, and there may be a ) in the name.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 2 || fields[0] == "Z" || fields[1] != strconv.Itoa(parent) {
		return false
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}

// soakSummary is what a soak leaves behind for others to read.
type soakSummary struct {
	CPUs      int              `json:"cpus"`
	Kernel    string           `json:"kernel"`
	Go        string           `json:"go"`
	Events    int              `json:"events"`
	Planned   int              `json:"planned"`
	Faulty    int              `json:"faultyPercent"`
	Seconds   float64          `json:"seconds"`         // sending
	Rate      float64          `json:"eventsPerSecond"` // while sending
	Kinds     map[string]int64 `json:"kinds"`
	Statuses  map[int]int64    `json:"statuses"` // 0: no answer was awaited
	Killed    int64            `json:"workersKilled"`
	Lost      int64            `json:"eventsLostWithTheirWorker"` // answered 502
	Slowest   float64          `json:"slowestAnswerSeconds"`
	Figures   []figures        `json:"figures"`
	Failed    bool             `json:"failed"`
	Goroutine map[string]int   `json:"goroutines"`
}

func environmentNumber(t *testing.T, name string, least int) (int, bool) {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return 0, false
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least {
		t.Fatalf("%s=%q: must be a number of at least %d", name, v, least)
	}
	return n, true
}

// Thousands of events of every kind, while worker processes are killed: each event
// has its answer, and nothing is left behind in the process that served them.
// KONTAIN_SOAK_EVENTS sets another number, KONTAIN_SOAK_TIME (such as 2h) ends it
// earlier, and KONTAIN_SOAK_JSON names a file for the figures.
func TestSoak(t *testing.T) {
	needKVM(t)
	t.Parallel()
	total, warm := soakEvents, soakWarm
	if testing.Short() || cMissing != "" {
		total, warm = soakShort, soakShort/3
	}
	if n, ok := environmentNumber(t, "KONTAIN_SOAK_EVENTS", 10); ok {
		total, warm = n, max(n/20, min(n/3, soakWarm))
	}
	// Without a bound of its own it ends when `go test` would break it off.
	bound, bounded := t.Deadline()
	bound = bound.Add(-3 * time.Minute)
	if v := os.Getenv("KONTAIN_SOAK_TIME"); v != "" {
		d, err := time.ParseDuration(v)
		if err != nil || d <= 0 {
			t.Fatalf("KONTAIN_SOAK_TIME=%q: must be a time such as 2h", v)
		}
		bound, bounded = time.Now().Add(d), true
	}
	percent := 10
	if total >= soakLong {
		percent = 1
	}

	dir, store := t.TempDir(), t.TempDir()
	if err := os.Chmod(store, 0o700); err != nil {
		t.Fatal(err)
	}
	kinds := soakKinds(t, dir)
	m := newMix(kinds, percent)
	s := serve(t, dir, "--snapshot-dir", store)
	pid := s.cmd.Process.Pid

	const clients = 3
	var next, lost, slowest atomic.Int64
	var statuses sync.Map // of int to *atomic.Int64
	var k killer
	one := func(c *http.Client, i int) {
		ctx, cancel := context.WithTimeout(t.Context(), soakAnswer)
		defer cancel()
		kind := m.pick(i)
		kind.sent.Add(1)
		begin := time.Now()
		a, err := kind.send(ctx, c, s, fmt.Sprint(i))
		took := int64(time.Since(begin))
		for was := slowest.Load(); took > was && !slowest.CompareAndSwap(was, took); was = slowest.Load() {
		}
		if err != nil {
			t.Errorf("event %d (%s) has no answer after %v: %v", i, kind.name, time.Duration(took), err)
			return
		}
		n, _ := statuses.LoadOrStore(a.status, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		switch {
		case a.status == kind.status && (kind.status != 200 || a.body != ""):
		case a.status == 502 && strings.Contains(a.body, "SIGKILL"):
			lost.Add(1) // with its worker
		default:
			t.Errorf("event %d (%s): %d %s, want status %d", i, kind.name, a.status, a.body, kind.status)
		}
	}
	sendUntil := func(end int) {
		var all sync.WaitGroup
		for range clients {
			c := newClient(t)
			all.Go(func() {
				defer c.CloseIdleConnections()
				for {
					i := int(next.Add(1)) - 1
					if i >= end || bounded && time.Now().After(bound) {
						next.Add(-1)
						return
					}
					one(c, i)
				}
			})
		}
		all.Wait()
	}

	cold := settle(t, pid, store)
	t.Logf("at the start:       %v", cold)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var background sync.WaitGroup
	background.Go(func() { k.run(ctx, t, pid) })
	background.Go(func() {
		begin := time.Now()
		for tick := time.NewTicker(time.Minute); ; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return
			case <-tick.C:
				n := next.Load()
				t.Logf("%v: %d of %d events, %d workers killed, %d events lost with them; %v",
					time.Since(begin).Round(time.Second), n, total, k.killed.Load(), lost.Load(), measure(t, pid, store))
			}
		}
	})

	var sending time.Duration
	send := func(end int) figures {
		begin := time.Now()
		sendUntil(end)
		sending += time.Since(begin)
		k.hold.Lock() // a worker that dies now would be replaced
		defer k.hold.Unlock()
		f := settle(t, pid, store)
		f.Events = int(next.Load())
		t.Logf("after %6d events: %v", f.Events, f)
		return f
	}
	// Each measurement costs some seconds without events.
	parts := min(20, max(4, total/25000))
	all := []figures{send(warm)}
	for i := range parts {
		if all[len(all)-1].Events < warm+(total-warm)*i/parts {
			break // the time is up
		}
		all = append(all, send(warm+(total-warm)*(i+1)/parts))
	}
	cancel()
	background.Wait()

	sent := int(next.Load())
	sum := soakSummary{
		CPUs: runtime.NumCPU(), Go: runtime.Version(), Events: sent, Planned: total, Faulty: percent, Seconds: sending.Seconds(), Rate: float64(sent) / sending.Seconds(),
		Kinds: map[string]int64{}, Statuses: map[int]int64{}, Killed: k.killed.Load(), Lost: lost.Load(), Slowest: time.Duration(slowest.Load()).Seconds(), Figures: all,
	}
	var name unix.Utsname
	if unix.Uname(&name) == nil {
		sum.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	for _, k := range kinds {
		sum.Kinds[k.name] = k.sent.Load()
	}
	statuses.Range(func(status, n any) bool {
		sum.Statuses[status.(int)] = n.(*atomic.Int64).Load()
		return true
	})
	t.Logf("%d events in %v (%.0f a second), %d %% faulty: %v; statuses %v", sent, sending.Round(time.Second), sum.Rate, percent, sum.Kinds, sum.Statuses)
	t.Logf("%d workers killed, %d events lost with them (502), the slowest answer after %.1fs", sum.Killed, sum.Lost, sum.Slowest)
	if sent < total {
		t.Logf("the time was up after %d of %d events", sent, total)
		if os.Getenv("KONTAIN_SOAK_TIME") == "" {
			t.Errorf("%d of %d events were sent before the time of the test was up; give it more with -timeout", sent, total)
		}
	}
	// A worker runs one event at a time.
	if sum.Lost > sum.Killed {
		t.Errorf("%d events were lost with %d workers that were killed: others died", sum.Lost, sum.Killed)
	}
	if sum.Killed == 0 && sending > 10*soakKill {
		t.Errorf("no worker was killed in %v: this shows nothing", sending)
	}

	before, after := all[0], all[len(all)-1]
	check := func(what string, was, is, slack int, reason string) {
		if is > was+slack {
			t.Errorf("%s: %d after %d events, %d after %d; at most %d more, because %s", what, was, before.Events, is, after.Events, slack, reason)
		}
	}
	check("child processes", 0, after.Children, 0, "workers end with their idle time")
	check("descriptors", before.Descriptors, after.Descriptors, 0, "each machine, connection and file is closed")
	check("memfd descriptors", before.Memfds, after.Memfds, 0, "the memory of each machine is given back")
	check("shared memory in KiB", before.Shared, after.Shared, 256, "guests' memory is unmapped with its machine; a page of a snapshot's image counts once a reset has read it, and images are this small")
	check("threads", before.Threads, after.Threads, 16, "Go keeps its threads for good and starts another when all happen to be in the kernel at once; one that is lost in 500 events shows")
	check("mappings", before.Mappings, after.Mappings, 8, "a machine unmaps all it maps; Go's heap and thread stacks come in some more pieces")
	check("RSS in KiB", before.RSS, after.RSS, 8<<10, "Go's heap, of which some MiB are garbage at any moment, is given back with a delay; 1 KiB that is lost in each event shows")
	check("files", before.DiskFiles, after.DiskFiles, 0, "snapshots are written once")
	check("disk in KiB", before.DiskKiB, after.DiskKiB, 0, "snapshots are written once")

	// Goroutines cannot be seen from outside, but the runtime lists them at
	// SIGQUIT. A server that has taken one event is what to compare with.
	other := serve(t, dir, "--snapshot-dir", store)
	c := newClient(t)
	if a, err := do(c, newEvent(t.Context(), other.sink("reset-quick"), "1", `{"text":"x"}`)); err != nil || a.status != 200 {
		t.Errorf("%v %v", a, err)
	}
	c.CloseIdleConnections()
	settle(t, other.cmd.Process.Pid)
	want, got := other.goroutines(), s.goroutines()
	// When the thread of the cells would be the main one, a goroutine keeps that busy.
	for _, m := range []map[string]int{want, got} {
		delete(m, "kontain.dev/eventing/pkg/worker/cell.(*thread).run")
	}
	if d := cmp.Diff(want, got); d != "" || len(want) == 0 {
		t.Errorf("goroutines after one event (-) and after %d (+):\n%s", sent, d)
	}
	sum.Goroutine, sum.Failed = got, t.Failed()
	b, err := json.MarshalIndent(sum, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	file := os.Getenv("KONTAIN_SOAK_JSON")
	if file == "" {
		return
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		t.Error(err)
	}
}
