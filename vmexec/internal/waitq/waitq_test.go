// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package waitq

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type waiter struct {
	name string
	log  *[]string
	then func()
}

func (w *waiter) Wake() {
	*w.log = append(*w.log, w.name)
	if w.then != nil {
		w.then()
	}
}

func TestWakeOrderAndOnce(t *testing.T) {
	var q Queue
	var log []string
	a, b, c := &waiter{name: "a", log: &log}, &waiter{name: "b", log: &log}, &waiter{name: "c", log: &log}
	if !q.Empty() {
		t.Fatal("the zero queue is not empty")
	}
	q.WakeAll()
	q.Remove(a)
	q.Add(a)
	e := q.Add(b)
	q.Add(c)
	q.Add(a)
	e.Remove()
	e.Remove()
	(*Entry)(nil).Remove()
	if q.Empty() {
		t.Fatal("the queue is empty after Add")
	}
	q.WakeAll()
	q.WakeAll()
	if d := cmp.Diff([]string{"a", "c", "a"}, log); d != "" {
		t.Errorf("woken (-want +got):\n%s", d)
	}
	if !q.Empty() {
		t.Error("the queue is not empty after WakeAll")
	}
}

func TestRemoveFirstEntryOnly(t *testing.T) {
	var q Queue
	var log []string
	a, b := &waiter{name: "a", log: &log}, &waiter{name: "b", log: &log}
	q.Add(a)
	q.Add(b)
	q.Add(a)
	q.Remove(a)
	q.WakeAll()
	if d := cmp.Diff([]string{"b", "a"}, log); d != "" {
		t.Errorf("woken (-want +got):\n%s", d)
	}
}

// A waiter may change the queue that wakes it.
func TestChangesWithinWake(t *testing.T) {
	var q, other Queue
	var log []string
	var eb *Entry
	a := &waiter{name: "a", log: &log}
	b := &waiter{name: "b", log: &log}
	c := &waiter{name: "c", log: &log}
	a.then = func() {
		q.Add(a) // for the next time, not for this one
		eb.Remove()
		if len(log) == 1 {
			q.WakeAll() // nested: reaches a only, since c is being woken already
		}
	}
	c.then = func() { other.Add(c) }
	q.Add(a)
	eb = q.Add(b)
	q.Add(c)
	q.WakeAll()
	if d := cmp.Diff([]string{"a", "a", "c"}, log); d != "" {
		t.Errorf("woken (-want +got):\n%s", d)
	}
	if q.Empty() || other.Empty() {
		t.Error("waiters that were added within Wake are not on their queues")
	}
}

func BenchmarkQueueAddRemove(b *testing.B) {
	var q Queue
	var log []string
	w := &waiter{log: &log}
	for range 1000 {
		q.Add(w)
	}
	b.ReportAllocs()
	for b.Loop() {
		q.Add(w).Remove()
	}
}

// selective notes what it was woken for.
type selective struct {
	got []uint32
}

func (s *selective) Wake()             { s.got = append(s.got, 0) }
func (s *selective) WakeFor(ev uint32) { s.got = append(s.got, ev) }

// TestWakeFor holds that who is Selective hears what happened, and others only that
// something did.
func TestWakeFor(t *testing.T) {
	var q Queue
	var s selective
	for _, ev := range []uint32{1, 4, 0} {
		q.Add(&s)
		q.WakeFor(ev)
	}
	q.Add(&s)
	q.WakeAll()
	if want := []uint32{1, 4, 0, 0}; !slices.Equal(s.got, want) || !q.Empty() {
		t.Errorf("woken for %v, want %v", s.got, want)
	}
}
