// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import "container/heap"

// timer calls a function on the loop at a point of the monotonic clock.
type timer struct {
	deadline int64
	f        func()
	index    int // in the heap; -1 when it is not there
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].deadline < h[j].deadline }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

func (k *Kernel) after(deadline int64, f func()) *timer {
	t := &timer{deadline: deadline, f: f}
	heap.Push(&k.timers, t)
	return t
}

func (k *Kernel) cancel(t *timer) {
	if t.index < 0 {
		return
	}
	heap.Remove(&k.timers, t.index)
}

// After calls f once on the loop when Clock.Monotonic reaches the deadline,
// never before After has returned. stop prevents that.
func (k *Kernel) After(deadline int64, f func()) (stop func()) {
	t := k.after(deadline, f)
	return func() { k.cancel(t) }
}

// expire calls the functions whose time has come by now, and reports whether there
// were any.
func (k *Kernel) expire(now int64) (some bool) {
	for len(k.timers) > 0 && k.timers[0].deadline <= now {
		t := heap.Pop(&k.timers).(*timer)
		t.f()
		some = true
	}
	return some
}
