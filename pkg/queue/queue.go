// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package queue bounds how many events of one sink run at once and how many
// wait, first come first served.
package queue

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Config bounds a queue.
type Config struct {
	// Concurrency is the number of slots: events that run at once. At least 1.
	Concurrency int
	// Length is the most events that wait for a slot. Zero means that an event
	// that finds no slot is refused.
	Length int
	// Timeout is the longest time an event waits. Zero means no limit but the
	// event's own deadline.
	Timeout time.Duration
}

// ErrTimeout says that no slot came free within Config.Timeout.
var ErrTimeout = errors.New("no slot came free within the queue timeout")

// FullError says that every place of the queue is taken.
type FullError struct {
	Running, Waiting int           // what the queue held
	RetryAfter       time.Duration // when a place is expected to be free
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the queue is full: %d running, %d waiting", e.Running, e.Waiting)
}

// Stats is a snapshot of a queue.
type Stats struct {
	Running  int    `json:"running"`  // slots in use
	Waiting  int    `json:"waiting"`  // events that wait for a slot
	Started  uint64 `json:"started"`  // slots given since the start
	Refused  uint64 `json:"refused"`  // found the queue full
	TimedOut uint64 `json:"timedOut"` // waited for Config.Timeout in vain
	Canceled uint64 `json:"canceled"` // went away while waiting
}

// Queue hands out slots. Its methods may be called from several goroutines.
type Queue struct {
	mu      sync.Mutex
	config  Config
	waiters list.List     // of *waiter, the first to come in front
	stats   Stats         // Waiting is computed
	service time.Duration // moving average of how long a slot is held
	now     func() time.Time
}

type waiter struct {
	granted chan struct{} // closed when the waiter owns a slot
}

// New makes a queue.
func New(c Config) *Queue {
	q := &Queue{config: clean(c), now: time.Now}
	q.waiters.Init()
	return q
}

func clean(c Config) Config {
	c.Concurrency = max(1, c.Concurrency)
	c.Length = max(0, c.Length)
	c.Timeout = max(0, c.Timeout)
	return c
}

// Configure changes the bounds. What runs or waits stays, even where the new
// bounds are smaller.
func (q *Queue) Configure(c Config) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.config = clean(c)
	q.grant()
}

// Acquire waits for a slot and returns the function that gives it back, which
// must be called once. The error is a *FullError, ErrTimeout, or that of a
// context that is done; the caller has no slot then.
func (q *Queue) Acquire(ctx context.Context) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	q.mu.Lock()
	if q.stats.Running < q.config.Concurrency && q.waiters.Len() == 0 {
		q.take()
		q.mu.Unlock()
		return q.releaser(), nil
	}
	if q.waiters.Len() >= q.config.Length {
		q.stats.Refused++
		err := &FullError{Running: q.stats.Running, Waiting: q.waiters.Len(), RetryAfter: q.retryAfter()}
		q.mu.Unlock()
		return nil, err
	}
	w := &waiter{granted: make(chan struct{})}
	place := q.waiters.PushBack(w)
	timeout := q.config.Timeout
	q.mu.Unlock()

	var expired <-chan time.Time
	var timedOut bool
	if timeout > 0 {
		t := time.NewTimer(timeout)
		defer t.Stop()
		expired = t.C
	}
	select {
	case <-w.granted:
		return q.releaser(), nil
	case <-expired:
		err, timedOut = ErrTimeout, true
	case <-ctx.Done():
		err = context.Cause(ctx)
	}

	q.mu.Lock()
	select {
	case <-w.granted:
		// The slot came at the same moment. An event that merely waited too
		// long may still use it; one that is gone passes it on.
		if timedOut {
			q.mu.Unlock()
			return q.releaser(), nil
		}
		q.stats.Running--
		q.stats.Started--
		q.grant()
	default:
		q.waiters.Remove(place)
	}
	if timedOut {
		q.stats.TimedOut++
	} else {
		q.stats.Canceled++
	}
	q.mu.Unlock()
	return nil, err
}

// take gives a slot. q.mu is held.
func (q *Queue) take() {
	q.stats.Running++
	q.stats.Started++
}

// grant gives free slots to those who wait, in their order. q.mu is held.
func (q *Queue) grant() {
	for q.stats.Running < q.config.Concurrency {
		front := q.waiters.Front()
		if front == nil {
			return
		}
		q.waiters.Remove(front)
		q.take()
		close(front.Value.(*waiter).granted)
	}
}

func (q *Queue) releaser() func() {
	start := q.now()
	return sync.OnceFunc(func() {
		held := q.now().Sub(start)
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.service == 0 {
			q.service = held
		} else {
			q.service += (held - q.service) / 8
		}
		q.stats.Running--
		q.grant()
	})
}

// RetryAfter estimates when a place will be free: the slots pass on at the
// average rate of the last events, and nobody waits longer than Config.Timeout.
// It is at least a second, the smallest step of the Retry-After header.
func (q *Queue) RetryAfter() time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.retryAfter()
}

func (q *Queue) retryAfter() time.Duration {
	waiting := q.waiters.Len()
	wait := q.service * time.Duration(waiting+1) / time.Duration(q.config.Concurrency)
	if q.config.Timeout > 0 && waiting > 0 && (wait > q.config.Timeout || q.service == 0) {
		wait = q.config.Timeout
	}
	return max(time.Second, wait)
}

// Stats returns a snapshot.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.stats
	s.Waiting = q.waiters.Len()
	return s
}
