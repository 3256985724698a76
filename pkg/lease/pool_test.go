// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"kontain.dev/eventing/pkg/worker"
	"kontain.dev/eventing/vmexec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// yard makes fake machines and counts them.
type yard struct {
	made, alive, most atomic.Int64
	makeErr           atomic.Pointer[error]
	resetErr          atomic.Pointer[error]
	takes             time.Duration // making a machine
	resetTakes        time.Duration

	tries                                    atomic.Int64
	makers, closers, mostMakers, mostClosers atomic.Int64
}

// fake is a machine that does as it is told.
type fake struct {
	y      *yard
	number int64
	result vmexec.Result
	err    error
	dirty  bool // ran since it was made or reset
	bad    bool // ran in a way after which it must not run again
	closed bool
	runs   int
}

func raise(most *atomic.Int64, n int64) {
	for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
	}
}

func (y *yard) clone() (machine, error) {
	raise(&y.mostMakers, y.makers.Add(1))
	defer y.makers.Add(-1)
	y.tries.Add(1)
	time.Sleep(y.takes)
	if err := y.makeErr.Load(); err != nil {
		return nil, *err
	}
	raise(&y.most, y.alive.Add(1))
	return &fake{y: y, number: y.made.Add(1)}, nil
}

func (f *fake) Run(context.Context, vmexec.IO) (*vmexec.Result, error) {
	if f.dirty || f.bad || f.closed {
		panic(fmt.Sprintf("machine %d runs again: dirty %v, bad %v, closed %v", f.number, f.dirty, f.bad, f.closed))
	}
	f.dirty = true
	f.runs++
	r := f.result
	f.bad = f.err != nil || r.Reason != vmexec.Exited || (r.Status != 0 && r.Status != 65)
	return &r, f.err
}

func (f *fake) Reset() error {
	if f.bad || f.closed || !f.dirty {
		panic("reset of a machine that must not be")
	}
	time.Sleep(f.y.resetTakes)
	if err := f.y.resetErr.Load(); err != nil {
		f.bad = true
		return *err
	}
	f.dirty = false
	return nil
}

func (f *fake) Close() error {
	raise(&f.y.mostClosers, f.y.closers.Add(1))
	defer f.y.closers.Add(-1)
	if f.closed {
		panic("closed twice")
	}
	f.closed = true
	f.y.alive.Add(-1)
	return nil
}

// inPool runs a test with a pool, in a bubble with its own time.
func inPool(t *testing.T, spec Spec, takes time.Duration, test func(t *testing.T, y *yard, p *pool)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		memory := NewMemory(1 << 40)
		spec.Limits.Memory = 1 << 20
		if err := memory.await(t.Context(), spec.Limits.Memory, time.Time{}); err != nil { // for first
			t.Fatal(err)
		}
		w := NewWorkers(nil, Options{Memory: memory})
		defer w.Close()
		y := &yard{takes: takes}
		first, err := y.clone()
		if err != nil {
			t.Fatal(err)
		}
		p := newPool(w, y.clone, first, spec, false)
		test(t, y, p)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if n := y.alive.Load(); n != 0 || p.stats().Alive != 0 {
			t.Errorf("%d machines are left; the pool counts %d", n, p.stats().Alive)
		}
		if st := memory.Stats(); st.Reserved != 0 {
			t.Errorf("%+v", st)
		}
		if y.mostMakers.Load() > 1 || y.mostClosers.Load() > 1 {
			t.Errorf("%d made and %d closed at once, want one", y.mostMakers.Load(), y.mostClosers.Load())
		}
	})
}

func get(t *testing.T, p *pool) *leased {
	t.Helper()
	vm, err := p.Lease(t.Context(), Request{})
	if err != nil {
		t.Fatal(err)
	}
	return vm.(*leased)
}

func run(t *testing.T, vm *leased) {
	t.Helper()
	_, _ = vm.Run(t.Context(), vmexec.IO{})
	if err := vm.Close(); err != nil {
		t.Error(err)
	}
}

func TestPoolVM(t *testing.T) {
	inPool(t, Spec{Tier: TierVM, Concurrency: 3, IdleTime: time.Minute}, time.Millisecond, func(t *testing.T, y *yard, p *pool) {
		time.Sleep(time.Second)
		if n := p.stats().Prepared; n != 1 {
			t.Fatalf("%d machines are prepared before the first event, want 1", n)
		}
		bad := get(t, p)
		bad.machine.(*fake).result.Status = 1
		run(t, bad)
		time.Sleep(time.Second)
		if n := p.stats().Prepared; n != 1 {
			t.Fatalf("%d machines are prepared before one did its work, want 1", n)
		}
		first := get(t, p)
		if first.machine.(*fake).number != 2 {
			t.Errorf("machine %d runs, want 2", first.machine.(*fake).number)
		}
		run(t, first)
		time.Sleep(time.Second)
		if n := p.stats().Prepared; n != 3 {
			t.Fatalf("%d machines are prepared, want 3", n)
		}
		seen := map[int64]bool{}
		for range 10 {
			vm := get(t, p)
			f := vm.machine.(*fake)
			if seen[f.number] || f.runs > 0 {
				t.Errorf("machine %d is given twice", f.number)
			}
			seen[f.number] = true
			run(t, vm)
			if !f.closed {
				t.Error("a machine that ran is not closed")
			}
		}
		time.Sleep(time.Second)
		if st := p.stats(); st.Prepared != 3 || st.Resets != 0 || st.Tier != TierVM || st.Waited == 0 {
			t.Errorf("%+v", st)
		}
		if y.most.Load() > 3+1 {
			t.Errorf("%d machines at once", y.most.Load())
		}
	})
}

// A sink has as many machines prepared as its events have found missing, and begins with
// few again once it has rested.
func TestPoolTarget(t *testing.T) {
	inPool(t, Spec{Tier: TierProcess, Concurrency: 100, IdleTime: time.Minute}, time.Millisecond, func(t *testing.T, _ *yard, p *pool) {
		wants := func(when string, n int) {
			t.Helper()
			time.Sleep(time.Second)
			if got := p.stats().Prepared; got != n {
				t.Errorf("%s: %d machines are prepared, want %d", when, got, n)
			}
		}
		run(t, get(t, p))
		wants("after one event", 2)
		for range 5 {
			run(t, get(t, p))
			time.Sleep(time.Second)
		}
		wants("after events now and then", 2)
		for _, n := range []int{4, 8, 16, 16} {
			var all []*leased
			for range p.stats().Prepared {
				all = append(all, get(t, p))
			}
			for _, vm := range all {
				run(t, vm)
			}
			wants("after all that were prepared were taken", n)
		}
		time.Sleep(2 * time.Minute)
		wants("after a rest", 0)
		run(t, get(t, p))
		wants("after one event more", 2)
	})
}

// Worker processes are started and ended by several goroutines at once, each machine
// once.
func TestPoolMakers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorkers(nil, Options{Worker: "kontain-worker"})
		defer w.Close()
		y := &yard{takes: time.Millisecond}
		p := newPool(w, y.clone, nil, Spec{Tier: TierProcess, Concurrency: 100, IdleTime: time.Minute}, true)
		const events = 100
		begin := time.Now()
		var group sync.WaitGroup
		for range events {
			group.Go(func() {
				vm := get(t, p)
				time.Sleep(time.Second) // none is back before all have one
				run(t, vm)
			})
		}
		time.Sleep(events * time.Millisecond / time.Duration(w.makers))
		if s := p.stats(); s.Alive < events {
			t.Errorf("after %v: %+v", time.Since(begin), s)
		}
		group.Wait()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if want := int64(w.makers); y.mostMakers.Load() != want || y.mostClosers.Load() > want || y.alive.Load() != 0 {
			t.Errorf("%d made and %d closed at once, want %d; %d are left", y.mostMakers.Load(), y.mostClosers.Load(), want, y.alive.Load())
		}
	})
}

func TestPoolReset(t *testing.T) {
	inPool(t, Spec{Tier: TierReset, Concurrency: 3, IdleTime: time.Minute}, time.Millisecond, func(t *testing.T, y *yard, p *pool) {
		time.Sleep(time.Second)
		if n := p.stats().Prepared; n != 1 {
			t.Fatalf("%d machines are prepared, want 1", n)
		}
		for range 10 {
			run(t, get(t, p))
		}
		if st := p.stats(); st.Made != 1 || st.Resets != 10 || st.Waited != 0 {
			t.Errorf("%+v", st)
		}
		// An event waits for a machine that is being reset, instead of for a new one.
		y.resetTakes = time.Millisecond / 2
		vm := get(t, p)
		done := make(chan struct{})
		go func() { run(t, vm); close(done) }()
		synctest.Wait()
		run(t, get(t, p))
		<-done
		if st := p.stats(); st.Made != 1 || st.Waited != 1 {
			t.Errorf("%+v", st)
		}
		// Several at once have one each.
		a, b, c := get(t, p), get(t, p), get(t, p)
		run(t, a)
		run(t, b)
		run(t, c)
		if st := p.stats(); st.Made != 3 || st.Prepared != 3 {
			t.Errorf("%+v", st)
		}
	})
}

// What must not run again does not: the fake panics.
func TestPoolNeverAgain(t *testing.T) {
	bad := errors.New("KVM_RUN: bad file descriptor")
	tests := []struct {
		name   string
		result vmexec.Result
		err    error
		again  bool
	}{
		{"accepted", vmexec.Result{}, nil, true},
		{"refused", vmexec.Result{Status: 65}, nil, true},
		{"failed", vmexec.Result{Status: 1}, nil, false},
		{"a language's own crash", vmexec.Result{Status: 2}, nil, false},
		{"fault", vmexec.Result{Reason: vmexec.Signaled}, nil, false},
		{"time", vmexec.Result{Reason: vmexec.WallLimit}, nil, false},
		{"processor time", vmexec.Result{Reason: vmexec.CPULimit}, nil, false},
		{"memory", vmexec.Result{Reason: vmexec.MemoryLimit}, nil, false},
		{"output", vmexec.Result{Reason: vmexec.OutputLimit}, nil, false},
		{"sender gone", vmexec.Result{Reason: vmexec.Canceled}, nil, false},
		{"deadlock", vmexec.Result{Reason: vmexec.Deadlock}, nil, false},
		{"monitor", vmexec.Result{}, bad, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inPool(t, Spec{Tier: TierReset, Concurrency: 1, IdleTime: time.Minute}, time.Millisecond, func(t *testing.T, _ *yard, p *pool) {
				vm := get(t, p)
				f := vm.machine.(*fake)
				f.result, f.err = tt.result, tt.err
				run(t, vm)
				if f.closed == tt.again {
					t.Errorf("closed %v, want %v", f.closed, !tt.again)
				}
				if next := get(t, p); (next.machine.(*fake) == f) != tt.again {
					t.Errorf("the same machine again: %v, want %v", !tt.again, tt.again)
				} else {
					next.machine.(*fake).result = vmexec.Result{}
					run(t, next)
				}
			})
		})
	}
}

// A machine that was leased and never ran, as when its event went away.
func TestPoolNotRun(t *testing.T) {
	inPool(t, Spec{Tier: TierReset, Concurrency: 1, IdleTime: time.Minute}, 0, func(t *testing.T, _ *yard, p *pool) {
		vm := get(t, p)
		if err := vm.Close(); err != nil || !vm.machine.(*fake).closed {
			t.Errorf("%v", err)
		}
	})
}

func TestPoolResetFails(t *testing.T) {
	inPool(t, Spec{Tier: TierReset, Concurrency: 1, IdleTime: time.Minute}, 0, func(t *testing.T, y *yard, p *pool) {
		bad := errors.New("no memory")
		y.resetErr.Store(&bad)
		vm := get(t, p)
		f := vm.machine.(*fake)
		_, _ = vm.Run(t.Context(), vmexec.IO{})
		if err := vm.Close(); !errors.Is(err, bad) || !f.closed {
			t.Errorf("error %v, closed %v", err, f.closed)
		}
		y.resetErr.Store(nil)
		run(t, get(t, p))
	})
}

func TestPoolEvents(t *testing.T) {
	inPool(t, Spec{Tier: TierReset, Concurrency: 1, IdleTime: time.Minute}, 0, func(t *testing.T, _ *yard, p *pool) {
		first := get(t, p)
		f := first.machine.(*fake)
		run(t, first)
		for range maxEvents - 1 {
			run(t, get(t, p))
		}
		if f.runs != maxEvents || !f.closed {
			t.Errorf("%d runs, closed %v", f.runs, f.closed)
		}
	})
}

func TestPoolIdle(t *testing.T) {
	for _, tier := range []Tier{TierVM, TierReset} {
		t.Run(string(tier), func(t *testing.T) {
			inPool(t, Spec{Tier: tier, Concurrency: 4, IdleTime: time.Minute}, time.Millisecond, func(t *testing.T, y *yard, p *pool) {
				run(t, get(t, p))
				time.Sleep(59 * time.Second)
				if y.alive.Load() == 0 {
					t.Error("the machines went too early")
				}
				for range 10 { // events keep them
					run(t, get(t, p))
					time.Sleep(30 * time.Second)
				}
				if y.alive.Load() == 0 {
					t.Error("the machines went in spite of events")
				}
				if made := y.made.Load(); tier == TierVM && made > 4+11 {
					t.Errorf("%d machines were made for 11 events", made)
				}
				time.Sleep(2 * time.Minute)
				if st := p.stats(); y.alive.Load() != 0 || st.Alive != 0 {
					t.Errorf("%d machines are kept without events: %+v", y.alive.Load(), st)
				}
				made := y.made.Load()
				time.Sleep(time.Hour)
				if y.made.Load() != made {
					t.Error("machines are made without events")
				}
				run(t, get(t, p))
			})
		})
	}
	// After a burst the machines that are not needed go, the one in use stays.
	inPool(t, Spec{Tier: TierReset, Concurrency: 4, IdleTime: time.Minute}, 0, func(t *testing.T, y *yard, p *pool) {
		all := []*leased{get(t, p), get(t, p), get(t, p)}
		for _, vm := range all {
			run(t, vm)
		}
		for range 5 {
			time.Sleep(30 * time.Second)
			run(t, get(t, p))
		}
		if y.alive.Load() != 1 || y.made.Load() != 3 {
			t.Errorf("%d machines of %d are left", y.alive.Load(), y.made.Load())
		}
	})
	for _, tier := range []Tier{TierVM, TierReset} {
		inPool(t, Spec{Tier: tier, Concurrency: 4}, 0, func(t *testing.T, y *yard, p *pool) {
			run(t, get(t, p))
			if y.alive.Load() != 0 || y.made.Load() != 2 {
				t.Errorf("%s: %d machines are kept with idleTimeout 0", tier, y.alive.Load())
			}
		})
	}
}

func TestPoolDeadline(t *testing.T) {
	inPool(t, Spec{Tier: TierVM, Concurrency: 1, IdleTime: time.Minute}, time.Hour, func(t *testing.T, _ *yard, p *pool) {
		run(t, get(t, p)) // the one that is there
		start := time.Now()
		if _, err := p.Lease(t.Context(), Request{Deadline: start.Add(time.Second)}); !errors.Is(err, ErrTimeout) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		why := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := p.Lease(ctx, Request{}); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
		if _, err := p.Lease(ctx, Request{}); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
		run(t, get(t, p))
		// A deadline that has passed matters only to those who wait.
		time.Sleep(2 * time.Hour)
		run(t, get(t, p))
	})
}

func TestPoolCannotMake(t *testing.T) {
	inPool(t, Spec{Tier: TierVM, Concurrency: 2, IdleTime: time.Minute}, 0, func(t *testing.T, y *yard, p *pool) {
		run(t, get(t, p))
		time.Sleep(time.Second)
		full := errors.New("out of memory")
		y.makeErr.Store(&full)
		run(t, get(t, p))
		run(t, get(t, p))
		if _, err := p.Lease(t.Context(), Request{}); !errors.Is(err, full) || !strings.Contains(err.Error(), "memory") {
			t.Errorf("%v", err)
		}
		if p.stats().Failing != full.Error() {
			t.Errorf("%+v", p.stats())
		}
		// Until the time has come nothing is tried, and events hear why at once.
		y.makeErr.Store(nil)
		start := time.Now()
		if _, err := p.Lease(t.Context(), Request{}); !errors.Is(err, full) || time.Since(start) != 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		time.Sleep(firstRetry)
		run(t, get(t, p))
		if p.stats().Failing != "" {
			t.Errorf("%+v", p.stats())
		}
	})
}

// When the process of a machine dies while it starts, the events that wait for it get
// another one, once.
func TestPoolDied(t *testing.T) {
	inPool(t, Spec{Tier: TierReset, Concurrency: 1}, 0, func(t *testing.T, y *yard, p *pool) {
		clone := p.clone
		die := 0
		p.clone = func() (machine, error) {
			if die--; die >= 0 {
				return nil, fmt.Errorf("make it: %w", &worker.DiedError{How: "was killed"})
			}
			return clone()
		}
		run(t, get(t, p))
		die = 1
		run(t, get(t, p))
		if p.stats().Failing != "" {
			t.Errorf("%+v", p.stats())
		}
		die = 2
		var died *worker.DiedError
		if _, err := p.Lease(t.Context(), Request{}); !errors.As(err, &died) {
			t.Errorf("%v", err)
		}
		if _, err := p.Lease(t.Context(), Request{}); !errors.As(err, &died) || die != 0 {
			t.Errorf("%v, %d left", err, die)
		}
	})
}

// The time between two tries doubles, up to a bound.
func TestPoolBackOff(t *testing.T) {
	inPool(t, Spec{Tier: TierReset, Concurrency: 1}, 0, func(t *testing.T, y *yard, p *pool) {
		run(t, get(t, p))
		broken := errors.New("broken")
		y.makeErr.Store(&broken)
		tries := func(d time.Duration) int64 {
			before := y.tries.Load()
			for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if _, err := p.Lease(t.Context(), Request{}); !errors.Is(err, broken) {
					t.Fatalf("%v", err)
				}
			}
			return y.tries.Load() - before
		}
		if n := tries(time.Minute); n < 8 || n > 14 { // at 0, 0.1, 0.3, 0.7, … 12.7 s, and every 10 s
			t.Errorf("%d tries in the first minute", n)
		}
		if n := tries(10 * time.Minute); n < 58 || n > 61 {
			t.Errorf("%d tries in ten minutes", n)
		}
	})
}

// Many events of every kind at once: never more machines than events and the
// pool, none is used in a wrong way, none is left.
func TestPoolMany(t *testing.T) {
	for _, tier := range []Tier{TierVM, TierReset} {
		t.Run(string(tier), func(t *testing.T) {
			const concurrency = 5
			inPool(t, Spec{Tier: tier, Concurrency: concurrency, IdleTime: 10 * time.Millisecond}, 100*time.Microsecond, func(t *testing.T, y *yard, p *pool) {
				y.resetTakes = 10 * time.Microsecond
				var all sync.WaitGroup
				for worker := range concurrency {
					random := rand.New(rand.NewPCG(1, uint64(worker)))
					all.Go(func() {
						for range 2000 {
							time.Sleep(time.Duration(random.IntN(300)) * time.Microsecond)
							if random.IntN(200) == 0 {
								time.Sleep(20 * time.Millisecond)
							}
							ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.IntN(600))*time.Microsecond)
							vm, err := p.Lease(ctx, Request{Deadline: time.Now().Add(time.Duration(random.IntN(600)) * time.Microsecond)})
							cancel()
							if err != nil {
								continue
							}
							l := vm.(*leased)
							l.machine.(*fake).result = []vmexec.Result{{}, {}, {}, {Status: 1}, {Reason: vmexec.WallLimit}}[random.IntN(5)]
							run(t, l)
						}
					})
				}
				all.Wait()
				bound := int64(concurrency)
				if tier == TierVM {
					bound *= 2
				}
				if y.most.Load() > bound+1 {
					t.Errorf("%d machines at once, want at most %d", y.most.Load(), bound+1)
				}
				t.Logf("%+v, at most %d at once", p.stats(), y.most.Load())
			})
		})
	}
}
