// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package waitq holds lists of waiters for events inside one VM. A VM's kernel
// is single-threaded, so nothing here is locked: a wake-up that begins on another
// goroutine is posted to the run loop first.
package waitq

// Waiter is told when an event it waits for may have come.
//
// A waiter may be on several queues, and several times on one. Being woken by one
// queue takes it off that queue only: a thread that waits for any of several
// events removes its other entries itself, and one that wants every event adds
// itself again, also from within Wake.
type Waiter interface {
	// Wake is called at most once for each time the waiter was added to a Queue;
	// that entry is no longer on the queue then. A wake-up is a hint: the waiter
	// looks again at what it waits for. Wake may add to and remove from any queue.
	Wake()
}

// Selective is a waiter that cares for some events only.
type Selective interface {
	Waiter
	// WakeFor is Wake for the events of a set (poll(2) conditions); see Queue.WakeFor.
	WakeFor(events uint32)
}

// Entry is one waiter on one queue. The zero value is on none.
type Entry struct {
	w          Waiter
	prev, next *Entry // nil when on no queue
}

// Remove takes the entry off its queue in constant time; its waiter will not be
// woken by it, even when a WakeAll is under way. It does nothing when the entry
// was woken or removed before, or is nil.
func (e *Entry) Remove() {
	if e == nil || e.next == nil {
		return
	}
	e.prev.next, e.next.prev = e.next, e.prev
	e.prev, e.next = nil, nil
}

// Queue is a list of waiters, woken in the order they came. The zero value is
// empty. A Queue must not be copied once it was used.
type Queue struct {
	ring Entry // sentinel of a circular list; not linked before the first Add
}

// Add puts w at the end of the queue and returns its entry, which a caller that
// leaves early removes.
func (q *Queue) Add(w Waiter) *Entry {
	e := &Entry{}
	q.Insert(e, w)
	return e
}

// Insert is Add for an entry that the caller holds, for instance as a part of the
// waiter. The entry must be on no queue.
func (q *Queue) Insert(e *Entry, w Waiter) {
	if q.ring.next == nil {
		q.ring.next, q.ring.prev = &q.ring, &q.ring
	}
	e.w, e.prev, e.next = w, q.ring.prev, &q.ring
	e.prev.next, e.next.prev = e, e
}

// Each calls f for every waiter in order. f must not change the queue.
func (q *Queue) Each(f func(Waiter)) {
	for e := q.ring.next; e != nil && e != &q.ring; e = e.next {
		f(e.w)
	}
}

// Remove takes the first entry of w off the queue, if there is one. It searches
// the queue; keep the Entry and use its Remove where queues are long.
func (q *Queue) Remove(w Waiter) {
	for e := q.ring.next; e != nil && e != &q.ring; e = e.next {
		if e.w == w {
			e.Remove()
			return
		}
	}
}

// WakeAll empties the queue and wakes everyone who was on it, in order. Those who
// are added meanwhile stay for the next time. Call it after the change that it
// tells of: waiters look at once.
func (q *Queue) WakeAll() { q.WakeFor(0) }

// WakeFor is WakeAll that tells those waiters that are Selective what happened, a
// set of poll(2) conditions: not everyone who waits for room cares for data. An
// empty set is anything.
func (q *Queue) WakeFor(events uint32) {
	if q.Empty() {
		return
	}
	// The entries move to a ring of their own, so that Wake can add to the queue
	// without being woken again and can remove entries that were not reached yet.
	var woken Entry
	woken.next, woken.prev = q.ring.next, q.ring.prev
	woken.next.prev, woken.prev.next = &woken, &woken
	q.ring.next, q.ring.prev = &q.ring, &q.ring
	for woken.next != &woken {
		e := woken.next
		e.Remove()
		if s, ok := e.w.(Selective); ok && events != 0 {
			s.WakeFor(events)
			continue
		}
		e.w.Wake()
	}
}

// Empty reports whether nobody waits.
func (q *Queue) Empty() bool { return q.ring.next == nil || q.ring.next == &q.ring }
