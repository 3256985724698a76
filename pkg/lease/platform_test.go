// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/worker/cell"
	"kontain.dev/eventing/vmexec"
)

// open opens a platform, or skips the test where it is not to be had, unless
// VMEXEC_REQUIRE_KVM=1 or VMEXEC_REQUIRE_PTRACE=1 demands it.
func open(t *testing.T, kind vmexec.Kind) *vmexec.Host {
	t.Helper()
	host, err := vmexec.Open(kind)
	if err != nil {
		if require := "VMEXEC_REQUIRE_" + strings.ToUpper(string(kind)); os.Getenv(require) == "1" {
			t.Fatalf("%s=1, but %v", require, err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := host.Close(); err != nil {
			t.Error(err)
		}
	})
	return host
}

func buildGo(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "stateful-go")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out, "./testdata/stateful")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return out
}

func buildC(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "stateful-c")
	if said, err := exec.Command("gcc", "-O2", "-static", "-o", out, "testdata/stateful.c").CombinedOutput(); err != nil {
		if os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1" {
			t.Fatalf("KONTAIN_REQUIRE_TOOLS=1, but %v\n%s", err, said)
		}
		t.Skipf("no C programs: %v %s", err, bytes.TrimSpace(said))
	}
	return out
}

// buildWorker builds kontain-worker.
func buildWorker(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "kontain-worker")
	cmd := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out, "../../cmd/worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return out
}

// places are where machines can be: in this process, in workers or, where this test
// has the privileges, in workers in cells.
func places(t *testing.T) map[string]Options {
	worker := buildWorker(t)
	all := map[string]Options{"inside": {}, "workers": {Worker: worker}}
	if cells, err := cell.Open(cell.Config{Worker: worker}); err != nil {
		t.Log("no cells: ", err)
	} else {
		t.Cleanup(func() {
			if err := cells.Close(); err != nil {
				t.Error(err)
			}
		})
		all["cells"] = Options{Worker: worker, Cells: cells}
	}
	return all
}

// newSource makes a Source, which the test closes.
func newSource(t *testing.T, w *Workers, spec Spec, log *slog.Logger) Source {
	t.Helper()
	src, err := w.New(spec, log)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func runOne(ctx context.Context, src Source, env []string, event []byte) (*vmexec.Result, error) {
	vm, err := src.Lease(ctx, Request{Env: env})
	if err != nil {
		return nil, err
	}
	r, err := vm.Run(ctx, vmexec.IO{Event: event})
	if closeErr := vm.Close(); err == nil {
		err = closeErr
	}
	return r, err
}

// generate makes the i-th event of the differential test.
func generate(i int) []byte {
	random := rand.New(rand.NewPCG(7, uint64(i)))
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"specversion":"1.0","id":"%d","data":"`, i)
	words := random.IntN(30)
	if random.IntN(20) == 0 {
		words = 5000
	}
	for range words {
		fmt.Fprintf(&b, "%c%d ", 'a'+rune(random.IntN(26)), random.IntN(50))
	}
	b.WriteString(`"}`)
	return b.Bytes()
}

// summary is what of a result must not depend on how its machine came to be.
func summary(r *vmexec.Result) string {
	s := fmt.Sprintf("%s, status %d, stdout %q", r.Reason, r.Status, r.Stdout)
	if r.Death != nil {
		s += fmt.Sprintf(", signal %d at %#x", r.Death.Signal, r.Death.Addr)
	}
	if r.Status != 2 { // the stack trace of a Go program has numbers that vary
		s += fmt.Sprintf(", stderr %q", r.Stderr)
	}
	return s
}

// A thousand generated events have the same answers whether the program is
// started for each, cloned for each, or reset between them, in this process and in
// worker processes, failing events among them.
func TestDifferential(t *testing.T) {
	for _, platform := range []struct {
		kind   vmexec.Kind
		events int
	}{{vmexec.KVM, 1000}, {vmexec.Ptrace, 100}} {
		for _, guest := range []struct {
			name  string
			build func(*testing.T) string
		}{{"C", buildC}, {"Go", buildGo}} {
			t.Run(string(platform.kind)+"/"+guest.name, func(t *testing.T) {
				host := open(t, platform.kind)
				events := platform.events
				if testing.Short() {
					events = max(events/10, 50)
				}
				inside, workers := NewWorkers(host, Options{}), NewWorkers(host, Options{Worker: buildWorker(t)})
				shared := NewWorkers(host, Options{Worker: buildWorker(t), Alone: 1})
				defer inside.Close()
				defer workers.Close()
				defer shared.Close()
				spec := Spec{
					Program: guest.build(t), Concurrency: 2, IdleTime: time.Minute,
					Limits: vmexec.Limits{Memory: 64 << 20, CPU: time.Second}, // of wall time a busy machine takes any amount
				}
				all := func(w *Workers, snapshot bool, tier Tier) ([]string, Stats) {
					spec := spec
					spec.Snapshot, spec.Tier = snapshot, tier
					src := newSource(t, w, spec, slog.New(slog.DiscardHandler))
					events := events
					if w != inside {
						// A process for each takes its time; of fewer the statistics below say nothing.
						events = max(events/5, 20)
					}
					got := make([]string, events)
					var next atomic.Int64
					var clients sync.WaitGroup
					for range spec.Concurrency {
						clients.Go(func() {
							for i := int(next.Add(1)) - 1; i < events; i = int(next.Add(1)) - 1 {
								r, err := runOne(t.Context(), src, nil, generate(i))
								if err != nil {
									t.Errorf("event %d: %v", i, err)
									return
								}
								got[i] = summary(r)
							}
						})
					}
					clients.Wait()
					st := src.Stats()
					if err := src.Close(); err != nil {
						t.Error(err)
					}
					return got, st
				}
				want, _ := all(inside, false, TierVM)
				for _, run := range []struct {
					name     string
					w        *Workers
					snapshot bool
					tier     Tier
				}{
					{"VM", inside, true, TierVM},
					{"Reset", inside, true, TierReset},
					{"Process in workers", workers, true, TierProcess},
					{"VM in workers", workers, true, TierVM},
					{"Reset in workers", workers, true, TierReset},
					{"started in workers", workers, false, TierVM},
					{"VM in a process with others", shared, true, TierVM},
					{"Reset in a process with others", shared, true, TierReset},
					{"started in a process with others", shared, false, TierVM},
				} {
					tier := run.name
					got, st := all(run.w, run.snapshot, run.tier)
					differ := 0
					events := len(got)
					for i := range got {
						if want[i] != got[i] {
							if differ++; differ <= 3 {
								t.Errorf("%s, event %d:\nstarted %s\ngot     %s", tier, i, want[i], got[i])
							}
						}
					}
					if differ > 0 {
						t.Errorf("%s: %d of %d answers differ", tier, differ, events)
					}
					// Workers are used again with tier VM, but not the machines in them.
					reused := run.tier == TierReset || run.w != inside && run.tier == TierVM
					if st.Snapshot != run.snapshot || st.Tier != run.tier || reused != (st.Resets > uint64(events)/2) || !reused && st.Made < uint64(events) {
						t.Errorf("%+v", st)
					}
					t.Logf("%s: %+v", tier, st)
				}
				endings := map[string]int{}
				for _, s := range want {
					ending, _, _ := strings.Cut(s, ", stdout")
					endings[ending]++
				}
				t.Logf("%v", endings)
				if len(endings) < 4 && !testing.Short() && events >= 1000 {
					t.Errorf("the events do not reach every ending: %v", endings)
				}
			})
		}
	}
}

// A program that ends before it reads its event is started for each, with the
// event's attributes in its environment, and the log says so once.
func TestNoSnapshot(t *testing.T) {
	host := open(t, vmexec.KVM)
	program := buildGo(t)
	for place, options := range places(t) {
		t.Run(place, func(t *testing.T) {
			w := NewWorkers(host, options)
			defer w.Close()
			var log bytes.Buffer
			src := newSource(t, w, Spec{
				Program: program, Args: []string{"early"}, Snapshot: true, Tier: TierReset, Concurrency: 1, Limits: vmexec.Limits{Memory: 64 << 20},
			}, slog.New(slog.NewTextHandler(&log, nil)))
			for i := range 3 {
				r, err := runOne(t.Context(), src, []string{fmt.Sprintf("CE_ID=%d", i)}, []byte("{}"))
				if err != nil || string(r.Stdout) != fmt.Sprintf("early %d", i) {
					t.Errorf("%+v, %v", r, err)
				}
			}
			got := src.Stats()
			want := Stats{Tier: TierVM, NoSnapshot: "the program ended before it read its event, from stdin or /etc/jobsink-event/event", Made: got.Made, Resets: got.Resets, Waited: got.Waited, Jail: got.Jail}
			if (got.Jail != nil) != (place != "inside") {
				t.Errorf("jail %v", got.Jail)
			}
			if d := cmp.Diff(want, got); d != "" || place == "inside" && got.Made != 3 {
				t.Errorf("%+v (-want +got):\n%s", got, d)
			}
			for _, part := range []string{program, "before it read", "snapshot: {mode: Never}"} {
				if strings.Count(log.String(), part) != 1 {
					t.Errorf("the log does not have %q once: %s", part, &log)
				}
			}
			if err := src.Close(); err != nil {
				t.Error(err)
			}
			// A sink that does not ask for a snapshot hears nothing of one.
			log.Reset()
			src = newSource(t, w, Spec{Program: program, Args: []string{"early"}, Tier: TierVM}, slog.New(slog.NewTextHandler(&log, nil)))
			if src.Stats().NoSnapshot != "" || log.Len() > 0 {
				t.Errorf("%+v, %s", src.Stats(), &log)
			}
			if err := src.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A program that cannot run is refused with its name, wherever it would run, and
// isolation is not weakened.
func TestRefused(t *testing.T) {
	host := open(t, vmexec.KVM)
	for place, options := range places(t) {
		w := NewWorkers(host, options)
		_, err := w.New(Spec{Program: "/etc/passwd", Snapshot: true, Tier: TierVM}, slog.New(slog.DiscardHandler))
		var pe *vmexec.ProgramError
		if !errors.As(err, &pe) {
			t.Errorf("%s: %v", place, err)
		}
		w.Close()
	}
	w := NewWorkers(host, Options{})
	defer w.Close()
	if _, err := w.New(Spec{Program: buildGo(t), Tier: TierProcess}, nil); err == nil || !strings.Contains(err.Error(), "worker processes") {
		t.Errorf("%v", err)
	}
}

// When a worker dies before it begins, the event runs in another one; when it dies
// later, that is an error of its own.
func TestWorkerDies(t *testing.T) {
	host := open(t, vmexec.KVM)
	w := NewWorkers(host, Options{Worker: buildWorker(t)})
	defer w.Close()
	src := newSource(t, w, Spec{
		Program: buildGo(t), Snapshot: true, Tier: TierReset, Concurrency: 1, IdleTime: time.Minute, Limits: vmexec.Limits{Memory: 64 << 20},
	}, slog.New(slog.DiscardHandler))
	vm, err := src.Lease(t.Context(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	// Its process, as an operator or the kernel might.
	if err := unix.Kill(vm.(*lent).VM.(*leased).machine.(*process).PID(), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r, err := vm.Run(t.Context(), vmexec.IO{Event: []byte("b")})
	if err != nil || !strings.Contains(string(r.Stdout), "events 1,") {
		t.Errorf("%+v, %v", r, err)
	}
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
	if st := src.Stats(); st.Made != 2 {
		t.Errorf("%+v", st)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}

// With a snapshot the attributes of an event are not in the environment.
func TestSnapshotEnv(t *testing.T) {
	host := open(t, vmexec.KVM)
	inside, workers := NewWorkers(host, Options{}), NewWorkers(host, Options{Worker: buildWorker(t)})
	defer inside.Close()
	defer workers.Close()
	program := buildGo(t)
	for tier, w := range map[Tier]*Workers{TierVM: inside, TierReset: inside, TierProcess: workers} {
		src := newSource(t, w, Spec{Program: program, Snapshot: true, Tier: tier, Concurrency: 1, IdleTime: time.Minute, Limits: vmexec.Limits{Memory: 64 << 20}}, slog.New(slog.DiscardHandler))
		for range 3 {
			r, err := runOne(t.Context(), src, []string{"CE_ID=1"}, []byte("b"))
			if err != nil || !strings.Contains(string(r.Stdout), `CE_ID ""`) || !strings.Contains(string(r.Stdout), "events 1,") {
				t.Errorf("%s: %+v, %v", tier, r, err)
			}
		}
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}
}
