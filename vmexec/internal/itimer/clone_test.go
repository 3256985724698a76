// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package itimer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// rig is a process with timers on a world, and a wall clock and a processor clock
// set apart from it. (Of a slower one, when a timer is looked at would matter.)
type rig struct {
	world
	set  Set
	wall int64 // what the wall clock is ahead of the monotonic one
	log  []string
}

func (r *rig) bind(id int32, p *POSIX) (now func() int64, fire func(int64)) {
	name := fmt.Sprintf("itimer %d", id)
	now = func() int64 { return r.now - 5*ms }
	if p == nil && id == Real || p != nil && p.Clock == 1 {
		now = r.Monotonic
	}
	if p != nil {
		name = fmt.Sprintf("timer %d", id)
		if p.Clock == 0 {
			now = func() int64 { return r.now + r.wall }
		}
	}
	return now, func(overruns int64) {
		if p == nil {
			r.log = append(r.log, fmt.Sprintf("%d %s %d", r.now, name, overruns))
			return
		}
		send := p.Expired(overruns, r.now/7%2 == 0)
		r.log = append(r.log, fmt.Sprintf("%d %s %v %v", r.now, name, overruns, send))
	}
}

func (r *rig) itimer(which int32) *Timer {
	slot := []**Timer{&r.set.Real, &r.set.Virtual, &r.set.Prof}[which]
	if *slot == nil {
		*slot = New(r, nil, nil)
		(*slot).now, (*slot).fire = r.bind(which, nil)
	}
	return *slot
}

func (r *rig) create(clock int32) {
	p := &POSIX{Clock: clock}
	p.Timer = New(r, nil, nil)
	p.Wall = clock == 0
	id, _ := r.set.Add(p)
	p.now, p.fire = r.bind(id, p)
}

func (r *rig) clone() *rig {
	n := &rig{world: world{now: r.now}, wall: r.wall}
	n.set = r.set.Clone(n, n.bind)
	return n
}

// step does one operation of a random program. Deadlines are never the same.
func (r *rig) step(op, arg int64, odd int64) {
	id := int32(arg % 5)
	p := r.set.POSIX(id)
	switch op {
	case 0:
		r.itimer(int32(arg%3)).SetAfter(arg%50*ms+odd, arg%3*ms)
	case 1:
		if p == nil {
			r.create(int32(arg % 3))
		} else {
			r.set.Delete(id)
		}
	case 2:
		if p != nil {
			p.RearmAfter(arg%50*ms+odd, arg%4*ms)
		}
	case 3:
		if p != nil {
			p.Rearm(p.Later(arg%50*ms+odd), arg%4*ms)
		}
	case 4:
		r.advance(r.now + arg%40*ms + 1)
	case 5:
		for which := range int32(3) {
			left, interval := r.itimer(which).Get()
			r.log = append(r.log, fmt.Sprint(which, left, interval))
		}
		if p != nil {
			left, interval := p.Get()
			r.log = append(r.log, fmt.Sprint(id, left, interval, p.Overruns(false)))
		}
	}
}

// A clone goes on as its source does, whatever was done before, and what one does
// later is nothing to the other.
func TestCloneGoesOn(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := &rig{world: world{now: 10 * ms}, wall: 1e18}
		for i := range int64(40) {
			r.step(random.Int64N(6), random.Int64N(1000), i)
		}
		frozen := r.clone()
		cut := len(r.log)
		c := frozen.clone()
		for i := range int64(40) {
			op, arg := random.Int64N(6), random.Int64N(1000)
			r.step(op, arg, 40+i)
			c.step(op, arg, 40+i)
		}
		if d := cmp.Diff(r.log[cut:], c.log); d != "" {
			t.Fatalf("seed %d: the clone did otherwise (-source +clone):\n%s", seed, d)
		}
		if len(frozen.log) != 0 {
			t.Fatalf("seed %d: the frozen set moved: %v", seed, frozen.log)
		}
	}
}

// In a clone that starts much later the wall clock has jumped: absolute times of it
// have passed, times from then have not.
func TestCloneWallClock(t *testing.T) {
	r := &rig{wall: 1e18}
	r.create(0)
	r.create(0)
	r.set.POSIX(0).RearmAfter(5*ms, 0)
	r.set.POSIX(1).Rearm(1e18+5*ms, 0)
	n := &rig{world: world{now: 1 * ms}, wall: 2e18}
	n.set = r.set.Clone(n, n.bind)
	if left, _ := n.set.POSIX(0).Get(); left != 4*ms {
		t.Errorf("%d ns left, want 4 ms", left)
	}
	n.advance(10 * ms)
	want := []string{"1000000 timer 1 0 true", "5000000 timer 0 0 true"}
	if d := cmp.Diff(want, n.log); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestCloneEmpty(t *testing.T) {
	var s Set
	w := &world{}
	n := s.Clone(w, nil)
	if n.Real != nil || n.Virtual != nil || n.Prof != nil || n.posix != nil || w.next != 0 {
		t.Errorf("clone of nothing: %+v", n)
	}
	if a := testing.AllocsPerRun(100, func() { _ = s.Clone(w, nil) }); a != 0 {
		t.Errorf("%v allocations for nothing", a)
	}
}

// Clones of one set are made and used at the same time; for the race detector.
func TestCloneConcurrently(t *testing.T) {
	r := &rig{}
	r.itimer(Real).SetAfter(2*ms, ms)
	for i := range 5 {
		r.create(int32(i % 3))
		r.set.POSIX(int32(i)).RearmAfter(int64(i+3)*ms+int64(i+1), ms)
	}
	logs := make([][]string, 4)
	var wg sync.WaitGroup
	for i := range logs {
		wg.Go(func() {
			c := r.clone()
			c.advance(20 * ms)
			logs[i] = c.log
		})
	}
	wg.Wait()
	for _, l := range logs[1:] {
		if !slices.Equal(l, logs[0]) || len(l) == 0 {
			t.Errorf("clones differ: %v, %v", logs[0], l)
		}
	}
}

func BenchmarkClone(b *testing.B) {
	for _, timers := range []int{0, 1, 3} {
		b.Run(fmt.Sprint(timers), func(b *testing.B) {
			r := &rig{}
			for i := range timers {
				r.create(1)
				r.set.POSIX(int32(i)).RearmAfter(ms, ms)
			}
			n := &rig{}
			b.ReportAllocs()
			for b.Loop() {
				clear(n.alarms)
				_ = r.set.Clone(n, n.bind)
			}
		})
	}
}
