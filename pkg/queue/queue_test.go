// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package queue

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// waitFor waits until the queue shows what cond asks for.
func waitFor(t *testing.T, q *Queue, cond func(Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !cond(q.Stats()); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("the queue stays at %+v", q.Stats())
		}
	}
}

func acquire(t *testing.T, q *Queue) func() {
	t.Helper()
	release, err := q.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func TestFIFO(t *testing.T) {
	q := New(Config{Concurrency: 1, Length: 10})
	first := acquire(t, q)
	var mu sync.Mutex
	var order []int
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			release, err := q.Acquire(context.Background())
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			release()
		})
		waitFor(t, q, func(s Stats) bool { return s.Waiting == i+1 })
	}
	first()
	wg.Wait()
	for i, got := range order {
		if i != got {
			t.Fatalf("order %v", order)
		}
	}
}

func TestFull(t *testing.T) {
	q := New(Config{Concurrency: 1, Length: 1, Timeout: 7 * time.Second})
	first := acquire(t, q)
	done := make(chan func())
	go func() { done <- acquire(t, q) }()
	waitFor(t, q, func(s Stats) bool { return s.Waiting == 1 })
	_, err := q.Acquire(context.Background())
	var full *FullError
	if !errors.As(err, &full) || full.Running != 1 || full.Waiting != 1 {
		t.Fatalf("error %v", err)
	}
	if full.RetryAfter != 7*time.Second {
		t.Errorf("retry after %v; no event has ended, so only the timeout is certain", full.RetryAfter)
	}
	first()
	(<-done)()
	if s := q.Stats(); s.Refused != 1 || s.Started != 2 || s.Running != 0 {
		t.Errorf("%+v", s)
	}
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		name    string
		config  Config
		service time.Duration
		waiting int
		want    time.Duration
	}{
		{"fast", Config{Concurrency: 4, Length: 9}, time.Millisecond, 9, time.Second},
		{"slow", Config{Concurrency: 2, Length: 9}, 4 * time.Second, 9, 20 * time.Second},
		{"timeout bounds", Config{Concurrency: 2, Length: 9, Timeout: 5 * time.Second}, 4 * time.Second, 9, 5 * time.Second},
		{"no queue", Config{Concurrency: 2, Timeout: 5 * time.Second}, 12 * time.Second, 0, 6 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := New(tt.config)
			q.service = tt.service
			for range tt.waiting {
				q.waiters.PushBack(&waiter{granted: make(chan struct{})})
			}
			if got := q.RetryAfter(); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestServiceTime(t *testing.T) {
	q := New(Config{Concurrency: 1})
	var clock time.Time
	q.now = func() time.Time { return clock }
	for range 3 {
		release := acquire(t, q)
		clock = clock.Add(4 * time.Second)
		release()
	}
	if q.service != 4*time.Second {
		t.Errorf("service time %v", q.service)
	}
}

func TestTimeout(t *testing.T) {
	q := New(Config{Concurrency: 1, Length: 1, Timeout: time.Millisecond})
	release := acquire(t, q)
	if _, err := q.Acquire(context.Background()); !errors.Is(err, ErrTimeout) {
		t.Fatalf("error %v", err)
	}
	release()
	if s := q.Stats(); s.TimedOut != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
	acquire(t, q)()
}

func TestCancelRemovesWaiter(t *testing.T) {
	q := New(Config{Concurrency: 1, Length: 5})
	release := acquire(t, q)
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(context.Background())
	result := make(chan error)
	go func() {
		_, err := q.Acquire(ctx)
		result <- err
	}()
	waitFor(t, q, func(s Stats) bool { return s.Waiting == 1 })
	cancel(gone)
	if err := <-result; !errors.Is(err, gone) {
		t.Fatalf("error %v", err)
	}
	if s := q.Stats(); s.Waiting != 0 || s.Canceled != 1 {
		t.Errorf("%+v", s)
	}
	if _, err := q.Acquire(ctx); !errors.Is(err, gone) {
		t.Errorf("a done context got %v", err)
	}
	release()
	release() // a second call changes nothing
	if s := q.Stats(); s.Running != 0 {
		t.Errorf("%+v", s)
	}
}

func TestConfigure(t *testing.T) {
	q := New(Config{Concurrency: 1, Length: 5})
	releases := []func(){acquire(t, q)}
	got := make(chan func())
	for range 2 {
		go func() { got <- acquire(t, q) }()
	}
	waitFor(t, q, func(s Stats) bool { return s.Waiting == 2 })
	q.Configure(Config{Concurrency: 3})
	releases = append(releases, <-got, <-got)
	q.Configure(Config{Concurrency: 1})
	for _, r := range releases[:2] {
		r()
	}
	if _, err := q.Acquire(context.Background()); err == nil {
		t.Error("a slot beyond the smaller bound was given")
	}
	releases[2]()
	acquire(t, q)()
}

// Slots are never lost and never doubled, whoever comes, goes and gives up.
func TestRace(t *testing.T) {
	const concurrency = 3
	q := New(Config{Concurrency: concurrency, Length: 20, Timeout: 2 * time.Millisecond})
	var running, most, served atomic.Int64
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 1))
			for range 300 {
				ctx, cancel := context.WithCancel(context.Background())
				if r.IntN(3) == 0 {
					go func() { runtime.Gosched(); cancel() }()
				}
				release, err := q.Acquire(ctx)
				if err == nil {
					n := running.Add(1)
					for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
					}
					if r.IntN(4) == 0 {
						time.Sleep(50 * time.Microsecond)
					}
					running.Add(-1)
					served.Add(1)
					release()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	s := q.Stats()
	if s.Running != 0 || s.Waiting != 0 || most.Load() > concurrency {
		t.Errorf("%+v, most %d", s, most.Load())
	}
	if s.Started != uint64(served.Load()) {
		t.Errorf("started %d, served %d", s.Started, served.Load())
	}
	acquire(t, q)()
}
