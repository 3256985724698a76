// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package waitq

import (
	"slices"
	"testing"
)

// again is a waiter that holds its entry and stays on the queue when it is woken.
type again struct {
	e     Entry
	q     *Queue
	woken int
}

func (a *again) Wake() {
	a.woken++
	a.q.Insert(&a.e, a)
}

func TestInsertAndEach(t *testing.T) {
	var q Queue
	q.Each(func(Waiter) { t.Error("a waiter in an empty queue") })
	a, b := &again{q: &q}, &again{q: &q}
	q.Insert(&a.e, a)
	q.Insert(&b.e, b)
	for range 3 {
		q.WakeAll()
	}
	if a.woken != 3 || b.woken != 3 {
		t.Errorf("woken %d and %d times, want 3", a.woken, b.woken)
	}
	a.e.Remove()
	q.Insert(&a.e, a)
	var got []Waiter
	q.Each(func(w Waiter) { got = append(got, w) })
	if !slices.Equal(got, []Waiter{b, a}) {
		t.Errorf("order %v, want b, a", got)
	}
}
