// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package waitq holds lists of waiters for events inside one VM. A VM's kernel
// is single-threaded, so nothing here is locked.
package waitq

// Waiter is told when an event it waits for may have come.
type Waiter interface {
	// Wake is called at most once for each time it was added to a Queue; the
	// waiter is no longer on the queue then.
	Wake()
}

// Queue is a list of waiters, woken in the order they came. The zero value is empty.
type Queue struct {
	waiters []Waiter
}

// Add puts w at the end of the queue. A waiter may be on several queues.
func (q *Queue) Add(w Waiter) { q.waiters = append(q.waiters, w) }

// Remove takes w off the queue, if it is there.
func (q *Queue) Remove(w Waiter) {
	for i, x := range q.waiters {
		if x == w {
			q.waiters = append(q.waiters[:i], q.waiters[i+1:]...)
			return
		}
	}
}

// WakeAll empties the queue and wakes everyone who was on it.
func (q *Queue) WakeAll() {
	ws := q.waiters
	q.waiters = nil
	for _, w := range ws {
		w.Wake()
	}
}

// Empty reports whether nobody waits.
func (q *Queue) Empty() bool { return len(q.waiters) == 0 }
