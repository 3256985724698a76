// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Limits of epoll sets.
const (
	epollDepth = 5 // epoll sets in a chain, as Linux
	// maxWatches bounds the memory of all sets of a VM (Linux: max_user_watches).
	maxWatches = 1 << 16
	// maxNestedWatches bounds the ways by which one wake-up can climb through sets
	// that watch each other, which grow exponentially with these.
	maxNestedWatches = 64
)

// epollPrivate are the bits of epoll_event.events that are no conditions.
const epollPrivate = unix.EPOLLET | unix.EPOLLONESHOT | unix.EPOLLEXCLUSIVE | unix.EPOLLWAKEUP

// exclusiveAllowed are the bits that may accompany EPOLLEXCLUSIVE.
const exclusiveAllowed = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLERR | unix.EPOLLHUP | epollPrivate&^unix.EPOLLONESHOT

// EpollEvent is epoll_event of epoll_ctl(2).
type EpollEvent struct {
	Events uint32
	Data   uint64
}

type epollKey struct {
	desc *Description
	fd   int32
}

// epollItem is one descriptor in a set. It is on its file's queue all the time,
// and on the set's ready list from a wake-up until a look finds it not ready.
type epollItem struct {
	ep         *Epoll
	key        epollKey
	ev         EpollEvent
	disabled   bool // EPOLLONESHOT has fired
	at         int  // in ep.items
	entry      waitq.Entry
	prev, next *epollItem // ready list; nil when not on it
	// Those that watch the same description.
	descPrev, descNext *epollItem
}

// Epoll is an epoll set as in epoll(7). What a wait costs depends on how many
// descriptors may be ready, not on how many there are.
type Epoll struct {
	Base
	sys   *System
	items []*epollItem
	index map[epollKey]*epollItem // of items; nil until there are many
	ready epollItem               // sentinel
	desc  *Description            // that other sets watch this one by; nil when none did
	q     waitq.Queue
}

// epollScan is how many items are searched one by one: a copy of a small set needs
// no index.
const epollScan = 8

// NewEpoll returns an empty set.
func NewEpoll(sys *System) *Epoll {
	return newEpoll(Base{Flags: unix.O_RDWR, Ino: sys.NextInode()}, sys)
}

func newEpoll(b Base, sys *System) *Epoll {
	e := &Epoll{Base: b, sys: sys}
	e.ready.prev, e.ready.next = &e.ready, &e.ready
	return e
}

// find returns the item of a descriptor, or nil.
func (e *Epoll) find(key epollKey) *epollItem {
	if e.index == nil {
		if len(e.items) <= epollScan {
			for _, it := range e.items {
				if it.key == key {
					return it
				}
			}
			return nil
		}
		e.index = make(map[epollKey]*epollItem, len(e.items))
		for _, it := range e.items {
			e.index[it.key] = it
		}
	}
	return e.index[key]
}

// interest is what the item reports: also an error and a hang-up, always.
func (it *epollItem) interest() Events {
	if it.disabled {
		return 0
	}
	return Events(it.ev.Events&^epollPrivate) | Err | Hup
}

// Wake puts the item on the ready list: the wake-up says only that its file may
// have changed.
func (it *epollItem) Wake() {
	it.key.desc.Queue().Insert(&it.entry, it)
	if it.disabled {
		return
	}
	it.link()
	it.ep.q.WakeAll()
}

// WakeFor implements waitq.Selective: as on Linux, what the item is not interested
// in is no news, also for an edge-triggered one that is ready for something else.
func (it *epollItem) WakeFor(events uint32) {
	if !it.disabled && it.interest()&Events(events) == 0 {
		it.key.desc.Queue().Insert(&it.entry, it)
		return
	}
	it.Wake()
}

func (it *epollItem) link() {
	if it.next != nil {
		return
	}
	s := &it.ep.ready
	it.prev, it.next = s.prev, s
	it.prev.next, s.prev = it, it
}

func (it *epollItem) unlink() {
	if it.next != nil {
		it.prev.next, it.next.prev = it.next, it.prev
		it.prev, it.next = nil, nil
	}
}

// check links the item and wakes the waiters when it is ready now.
func (it *epollItem) check() {
	if it.key.desc.Readiness()&it.interest() != 0 {
		it.link()
		it.ep.q.WakeAll()
	}
}

// Add is EPOLL_CTL_ADD of the descriptor fd, which refers to d. EEXIST when it is
// in the set; EPERM for a file that is always ready, such as a regular one; EINVAL
// for the set itself or flags that exclude each other; ELOOP when sets would watch
// each other in a circle or more than 5 deep; ENOSPC beyond the VM's limits.
func (e *Epoll) Add(d *Description, fd int32, ev EpollEvent) abi.Errno {
	inner, nested := d.File.(*Epoll)
	if inner == e {
		return abi.EINVAL
	}
	if ev.Events&unix.EPOLLEXCLUSIVE != 0 && (nested || ev.Events&^uint32(exclusiveAllowed) != 0) {
		return abi.EINVAL
	}
	q := d.Queue()
	key := epollKey{d, fd}
	switch {
	case q == nil:
		return abi.EPERM
	case e.find(key) != nil:
		return abi.EEXIST
	case nested && !e.mayWatch(inner):
		return abi.ELOOP
	case e.sys.watches >= maxWatches || nested && e.sys.nestedWatches >= maxNestedWatches:
		return abi.ENOSPC
	}
	it := &epollItem{ep: e, key: key, ev: ev, at: len(e.items)}
	e.items = append(e.items, it)
	if e.index != nil {
		e.index[key] = it
	}
	e.sys.watches++
	if nested {
		e.sys.nestedWatches++
		inner.desc = d
	}
	it.join(d)
	q.Insert(&it.entry, it)
	it.check()
	return abi.OK
}

// join makes the item one of those that watch d.
func (it *epollItem) join(d *Description) {
	it.descNext = d.items
	if d.items != nil {
		d.items.descPrev = it
	}
	d.items = it
}

func (it *epollItem) leave() {
	if it.descPrev != nil {
		it.descPrev.descNext = it.descNext
	} else {
		it.key.desc.items = it.descNext
	}
	if it.descNext != nil {
		it.descNext.descPrev = it.descPrev
	}
	it.descPrev, it.descNext = nil, nil
}

// Modify is EPOLL_CTL_MOD: it also enables an item that EPOLLONESHOT disabled.
// ENOENT when the descriptor is not in the set, EINVAL with EPOLLEXCLUSIVE.
func (e *Epoll) Modify(d *Description, fd int32, ev EpollEvent) abi.Errno {
	it := e.find(epollKey{d, fd})
	switch {
	case d.File == File(e):
		return abi.EINVAL
	case ev.Events&unix.EPOLLEXCLUSIVE != 0:
		return abi.EINVAL
	case it == nil:
		return abi.ENOENT
	case it.ev.Events&unix.EPOLLEXCLUSIVE != 0:
		return abi.EINVAL
	}
	it.ev, it.disabled = ev, false
	it.check()
	return abi.OK
}

// Delete is EPOLL_CTL_DEL. ENOENT when the descriptor is not in the set.
func (e *Epoll) Delete(d *Description, fd int32) abi.Errno {
	if d.File == File(e) {
		return abi.EINVAL
	}
	it := e.find(epollKey{d, fd})
	if it == nil {
		return abi.ENOENT
	}
	e.remove(it)
	return abi.OK
}

func (e *Epoll) remove(it *epollItem) {
	it.entry.Remove()
	it.unlink()
	it.leave()
	last := len(e.items) - 1
	e.items[it.at] = e.items[last]
	e.items[it.at].at = it.at
	e.items[last] = nil
	e.items = e.items[:last]
	delete(e.index, it.key)
	e.sys.watches--
	if _, nested := it.key.desc.File.(*Epoll); nested {
		e.sys.nestedWatches--
	}
}

// mayWatch reports whether watching inner closes no circle and no chain of sets
// becomes too long.
func (e *Epoll) mayWatch(inner *Epoll) bool {
	below := map[*Epoll]int{}
	depth := inner.height(below)
	if _, circle := below[e]; circle {
		return false
	}
	return depth+e.level(map[*Epoll]int{}) <= epollDepth
}

// height returns the number of sets in the longest chain from e downwards, and
// notes it for every set that it reaches. There are no circles.
func (e *Epoll) height(seen map[*Epoll]int) int {
	if h, ok := seen[e]; ok {
		return h
	}
	h := 0
	for _, it := range e.items {
		if inner, ok := it.key.desc.File.(*Epoll); ok {
			h = max(h, inner.height(seen))
		}
	}
	seen[e] = h + 1
	return h + 1
}

// level is height upwards, through the sets that watch e.
func (e *Epoll) level(seen map[*Epoll]int) int {
	if l, ok := seen[e]; ok {
		return l
	}
	l := 0
	if e.desc != nil {
		for it := e.desc.items; it != nil; it = it.descNext {
			l = max(l, it.ep.level(seen))
		}
	}
	seen[e] = l + 1
	return l + 1
}

// Len returns the number of descriptors in the set.
func (e *Epoll) Len() int { return len(e.items) }

// Collect returns up to limit descriptors that are ready, and what for. Those that
// stay ready and are not edge-triggered come last the next time, so that none
// starves.
func (e *Epoll) Collect(limit int) []EpollEvent {
	var out []EpollEvent
	last := e.ready.prev
	for it := e.ready.next; it != &e.ready && len(out) < limit; it = e.ready.next {
		it.unlink()
		if got := it.key.desc.Readiness() & it.interest(); got != 0 {
			out = append(out, EpollEvent{Events: uint32(got), Data: it.ev.Data})
			switch {
			case it.ev.Events&unix.EPOLLONESHOT != 0:
				it.disabled = true
			case it.ev.Events&unix.EPOLLET == 0:
				it.link()
			}
		}
		if it == last {
			break
		}
	}
	return out
}

// Readiness is readable when a descriptor of the set is ready.
func (e *Epoll) Readiness() Events {
	for it := e.ready.next; it != &e.ready; it = e.ready.next {
		if it.key.desc.Readiness()&it.interest() != 0 {
			return In
		}
		it.unlink()
	}
	return 0
}

// Queue is woken when a descriptor of the set may have become ready.
func (e *Epoll) Queue() *waitq.Queue { return &e.q }

// Lseek does nothing, and succeeds, as on Linux.
func (e *Epoll) Lseek(int64, int) (int64, abi.Errno) { return 0, abi.OK }

// Name is that of Linux.
func (e *Epoll) Name() string { return "anon_inode:[eventpoll]" }

// Release empties the set.
func (e *Epoll) Release() {
	for len(e.items) > 0 {
		e.remove(e.items[len(e.items)-1])
	}
	e.q.WakeAll()
}

// CloneFile implements Cloner. The context fills the copy in when it knows all
// descriptions.
func (e *Epoll) CloneFile(c *CloneContext) File {
	n := newEpoll(e.Base, c.System)
	if len(e.items) > 0 {
		items := make([]epollItem, len(e.items))
		n.items = make([]*epollItem, len(e.items))
		for i, it := range e.items {
			n.items[i] = &items[i]
			items[i].ep, items[i].at, items[i].ev, items[i].disabled = n, i, it.ev, it.disabled
		}
	}
	c.Record(e, n)
	c.sets = append(c.sets, e)
	return n
}
