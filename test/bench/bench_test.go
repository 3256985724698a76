// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/vmexec"
)

// testGuests builds the guests, and skips by name what this machine lacks.
func testGuests(tb testing.TB) *guests {
	tb.Helper()
	g, err := buildGuests(tb.Context(), tb.TempDir())
	if err != nil {
		tb.Fatal(err)
	}
	if g.cErr != nil {
		if os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1" || !errors.Is(g.cErr, errNoCompiler) {
			tb.Fatal(g.cErr)
		}
		tb.Skip(g.cErr)
	}
	return g
}

// needPlatform skips without KVM, unless VMEXEC_REQUIRE_KVM=1.
func needPlatform(tb testing.TB) {
	tb.Helper()
	host, err := vmexec.Open(vmexec.Auto)
	if err == nil {
		err = host.Close()
	}
	if err != nil {
		if os.Getenv("VMEXEC_REQUIRE_KVM") == "1" {
			tb.Fatal(err)
		}
		tb.Skip(err)
	}
}

// BenchmarkExitServe is the cost of each kind of exit, measured inside.
func BenchmarkExitServe(b *testing.B) {
	for _, mode := range []string{"getpid", "touch", "faults", "clock"} {
		for _, where := range []string{"native", "kvm"} {
			b.Run(mode+"/"+where, func(b *testing.B) {
				g := testGuests(b)
				count := min(b.N, 100_000)
				if mode == "touch" {
					count = min(b.N, 100) // memory is the bound
				}
				var r reading
				var err error
				if where == "native" {
					r, err = g.runGuestNative(b.Context(), mode, strconv.Itoa(count))
				} else {
					needPlatform(b)
					r, _, err = g.runGuest(b.Context(), mode, strconv.Itoa(count))
				}
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.each(), "ns/op")
			})
		}
	}
}

// BenchmarkProgramRun is a whole run of a program that prints hello.
func BenchmarkProgramRun(b *testing.B) {
	g := testGuests(b)
	programs := []struct {
		name    string
		command []string
	}{{"c", []string{g.c, "hello"}}, {"go", []string{g.goHello}}}
	for _, p := range programs {
		b.Run(p.name+"/native", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := timeProgram(b.Context(), p.command); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(p.name+"/kvm", func(b *testing.B) {
			needPlatform(b)
			l, err := load(p.command[0], p.command[1:]...)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			var exits uint64
			for b.Loop() {
				r, _, err := l.run(b.Context(), nil)
				if err != nil {
					b.Fatal(err)
				}
				exits = r.Stats.Exits
			}
			b.ReportMetric(float64(exits), "exits/op")
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// TestGuestModes holds that the guest of the benchmarks measures natively what
// it should, so that a benchmark that fails points at the machine.
func TestGuestModes(t *testing.T) {
	g := testGuests(t)
	for _, mode := range []string{"spin", "walk", "getpid", "clock", "touch", "faults", "ticked"} {
		t.Run(mode, func(t *testing.T) {
			r, err := g.runGuestNative(t.Context(), mode, "3")
			if err != nil {
				t.Fatal(err)
			}
			if r.Ops != 3 {
				t.Errorf("%d operations, want 3", r.Ops)
			}
		})
	}
	if _, err := g.runGuestNative(t.Context(), "nonsense", "3"); err == nil {
		t.Error("an unknown mode is no error")
	}
}

// TestGuestHold holds what the rows of many events at once rest on.
func TestGuestHold(t *testing.T) {
	g := testGuests(t)
	out, err := runNative(t.Context(), []byte(`{"specversion":"1.0","data":{"hold":30}}`), g.c, "hold")
	if err != nil {
		t.Fatal(err)
	}
	var a answered
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if took := time.Duration(a.Ended - a.Started); took < 30*time.Millisecond || time.Since(time.Unix(0, a.Started)) > time.Minute {
		t.Errorf("held from %d to %d, want 30 ms of the wall clock", a.Started, a.Ended)
	}
	if _, err := runNative(t.Context(), []byte(`{"data":{}}`), g.c, "hold"); err == nil {
		t.Error("an event that does not say how long is no error")
	}
}

func TestMostAtOnce(t *testing.T) {
	tests := []struct {
		name     string
		answers  []answered
		most     int
		at       int64
		when, in int64 // in flight when
	}{
		{"none", nil, 0, 0, 5, 0},
		{"one after the other", []answered{{5, 9}, {1, 5}}, 1, 1, 5, 1},
		{"all", []answered{{1, 9}, {3, 8}, {2, 7}}, 3, 3, 6, 3},
		{"the first time", []answered{{1, 4}, {2, 5}, {6, 9}, {7, 9}}, 2, 2, 5, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if most, at := mostAtOnce(test.answers); most != test.most || at != test.at {
				t.Errorf("%d at %d, want %d at %d", most, at, test.most, test.at)
			}
			if n := inFlightAt(test.answers, time.Unix(0, test.when)); n != int(test.in) {
				t.Errorf("%d in flight at %d, want %d", n, test.when, test.in)
			}
		})
	}
}

// TestProcesses looks at a process that this test has started.
func TestProcesses(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	all, err := descendants(os.Getpid())
	if err != nil || !slices.Contains(all, cmd.Process.Pid) {
		t.Errorf("descendants %v, %v; want %d among them", all, err, cmd.Process.Pid)
	}
	if used, err := usageOf([]int{cmd.Process.Pid}); err != nil || used.processes != 1 || used.pss == 0 || used.pss > used.rss {
		t.Errorf("memory %+v, %v", used, err)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	if used, err := usageOf([]int{cmd.Process.Pid}); err != nil || used.processes != 0 {
		t.Errorf("a process that has ended has memory %+v, %v", used, err)
	}
}

func TestVersionIn(t *testing.T) {
	for line, want := range map[string]string{
		"kontain a97d08f (go1.26.8, linux/amd64)": "a97d08f", "kontain unknown (go1.26.8)": "",
		"Python 3.11.7": "3.11.7", "v20.20.2": "20.20.2", "runc version 1.1.5+ds1": "1.1.5+ds1", "nothing": "", "": "",
	} {
		if got := versionIn(line); got != want {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestOnly(t *testing.T) {
	all, err := options{}.wanted()
	if err != nil || len(all) != len(groups) {
		t.Errorf("%v, %v; want every group", all, err)
	}
	some, err := options{only: "event,idle"}.wanted()
	if diff := cmp.Diff(map[string]bool{"event": true, "idle": true}, some); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := (options{only: "event,nonsense"}).wanted(); err == nil || !strings.Contains(err.Error(), `"nonsense"`) {
		t.Errorf("an unknown group: %v", err)
	}
}

// TestWays holds that what runs natively is compared with the server in its language,
// and not with a function of another contract.
func TestWays(t *testing.T) {
	b := &bench{report: &report{}}
	web := &service{contract: "http", wanted: "1 ms"}
	function := &service{contract: "lambda"}
	web.language, function.language = "Go", "Go"
	b.addWays([]*way{
		{service: web, name: "VM", tier: "VM", samples: []float64{2}},
		{service: web, name: "natively", samples: []float64{1}},
		{service: function, name: "VM", tier: "VM", samples: []float64{8}},
	})
	want := []row{
		{Name: "contract http, VM, Go", Samples: 1, Median: 2, Wanted: "1 ms"},
		{Name: "contract http, natively, Go", Samples: 1, Median: 1, Ratios: map[string]float64{"VM": 0.5}},
		{Name: "contract lambda, VM, Go", Samples: 1, Median: 8},
	}
	if diff := cmp.Diff(want, b.report.Rows); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestQuantile(t *testing.T) {
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	tests := []struct {
		name   string
		values []float64
		q      float64
		want   float64
	}{
		{"none", nil, 0.5, 0},
		{"one", []float64{7}, 0.99, 7},
		{"odd", []float64{3, 1, 2}, 0.5, 2},
		{"hundred", hundred, 0.99, 100},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := quantile(test.values, test.q); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestReport(t *testing.T) {
	r := &report{Time: "2026-01-02T03:04:05Z", machine: machine{Kernel: "6.1", CPUs: 2, Go: "go1.26"}, group: "Things"}
	line := r.add("a thing", []float64{2000, 4000, 3000}, []float64{1000, 2000, 1500})
	line.fill(&vmexec.Stats{Exits: 7, Syscalls: map[string]uint64{"write": 2, "brk": 0}, Kicks: 4}, 2)
	line.Wanted = "4 µs"
	other := r.add("a | peer", []float64{6000}, nil)
	other.compare(map[string]float64{"VM, C": 3000, "Reset, C": 1500, "VM, Go": 1}, "C")
	r.skip("another", errNoCompiler)
	file, page := filepath.Join(t.TempDir(), "bench.json"), filepath.Join(t.TempDir(), "bench.md")
	var out bytes.Buffer
	if err := r.write(&out, file, page); err != nil {
		t.Fatal(err)
	}
	want := `Linux 6.1, 2 CPUs, go1.26, load before 0.0

what      samples  median   p99  wanted  native    speed  exits  note
a thing   3        3 µs     -    4 µs    1.5 µs    0.5   3.5
a | peer  1        6 µs     -    -       -         -     -      4 × Reset, 2 × VM
another   0        -        -    -       -         -      -     left out: no C compiler (install gcc and libc6-dev)
`
	table, _, _ := strings.Cut(out.String(), "written to")
	if diff := cmp.Diff(fields(want), fields(table)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	wantPage := `2026-01-02, Linux 6.1, 2 CPUs, go1.26, load before 0.0.

### Things

| what | samples | median | p99 | wanted | native | speed | exits | note |
|---|---|---|---|---|---|---|---|---|
| a thing | 3 | 3 µs | - | 4 µs | 1.5 µs | 0.5 | 3.5 |  |
| a \| peer | 1 | 6 µs | - | - | - | - | - | 4 × Reset, 2 × VM |
| another | 0 | - | - | - | - | - | - | left out: no C compiler (install gcc and libc6-dev) |
`
	markdown, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantPage, string(markdown)); diff != "" {
		t.Errorf("Markdown (-want +got):\n%s", diff)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var back report
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]float64{"call write": 1, "kick": 2}, back.Rows[0].Kinds); diff != "" {
		t.Errorf("kinds of exits (-want +got):\n%s", diff)
	}
}

// TestPeerServer holds that peers are given the event and that their answers are
// replies: one that answers by itself, a command and a module of WASI.
func TestPeerServer(t *testing.T) {
	g, err := buildGuests(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	module, err := wasm(t.Context(), t.TempDir(), "Go")
	if err != nil {
		t.Fatal(err)
	}
	peers := []*peer{
		{Path: "/echo"},
		{Path: "/cat", Command: []string{"/bin/cat"}},
		{Path: "/hello", Command: []string{g.goHello}},
		{Path: "/false", Command: []string{"/bin/false"}},
		{Path: "/wasm", Wasm: module},
	}
	in, toServer := io.Pipe()
	fromServer, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- servePeers(in, out) }()
	config, err := json.Marshal(peers)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := toServer.Write(append(config, '\n')); err != nil {
		t.Fatal(err)
	}
	address, err := bufio.NewReader(fromServer).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + strings.TrimSpace(address)
	event := `{"data":{"text":"one two three four"},"datacontenttype":"application/json","id":"1","source":"/bench","specversion":"1.0","type":"bench"}`
	for path, want := range map[string]string{"/echo": eventData, "/cat": event, "/hello": "hello\n"} {
		got, _, err := postTo(t.Context(), http.DefaultClient, base+path, eventData)
		if err != nil || string(got) != want {
			t.Errorf("%s answered %q, %v; want %q", path, got, err, want)
		}
	}
	if got, _, err := postTo(t.Context(), http.DefaultClient, base+"/wasm", eventData); err != nil || !strings.Contains(string(got), "ONE TWO THREE FOUR") {
		t.Errorf("the WASI module answered %q, %v", got, err)
	}
	if _, err := post(t.Context(), base+"/false"); err == nil {
		t.Error("a command that failed is no error")
	}
	if err := toServer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// fields are the words of a table, whatever its columns' widths.
func fields(s string) []string { return strings.Fields(s) }
