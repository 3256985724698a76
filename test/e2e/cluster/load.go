// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Load is a sender of events that wants each of them taken.
type Load struct {
	URL string
	// Event makes the event of a number, counted from 0.
	Event func(i int) Event
	// Rate is how many events a second are begun at most.
	Rate int
	// InFlight is how many wait for their answer at most. It bounds what a machine that
	// is too slow for Rate has to do at once: the load is then slower, and not larger.
	InFlight int
	// Again is how often an event is sent again that was not taken, a second later each
	// time. 0 shows what a sender without patience would lose.
	Again int

	begun, taken atomic.Int64
}

// Result is what became of the events of a Load.
type Result struct {
	Events  int           // begun
	Refused []string      // of those that were never taken: number and reason
	Again   int           // attempts that were not the first of an event
	First   string        // why the first of these was needed
	Longest time.Duration // from the first attempt to the answer
	Took    time.Duration // from the first event to the last answer
}

func (r Result) String() string {
	s := fmt.Sprintf("%d events in %v (%.0f a second), %d sent again, longest answer %v", r.Events,
		r.Took.Round(time.Millisecond), float64(r.Events)/r.Took.Seconds(), r.Again, r.Longest.Round(time.Millisecond))
	if r.First != "" {
		s += ", first failure: " + r.First
	}
	return s
}

// Begun is how many events were begun so far.
func (l *Load) Begun() int { return int(l.begun.Load()) }

// Taken is how many events were taken so far.
func (l *Load) Taken() int { return int(l.taken.Load()) }

// Run sends events as long as more says so, and returns when all are answered or given up.
func (l *Load) Run(ctx context.Context, more func(begun int) bool) Result {
	var (
		mu     sync.Mutex
		result Result
		wg     sync.WaitGroup
	)
	places := make(chan struct{}, l.InFlight)
	ticker := time.NewTicker(time.Second / time.Duration(l.Rate))
	defer ticker.Stop()
	start := time.Now()
	for i := 0; ctx.Err() == nil && more(i); i++ {
		<-ticker.C
		places <- struct{}{}
		l.begun.Add(1)
		wg.Go(func() {
			defer func() { <-places }()
			began := time.Now()
			again, err := l.send(ctx, i, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				if result.First == "" {
					result.First = fmt.Sprintf("event %d: %v", i, err)
				}
			})
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			result.Again += again
			result.Longest = max(result.Longest, took)
			if err != nil {
				result.Refused = append(result.Refused, fmt.Sprintf("event %d, after %v: %v", i, took.Round(time.Millisecond), err))
				return
			}
			l.taken.Add(1)
		})
	}
	wg.Wait()
	result.Events, result.Took = l.Begun(), time.Since(start)
	return result
}

// send sends an event until it is taken, and returns how often it was sent again.
func (l *Load) send(ctx context.Context, i int, failed func(error)) (again int, err error) {
	e := l.Event(i)
	for {
		code, body, err := Send(ctx, l.URL, e)
		if err == nil && code/100 != 2 {
			err = fmt.Errorf("%d: %.200s", code, body)
		}
		if err == nil {
			return again, nil
		}
		failed(err)
		if again == l.Again {
			return again, err
		}
		again++
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return again, err
		}
	}
}
