// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

type rig struct {
	*testing.T
	sys *System
	ep  *Epoll
}

func newRig(t *testing.T) *rig {
	sys := &System{}
	return &rig{t, sys, NewEpoll(sys)}
}

func (r *rig) add(d *Description, fd int32, events uint32, want abi.Errno) {
	r.Helper()
	if errno := r.ep.Add(d, fd, EpollEvent{events, uint64(fd)}); errno != want {
		r.Fatalf("Add(%d) = %v, want %v", fd, errno, want)
	}
}

// want collects and compares "data:events" in order.
func (r *rig) want(limit int, want ...string) {
	r.Helper()
	var got []string
	for _, e := range r.ep.Collect(limit) {
		got = append(got, fmt.Sprintf("%d:%#x", e.Data, e.Events))
	}
	if d := cmp.Diff(want, got); d != "" {
		r.Fatalf("ready (-want +got):\n%s", d)
	}
}

func (r *rig) pipe() (rd, wr *Description) {
	a, b := NewPipe(r.sys, 0)
	return NewDescription(a), NewDescription(b)
}

func TestEpollLevel(t *testing.T) {
	r := newRig(t)
	rd, wr := r.pipe()
	r.add(rd, 3, unix.EPOLLIN, abi.OK)
	r.add(rd, 3, unix.EPOLLIN, abi.EEXIST)
	r.want(10)
	wantReady(t, r.ep, 0)
	var w wakes
	r.ep.Queue().Add(&w)
	wantWrite(t, wr, "x", 1, abi.OK)
	if w != 1 {
		t.Errorf("woken %d times", w)
	}
	wantReady(t, r.ep, In)
	r.want(10, "3:0x1")
	r.want(10, "3:0x1")
	wantRead(t, rd, 1, "x", abi.OK)
	r.want(10)
	wantWrite(t, wr, "y", 1, abi.OK)
	r.want(10, "3:0x1")
	wr.Unref()
	r.want(10, "3:0x11")
	if errno := r.ep.Modify(rd, 3, EpollEvent{0, 9}); errno != abi.OK {
		t.Fatal(errno)
	}
	r.want(10, "9:0x10")
	if errno := r.ep.Delete(rd, 3); errno != abi.OK {
		t.Fatal(errno)
	}
	r.want(10)
	for _, errno := range []abi.Errno{r.ep.Delete(rd, 3), r.ep.Modify(rd, 3, EpollEvent{})} {
		if errno != abi.ENOENT {
			t.Errorf("of an absent descriptor: %v, want ENOENT", errno)
		}
	}
	if !rd.Queue().Empty() {
		t.Error("a deleted item is on the queue")
	}
}

func TestEpollEdge(t *testing.T) {
	r := newRig(t)
	rd, wr := r.pipe()
	r.add(rd, 3, unix.EPOLLIN|unix.EPOLLET, abi.OK)
	wantWrite(t, wr, "x", 1, abi.OK)
	r.want(10, "3:0x1")
	r.want(10)
	wantReady(t, r.ep, 0)
	wantWrite(t, wr, "y", 1, abi.OK) // more data is a new edge
	r.want(10, "3:0x1")
	r.want(10)
	r.ep.Modify(rd, 3, EpollEvent{unix.EPOLLIN | unix.EPOLLET, 3}) // re-arms
	r.want(10, "3:0x1")
	r.want(10)
}

func TestEpollOneShot(t *testing.T) {
	r := newRig(t)
	rd, wr := r.pipe()
	r.add(rd, 3, unix.EPOLLIN|unix.EPOLLONESHOT, abi.OK)
	wantWrite(t, wr, "x", 1, abi.OK)
	r.want(10, "3:0x1")
	wantWrite(t, wr, "y", 1, abi.OK)
	wr.Unref()
	r.want(10) // not even the hang-up
	r.ep.Modify(rd, 3, EpollEvent{unix.EPOLLIN | unix.EPOLLONESHOT, 4})
	r.want(10, "4:0x11")
}

// Few at a time, everyone has a turn.
func TestEpollFairness(t *testing.T) {
	r := newRig(t)
	for fd := range int32(5) {
		rd, wr := r.pipe()
		wantWrite(t, wr, "x", 1, abi.OK)
		r.add(rd, fd, unix.EPOLLIN, abi.OK)
	}
	r.want(2, "0:0x1", "1:0x1")
	r.want(2, "2:0x1", "3:0x1")
	r.want(2, "4:0x1", "0:0x1")
	r.want(9, "1:0x1", "2:0x1", "3:0x1", "4:0x1", "0:0x1")
}

func TestEpollRefuses(t *testing.T) {
	r := newRig(t)
	self := NewDescription(r.ep)
	r.add(NewDescription(&countFile{}), 1, unix.EPOLLIN, abi.EPERM)
	r.add(self, 1, unix.EPOLLIN, abi.EINVAL)
	inner := NewDescription(NewEpoll(r.sys))
	r.add(inner, 2, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, abi.EINVAL)
	rd, _ := r.pipe()
	r.add(rd, 3, unix.EPOLLIN|unix.EPOLLEXCLUSIVE|unix.EPOLLONESHOT, abi.EINVAL)
	r.add(rd, 3, unix.EPOLLIN|unix.EPOLLEXCLUSIVE, abi.OK)
	for _, ev := range []uint32{unix.EPOLLIN, unix.EPOLLIN | unix.EPOLLEXCLUSIVE} {
		if errno := r.ep.Modify(rd, 3, EpollEvent{ev, 0}); errno != abi.EINVAL {
			t.Errorf("Modify with EPOLLEXCLUSIVE: %v", errno)
		}
	}
	if errno := r.ep.Modify(self, 1, EpollEvent{}); errno != abi.EINVAL {
		t.Errorf("Modify of itself: %v", errno)
	}
	if errno := r.ep.Delete(self, 1); errno != abi.EINVAL {
		t.Errorf("Delete of itself: %v", errno)
	}
}

// A closed file leaves its sets, but a duplicate keeps it there.
func TestEpollClose(t *testing.T) {
	r := newRig(t)
	tab := NewTable(16)
	rd, wr := NewPipe(r.sys, 0)
	mustInstall(t, tab, rd, false, 3, 3)
	d, _ := tab.Description(3)
	tab.InstallDescription(d, false, 4)
	r.add(d, 3, unix.EPOLLIN, abi.OK)
	r.add(d, 4, unix.EPOLLIN, abi.OK)
	wantWrite(t, wr, "x", 1, abi.OK)
	tab.Close(3)
	r.want(10, "3:0x1", "4:0x1")
	tab.Close(4)
	r.want(10)
	if r.sys.watches != 0 || len(r.ep.items) != 0 {
		t.Errorf("%d watches left", r.sys.watches)
	}
	wantWrite(t, wr, "x", 0, abi.EPIPE)
}

func TestEpollRelease(t *testing.T) {
	r := newRig(t)
	rd, wr := r.pipe()
	r.add(rd, 3, unix.EPOLLIN, abi.OK)
	r.ep.Release()
	wantWrite(t, wr, "x", 1, abi.OK)
	if !rd.Queue().Empty() || rd.items != nil || r.sys.watches != 0 {
		t.Error("the file is still watched")
	}
	rd.Unref()
}

func TestEpollNested(t *testing.T) {
	r := newRig(t)
	sets := []*Description{NewDescription(r.ep)}
	for range 5 {
		sets = append(sets, NewDescription(NewEpoll(r.sys)))
	}
	set := func(i int) *Epoll { return sets[i].File.(*Epoll) }
	in := func(i, j int) abi.Errno { return set(i).Add(sets[j], int32(j), EpollEvent{unix.EPOLLIN, uint64(j)}) }
	for _, tt := range []struct {
		outer, inner int
		want         abi.Errno
	}{
		{3, 4, abi.OK},
		{0, 1, abi.OK},
		{1, 2, abi.OK},
		{2, 0, abi.ELOOP},
		{1, 0, abi.ELOOP},
		{2, 3, abi.OK}, // a chain of five
		{4, 5, abi.ELOOP},
		{4, 0, abi.ELOOP},
		{0, 4, abi.OK}, // two ways to 4
	} {
		if errno := in(tt.outer, tt.inner); errno != tt.want {
			t.Fatalf("set %d watches set %d: %v, want %v", tt.outer, tt.inner, errno, tt.want)
		}
	}
	rd, wr := r.pipe()
	if errno := set(4).Add(rd, 9, EpollEvent{unix.EPOLLIN, 9}); errno != abi.OK {
		t.Fatal(errno)
	}
	var w wakes
	r.ep.Queue().Add(&w)
	wantWrite(t, wr, "x", 1, abi.OK)
	if w != 1 {
		t.Errorf("woken %d times", w)
	}
	r.want(10, "1:0x1", "4:0x1")
	wantRead(t, rd, 1, "x", abi.OK)
	r.want(10)
	wantWrite(t, wr, "x", 1, abi.OK)
	sets[4].Unref()
	r.want(10)
	if r.sys.nestedWatches != 3 || r.sys.watches != 3 {
		t.Errorf("%d watches, %d nested", r.sys.watches, r.sys.nestedWatches)
	}
}

// Sets that watch each other multiply the ways of a wake-up; there is a bound.
func TestEpollNestedLimit(t *testing.T) {
	r := newRig(t)
	for i := range maxNestedWatches {
		r.add(NewDescription(NewEpoll(r.sys)), int32(i), unix.EPOLLIN, abi.OK)
	}
	r.add(NewDescription(NewEpoll(r.sys)), 1000, unix.EPOLLIN, abi.ENOSPC)
}

func TestEpollWatchLimit(t *testing.T) {
	r := newRig(t)
	e := NewDescription(NewEventFD(r.sys, 0, false, 0))
	for i := range maxWatches {
		r.add(e, int32(i), 0, abi.OK)
	}
	r.add(e, maxWatches, 0, abi.ENOSPC)
	e.Unref()
	if r.sys.watches != 0 {
		t.Errorf("%d watches left", r.sys.watches)
	}
}

// FuzzEpoll compares sets with what their files say, over random operations.
func FuzzEpoll(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 0, 0, 3, 0, 1, 5, 0, 0, 3, 0, 1, 4, 0, 0, 5, 0, 0})
	f.Add([]byte{0, 0, 1, 0, 1, 9, 3, 0, 0, 3, 1, 0, 5, 0, 0, 2, 0, 0, 6, 1, 0, 5, 0, 0})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 300 {
			return
		}
		sys := &System{}
		tab := NewTable(8)
		ep := NewEpoll(sys)
		for fd := range int32(4) {
			tab.Install(NewEventFD(sys, 0, false, 0), false, fd)
		}
		level := map[int32]uint32{}
		one := []byte{1, 0, 0, 0, 0, 0, 0, 0}
		for ; len(ops) >= 3; ops = ops[3:] {
			fd, arg := int32(ops[1]%4), ops[2]
			d, errno := tab.Description(fd)
			if errno != abi.OK {
				tab.Install(NewEventFD(sys, 0, false, 0), false, fd)
				continue
			}
			ev := uint32(unix.EPOLLIN) | uint32(arg&1)*unix.EPOLLOUT
			switch ops[0] % 7 {
			case 0:
				if _, in := level[fd]; (ep.Add(d, fd, EpollEvent{ev, uint64(fd)}) == abi.EEXIST) != in {
					t.Fatal("EEXIST is wrong")
				}
				if _, in := level[fd]; !in {
					level[fd] = ev
				}
			case 1:
				_, in := level[fd]
				if (ep.Modify(d, fd, EpollEvent{ev, uint64(fd)}) == abi.OK) != in {
					t.Fatal("Modify is wrong")
				}
				if in {
					level[fd] = ev
				}
			case 2:
				_, in := level[fd]
				if (ep.Delete(d, fd) == abi.OK) != in {
					t.Fatal("Delete is wrong")
				}
				delete(level, fd)
			case 3:
				d.Write(Buffers{one}, CurrentOffset)
			case 4:
				d.Read(Buffers{make([]byte, 8)}, CurrentOffset)
			case 5:
				want := map[int32]uint32{}
				for fd, ev := range level {
					d, _ := tab.Description(fd)
					if got := uint32(d.Readiness()) & ev; got != 0 {
						want[fd] = got
					}
				}
				got := map[int32]uint32{}
				for _, e := range ep.Collect(10) {
					got[int32(e.Data)] = e.Events
				}
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("ready (-want +got):\n%s", d)
				}
				if (ep.Readiness() == In) != (len(want) > 0) {
					t.Fatal("Readiness is wrong")
				}
			case 6:
				tab.Close(fd)
				delete(level, fd)
			}
		}
		tab.CloseAll()
		ep.Release()
		if sys.watches != 0 {
			t.Fatalf("%d watches left", sys.watches)
		}
	})
}

func BenchmarkEpollCollect(b *testing.B) {
	for _, watched := range []int{1, 1000} {
		b.Run(fmt.Sprintf("%dwatched", watched), func(b *testing.B) {
			sys := &System{}
			ep := NewEpoll(sys)
			var e *EventFD
			for i := range watched {
				e = NewEventFD(sys, 0, false, 0)
				ep.Add(NewDescription(e), int32(i), EpollEvent{Events: unix.EPOLLIN})
			}
			v := Buffers{[]byte(le64(1))}
			b.ReportAllocs()
			for b.Loop() {
				e.Write(v, CurrentOffset)
				if len(ep.Collect(8)) != 1 {
					b.Fatal("not ready")
				}
				e.Read(v, CurrentOffset)
			}
		})
	}
}
