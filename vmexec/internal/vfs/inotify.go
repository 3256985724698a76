// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Limits and sizes of inotify(7).
const (
	maxQueuedEvents = 16384 // max_queued_events; the next is IN_Q_OVERFLOW
	eventSize       = 16    // struct inotify_event, without a name
	watchCost       = 256   // bytes that a watch is charged for
	eventCost       = 64    // bytes that an event is charged for, before its name
)

// Inotify is an instance of inotify(7). Files of the lower root do not change by
// themselves, so it tells of what the VM's own programs do.
type Inotify struct {
	fd.Base
	fs      *FS
	watches []*watch // by number
	lastWD  int32
	events  []notice
	bytes   int // of events, as a read gives them
	q       waitq.Queue
}

// watch is one file that an instance watches.
type watch struct {
	n    *Inotify
	wd   int32
	in   *inode
	mask uint32
}

// notice is an event that was not read yet.
type notice struct {
	wd           int32
	mask, cookie uint32
	name         string
}

func (e *notice) size() int {
	if e.name == "" {
		return eventSize
	}
	return eventSize + (len(e.name)+1+eventSize-1)/eventSize*eventSize
}

func (e *notice) cost() int64 { return eventCost + int64(len(e.name)) }

// NewInotify makes an instance that watches nothing. flags may have O_NONBLOCK.
func (fs *FS) NewInotify(sys *fd.System, flags int) *Inotify {
	return &Inotify{Base: fd.Base{Flags: unix.O_RDONLY | flags, Ino: sys.NextInode()}, fs: fs}
}

// Watch is inotify_add_watch(2) for a file that was found, with a mask that was
// checked. Errors: EEXIST with IN_MASK_CREATE, ENOSPC beyond the budget.
func (n *Inotify) Watch(p Path, mask uint32) (int32, abi.Errno) {
	keep := mask & (unix.IN_ALL_EVENTS | unix.IN_EXCL_UNLINK | unix.IN_ONESHOT)
	if i := slices.IndexFunc(n.watches, func(w *watch) bool { return w.in == p.d.inode }); i >= 0 {
		w := n.watches[i]
		if mask&unix.IN_MASK_CREATE != 0 {
			return 0, abi.EEXIST
		}
		if mask&unix.IN_MASK_ADD != 0 {
			keep |= w.mask
		}
		w.mask = keep
		return w.wd, 0
	}
	if !n.fs.chargeMeta(watchCost) {
		return 0, abi.ENOSPC
	}
	n.lastWD++
	w := &watch{n: n, wd: n.lastWD, in: p.d.inode, mask: keep}
	n.watches = append(n.watches, w)
	n.fs.watch(w)
	return w.wd, 0
}

func (fs *FS) watch(w *watch) {
	if fs.watches == nil {
		fs.watches = map[*inode][]*watch{}
	}
	fs.watches[w.in] = append(fs.watches[w.in], w)
}

// Unwatch is inotify_rm_watch(2). EINVAL when there is no such watch.
func (n *Inotify) Unwatch(wd int32) abi.Errno {
	i := slices.IndexFunc(n.watches, func(w *watch) bool { return w.wd == wd })
	if i < 0 {
		return abi.EINVAL
	}
	n.watches[i].end()
	return 0
}

// end removes a watch and tells so.
func (w *watch) end() {
	w.drop()
	w.n.add(notice{wd: w.wd, mask: unix.IN_IGNORED})
}

func (w *watch) drop() {
	n, fs := w.n, w.n.fs
	n.watches = slices.DeleteFunc(n.watches, func(x *watch) bool { return x == w })
	// A new list: somebody may go through the old one.
	left := slices.DeleteFunc(slices.Clone(fs.watches[w.in]), func(x *watch) bool { return x == w })
	if len(left) == 0 {
		delete(fs.watches, w.in)
	} else {
		fs.watches[w.in] = left
	}
	fs.releaseMeta(watchCost)
}

// add queues an event, unless the last one says the same.
func (n *Inotify) add(e notice) {
	if k := len(n.events); k > 0 {
		if n.events[k-1] == e || n.events[k-1].mask == unix.IN_Q_OVERFLOW {
			return
		}
		if k >= maxQueuedEvents {
			e = notice{wd: -1, mask: unix.IN_Q_OVERFLOW}
		}
	}
	if !n.fs.chargeMeta(e.cost()) {
		// What is told instead takes the place of the last one.
		e = notice{wd: -1, mask: unix.IN_Q_OVERFLOW}
		if k := len(n.events); k > 0 {
			n.fs.releaseMeta(n.events[k-1].cost())
			n.bytes -= n.events[k-1].size()
			n.events = n.events[:k-1]
		}
		if !n.fs.chargeMeta(e.cost()) {
			return
		}
	}
	n.events = append(n.events, e)
	n.bytes += e.size()
	n.q.WakeAll()
}

// Lseek does nothing, as in Linux.
func (*Inotify) Lseek(int64, int) (int64, abi.Errno) { return 0, 0 }

// Read gives the events that fit; EAGAIN when there is none, EINVAL when the first
// one does not fit, ESPIPE for an offset.
func (n *Inotify) Read(dst fd.Buffers, off int64) (int, abi.Errno) {
	if off != fd.CurrentOffset {
		return 0, abi.ESPIPE
	}
	if len(n.events) == 0 {
		return 0, abi.EAGAIN
	}
	room := dst.Len()
	var out []byte
	taken := 0
	for ; taken < len(n.events) && len(out)+n.events[taken].size() <= room; taken++ {
		e := &n.events[taken]
		out = binary.LittleEndian.AppendUint32(out, uint32(e.wd))
		out = binary.LittleEndian.AppendUint32(out, e.mask)
		out = binary.LittleEndian.AppendUint32(out, e.cookie)
		out = binary.LittleEndian.AppendUint32(out, uint32(e.size()-eventSize))
		out = append(out, e.name...)
		out = append(out, make([]byte, e.size()-eventSize-len(e.name))...)
		n.fs.releaseMeta(e.cost())
	}
	if taken == 0 {
		return 0, abi.EINVAL
	}
	n.events = slices.Delete(n.events, 0, taken)
	if len(n.events) == 0 {
		n.events = nil
	}
	n.bytes -= len(out)
	return dst.CopyFrom(out), 0
}

// Readiness is readable while there are events.
func (n *Inotify) Readiness() fd.Events {
	if len(n.events) > 0 {
		return fd.In
	}
	return 0
}

// Queue is woken by each event.
func (n *Inotify) Queue() *waitq.Queue { return &n.q }

// Available implements fd.Sizer.
func (n *Inotify) Available() int { return n.bytes }

// Name is that of Linux.
func (*Inotify) Name() string { return "anon_inode:inotify" }

// Release ends all watches.
func (n *Inotify) Release() {
	for len(n.watches) > 0 {
		n.watches[len(n.watches)-1].drop()
	}
	for i := range n.events {
		n.fs.releaseMeta(n.events[i].cost())
	}
	n.events, n.bytes = nil, 0
}

// CloneFile implements fd.Cloner. The copy watches the same files.
func (n *Inotify) CloneFile(c *fd.CloneContext) fd.File {
	fs, ok := c.Owner.(*FS)
	if !ok {
		return nil
	}
	m := &Inotify{Base: n.Base, fs: fs, lastWD: n.lastWD, events: slices.Clone(n.events), bytes: n.bytes}
	for _, w := range n.watches {
		if !fs.layer.holds(w.in.owner) {
			return nil
		}
		x := &watch{n: m, wd: w.wd, in: w.in, mask: w.mask}
		m.watches = append(m.watches, x)
		fs.watch(x)
	}
	return m
}

// tell gives an event to the watches of a file.
func (fs *FS) tell(in *inode, mask, cookie uint32, name string, gone bool) {
	for _, w := range fs.watches[in] {
		if w.mask&mask&unix.IN_ALL_EVENTS == 0 || gone && w.mask&unix.IN_EXCL_UNLINK != 0 {
			continue
		}
		w.n.add(notice{wd: w.wd, mask: mask, cookie: cookie, name: name})
		if w.mask&unix.IN_ONESHOT != 0 {
			w.end()
		}
	}
}

// inotifyDir returns IN_ISDIR for a directory.
func (in *inode) inotifyDir() uint32 {
	if in.isDir() {
		return unix.IN_ISDIR
	}
	return 0
}

// event tells the watches of an open or named file, and of its directory.
func (fs *FS) event(d *dentry, mask uint32) {
	if len(fs.watches) == 0 {
		return
	}
	mask |= d.inode.inotifyDir()
	if n := fs.name(d); n.parent != nil && n.parent != d {
		fs.tell(n.parent.inode, mask, 0, n.name, n.gone)
	}
	fs.tell(d.inode, mask, 0, "", false)
}

// entryEvent tells the watches of a directory of one of its names.
func (fs *FS) entryEvent(dir *inode, name string, in *inode, mask, cookie uint32) {
	if len(fs.watches) != 0 {
		fs.tell(dir, mask|in.inotifyDir(), cookie, name, false)
	}
}

// selfEvent tells the watches of a file itself.
func (fs *FS) selfEvent(in *inode, mask uint32) {
	if len(fs.watches) == 0 {
		return
	}
	if mask&(unix.IN_MOVE_SELF|unix.IN_DELETE_SELF) == 0 {
		mask |= in.inotifyDir()
	}
	fs.tell(in, mask, 0, "", false)
}

// freed ends the watches of a file that is no more.
func (fs *FS) freed(in *inode) {
	if len(fs.watches) == 0 {
		return
	}
	fs.selfEvent(in, unix.IN_DELETE_SELF)
	for _, w := range fs.watches[in] {
		w.end()
	}
}
