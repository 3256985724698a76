// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"slices"
	"sync"
)

// Crew is the worker processes of one sink that may have several machines each, because
// it has more events at once than it should have processes. The zero value is ready. Its
// methods may be called from several goroutines.
type Crew struct {
	mu       sync.Mutex
	all      []*running
	starting int
}

// Start makes a machine: in a process of its own as long as there are fewer than alone,
// and then in the one that has the fewest, if one has a seat left. c is always that of
// the same sink.
func (w *Crew) Start(ctx context.Context, c Config, alone int) (*Process, error) {
	if c.Seats == 0 {
		return Start(ctx, c)
	}
	w.mu.Lock()
	w.all = slices.DeleteFunc(w.all, (*running).isEnding)
	if len(w.all)+w.starting >= alone {
		// The kernel makes machines of one process no faster on several threads of it:
		// what is in the making counts, so that processes take turns.
		p := &Process{limits: c.Limits, started: !c.Snapshot, state: c.State}
		slices.SortStableFunc(w.all, func(a, b *running) int { return a.count() - b.count() })
		for _, r := range w.all {
			if p.running = r; p.sit() {
				w.mu.Unlock()
				if err := p.join(ctx, c.Used); err != nil {
					return nil, err
				}
				return p, nil
			}
		}
	}
	w.starting++
	w.mu.Unlock()
	p, err := Start(ctx, c)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.starting--
	if err == nil {
		w.all = append(w.all, p.running)
	}
	return p, err
}

func (r *running) isEnding() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ending
}

func (r *running) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.machines
}
