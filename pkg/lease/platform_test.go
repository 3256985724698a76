// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"bytes"
	"context"
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

// newSource makes a Source, which the test closes.
func newSource(t *testing.T, w *Workers, spec Spec, log *slog.Logger) Source {
	t.Helper()
	src, err := w.New(t.Context(), spec, log)
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
// started for each, cloned for each, or reset between them, failing events among
// them.
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
					events /= 10
				}
				w := NewWorkers(host, nil)
				defer w.Close()
				spec := Spec{
					Program: guest.build(t), Concurrency: 2, IdleTime: time.Minute,
					Limits: vmexec.Limits{Memory: 64 << 20, CPU: time.Second}, // of wall time a busy machine takes any amount
				}
				all := func(snapshot bool, tier Tier) ([]string, Stats) {
					spec := spec
					spec.Snapshot, spec.Tier = snapshot, tier
					src := newSource(t, w, spec, slog.New(slog.DiscardHandler))
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
				want, _ := all(false, TierVM)
				for _, tier := range []Tier{TierVM, TierReset} {
					got, st := all(true, tier)
					differ := 0
					for i := range want {
						if want[i] != got[i] {
							if differ++; differ <= 3 {
								t.Errorf("%s, event %d:\nstarted %s\ngot     %s", tier, i, want[i], got[i])
							}
						}
					}
					if differ > 0 {
						t.Errorf("%s: %d of %d answers differ", tier, differ, events)
					}
					if !st.Snapshot || (tier == TierReset) != (st.Resets > uint64(events)/2) || (tier == TierVM && st.Made < uint64(events)) {
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
	w := NewWorkers(host, nil)
	defer w.Close()
	program := buildGo(t)
	var log bytes.Buffer
	src := newSource(t, w, Spec{Program: program, Args: []string{"early"}, Snapshot: true, Tier: TierReset, Concurrency: 1}, slog.New(slog.NewTextHandler(&log, nil)))
	for i := range 3 {
		r, err := runOne(t.Context(), src, []string{fmt.Sprintf("CE_ID=%d", i)}, []byte("{}"))
		if err != nil || string(r.Stdout) != fmt.Sprintf("early %d", i) {
			t.Errorf("%+v, %v", r, err)
		}
	}
	want := Stats{Tier: TierVM, NoSnapshot: "the program ended before it read its event from stdin", Made: 3}
	if d := cmp.Diff(want, src.Stats()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
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
	src = newSource(t, w, Spec{Program: program, Args: []string{"early"}}, slog.New(slog.NewTextHandler(&log, nil)))
	if src.Stats().NoSnapshot != "" || log.Len() > 0 {
		t.Errorf("%+v, %s", src.Stats(), &log)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}

// With a snapshot the attributes of an event are not in the environment.
func TestSnapshotEnv(t *testing.T) {
	host := open(t, vmexec.KVM)
	w := NewWorkers(host, nil)
	defer w.Close()
	for _, tier := range []Tier{TierVM, TierReset} {
		src := newSource(t, w, Spec{Program: buildGo(t), Snapshot: true, Tier: tier, Concurrency: 1, IdleTime: time.Minute}, slog.New(slog.DiscardHandler))
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
