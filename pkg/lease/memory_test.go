// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kontain.dev/eventing/vmexec"
)

const mib = 1 << 20

// pools makes pools of machines of so many MiB that share a memory of limit MiB.
func pools(t *testing.T, limit uint64, tier Tier, sizes ...uint64) (*Memory, []*pool, func()) {
	memory := NewMemory(limit * mib)
	w := NewWorkers(nil, Options{Memory: memory})
	var all []*pool
	for _, n := range sizes {
		y := &yard{}
		all = append(all, newPool(w, y.clone, nil, Spec{Tier: tier, Concurrency: 2, IdleTime: time.Hour, Limits: vmexec.Limits{Memory: n * mib}}, false))
	}
	return memory, all, func() {
		for _, p := range all {
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		w.Close()
		if st := memory.Stats(); st.Reserved != 0 {
			t.Errorf("%+v", st)
		}
	}
}

// Machines that wait for an event give way to an event that waits for a machine,
// the sink first that has had no event for the longest time.
func TestMemoryEvicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, p, end := pools(t, 100, TierReset, 40, 40, 40)
		defer end()
		for _, p := range p[:2] {
			run(t, get(t, p))
			time.Sleep(time.Second)
		}
		if st := memory.Stats(); st.Reserved != 80*mib {
			t.Fatalf("%+v", st)
		}
		run(t, get(t, p[2]))
		if a, b, c := p[0].stats().Alive, p[1].stats().Alive, p[2].stats().Alive; a != 0 || b != 1 || c != 1 {
			t.Errorf("%d, %d and %d machines are left, want 0, 1 and 1", a, b, c)
		}
		// The first one comes back when it is needed.
		run(t, get(t, p[0]))
		if a, b, c := p[0].stats().Alive, p[1].stats().Alive, p[2].stats().Alive; a != 1 || b != 0 || c != 1 {
			t.Errorf("%d, %d and %d machines are left, want 1, 0 and 1", a, b, c)
		}
	})
}

// What is prepared ahead takes nothing from others.
func TestMemoryAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, p, end := pools(t, 100, TierVM, 30, 30)
		defer end()
		run(t, get(t, p[0]))
		time.Sleep(time.Minute)
		run(t, get(t, p[1]))
		time.Sleep(time.Minute)
		if st := memory.Stats(); st.Reserved > 100*mib || p[0].stats().Alive != 2 || p[1].stats().Alive != 1 {
			t.Errorf("%+v, %+v, %+v", st, p[0].stats(), p[1].stats())
		}
	})
}

// Events wait while all memory is in use, and no longer than they may.
func TestMemoryWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory, p, end := pools(t, 50, TierVM, 40, 40)
		defer end()
		vm := get(t, p[0])
		start := time.Now()
		if _, err := p[1].Lease(t.Context(), Request{Deadline: start.Add(time.Second)}); !errors.Is(err, ErrTimeout) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if err := memory.await(t.Context(), 20*mib, time.Now().Add(time.Second)); !errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if err := memory.await(ctx, 20*mib, time.Time{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		time.AfterFunc(time.Second, func() { run(t, vm) })
		run(t, get(t, p[1]))
		if n := len(memory.short); n != 0 {
			t.Errorf("%d wait", n)
		}
	})
}

func TestMemoryFits(t *testing.T) {
	if err := NewMemory(10 * mib).fits(11 * mib); err == nil || !strings.Contains(err.Error(), "11 MiB") || !strings.Contains(err.Error(), "--memory") {
		t.Error(err)
	}
	if err := NewMemory(10 * mib).fits(10 * mib); err != nil {
		t.Error(err)
	}
}

// Many sinks in little memory: never more is reserved than there is, every event
// gets its machine, and nothing is left.
func TestMemoryMany(t *testing.T) {
	for _, tier := range []Tier{TierVM, TierReset} {
		synctest.Test(t, func(t *testing.T) {
			memory, pools, end := pools(t, 100, tier, 10, 20, 30, 40, 50, 60)
			defer end()
			var all sync.WaitGroup
			var most atomic.Int64
			for i, p := range pools {
				for worker := range 2 {
					random := rand.New(rand.NewPCG(uint64(i), uint64(worker)))
					all.Go(func() {
						for range 300 {
							time.Sleep(time.Duration(random.IntN(1000)) * time.Microsecond)
							vm := get(t, p)
							time.Sleep(time.Duration(random.IntN(500)) * time.Microsecond)
							raise(&most, int64(memory.Stats().Reserved))
							run(t, vm)
						}
					})
				}
			}
			all.Wait()
			if n := most.Load(); n > 100*mib || n < 60*mib {
				t.Errorf("%d MiB were reserved at once", n/mib)
			}
		})
	}
}
