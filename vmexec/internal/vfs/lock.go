// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"math"
	"slices"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// LockOwner says whose a lock is: a process, by the number of its descriptor table
// as in Linux, or an open file.
type LockOwner struct {
	Table uint64
	Open  uint64
}

// Lock is a lock on a part of a file, or with flock(2) on all of it.
type Lock struct {
	Owner      LockOwner
	Whole      bool // flock(2): independent of the locks of fcntl(2)
	Write      bool
	Start, End int64 // first and last byte
}

// lockCost is what a lock is charged for, in bytes.
const lockCost = 128

func (l *Lock) overlaps(m *Lock) bool { return l.Start <= m.End && m.Start <= l.End }

// excludes reports whether both cannot be held at once.
func (l *Lock) excludes(m *Lock) bool {
	return l.Whole == m.Whole && l.Owner != m.Owner && (l.Write || m.Write) && l.overlaps(m)
}

// Lockable is a file that can be locked: all that have a place in the tree.
type Lockable interface {
	Located
	// OpenOwner is the owner of locks that belong to the open file: those of flock(2)
	// and F_OFD_SETLK.
	OpenOwner() LockOwner
	// Conflict returns a lock that excludes l, if there is one.
	Conflict(l Lock) (Lock, bool)
	// Own returns a lock of l's owner that overlaps l, if there is one.
	Own(l Lock) (Lock, bool)
	// SetLock takes l in place of what its owner has of the range. Errors: EAGAIN when
	// another one excludes it, ENOLCK beyond the budget.
	SetLock(l Lock) abi.Errno
	// Unlock takes away what the owner of l has of the range.
	Unlock(l Lock) abi.Errno
	// LockQueue is woken when a lock of the VM was taken away.
	LockQueue() *waitq.Queue
}

// OpenOwner implements Lockable.
func (h *handle) OpenOwner() LockOwner {
	if h.lockID == 0 {
		h.fs.nextLock++
		h.lockID = h.fs.nextLock
	}
	return LockOwner{Open: h.lockID}
}

// LockQueue implements Lockable.
func (h *handle) LockQueue() *waitq.Queue { return &h.fs.unlocked }

// Conflict implements Lockable.
func (h *handle) Conflict(l Lock) (Lock, bool) {
	return find(h.fs.st(h.d.inode).locks, l.excludes)
}

// Own implements Lockable.
func (h *handle) Own(l Lock) (Lock, bool) {
	return find(h.fs.st(h.d.inode).locks, func(m *Lock) bool {
		return m.Owner == l.Owner && m.Whole == l.Whole && m.overlaps(&l)
	})
}

func find(ls []Lock, f func(l *Lock) bool) (Lock, bool) {
	for i := range ls {
		if f(&ls[i]) {
			return ls[i], true
		}
	}
	return Lock{}, false
}

// SetLock implements Lockable.
func (h *handle) SetLock(l Lock) abi.Errno {
	if have, ok := h.Own(l); ok && l.Whole {
		if have.Write == l.Write {
			return 0
		}
		// As flock(2) says: a conversion is no atomic operation.
		_ = h.Unlock(l)
	}
	if _, ok := h.Conflict(l); ok {
		return abi.EAGAIN
	}
	return h.fs.setLocks(h.d.inode, append(without(h.fs.st(h.d.inode).locks, &l), l), l.Owner)
}

// Unlock implements Lockable.
func (h *handle) Unlock(l Lock) abi.Errno {
	if _, ok := h.Own(l); !ok {
		return 0
	}
	errno := h.fs.setLocks(h.d.inode, without(h.fs.st(h.d.inode).locks, &l), l.Owner)
	if errno == 0 {
		h.fs.unlocked.WakeAll()
	}
	return errno
}

// without returns a copy of ls in which the owner of l has nothing of its range.
func without(ls []Lock, l *Lock) []Lock {
	out := make([]Lock, 0, len(ls)+2)
	for _, m := range ls {
		if m.Owner != l.Owner || m.Whole != l.Whole || !m.overlaps(l) {
			out = append(out, m)
			continue
		}
		if m.Start < l.Start {
			left := m
			left.End = l.Start - 1
			out = append(out, left)
		}
		if m.End > l.End {
			right := m
			right.Start = l.End + 1
			out = append(out, right)
		}
	}
	return out
}

// setLocks puts a new list in place, in which ranges of the owner that adjoin are
// joined. It never changes a list: images share them.
func (fs *FS) setLocks(in *inode, ls []Lock, owner LockOwner) abi.Errno {
	slices.SortStableFunc(ls, func(a, b Lock) int {
		switch {
		case a.Start < b.Start:
			return -1
		case a.Start > b.Start:
			return 1
		}
		return 0
	})
	last := -1 // the owner's in out
	out := ls[:0]
	for _, l := range ls {
		if l.Owner == owner && !l.Whole {
			if last >= 0 && out[last].Write == l.Write && out[last].End >= l.Start-1 {
				out[last].End = max(out[last].End, l.End)
				continue
			}
			last = len(out)
		}
		out = append(out, l)
	}
	more := int64(len(out)-len(fs.st(in).locks)) * lockCost
	if more > 0 && !fs.chargeMeta(more) {
		return abi.ENOLCK
	}
	fs.releaseMeta(max(0, -more))
	fs.mut(in).locks = slices.Clip(out)
	return 0
}

// dropLocks takes away all locks of an owner.
func (fs *FS) dropLocks(in *inode, owner LockOwner) {
	if len(fs.st(in).locks) == 0 {
		return
	}
	var left []Lock
	for _, l := range fs.st(in).locks {
		if l.Owner != owner {
			left = append(left, l)
		}
	}
	n := len(fs.st(in).locks) - len(left)
	if n == 0 {
		return
	}
	fs.releaseMeta(int64(n) * lockCost)
	fs.mut(in).locks = left
	fs.unlocked.WakeAll()
}

// ClosedBy implements fd.ProcessCloser: a process loses its locks of fcntl(2) when it
// closes any descriptor of the file.
func (h *handle) ClosedBy(table uint64) { h.fs.dropLocks(h.d.inode, LockOwner{Table: table}) }

// LockWait is a call that waits for a lock of fcntl(2).
type LockWait struct {
	fs            *FS
	owner, holder LockOwner
}

// Abandon implements task.Abandoner.
func (w *LockWait) Abandon() { w.End() }

// WaitForLock notes that a process waits for a lock that another one holds, until
// LockWait.End. It is EDEADLK when that one waits for the first, perhaps by way of
// others: only locks of processes count, as in Linux.
func (fs *FS) WaitForLock(l, holds Lock) (*LockWait, abi.Errno) {
	for at, n := holds.Owner, 0; at.Table != 0 && n <= len(fs.lockWaits); n++ {
		if at == l.Owner {
			return nil, abi.EDEADLK
		}
		i := slices.IndexFunc(fs.lockWaits, func(w *LockWait) bool { return w.owner == at })
		if i < 0 {
			break
		}
		at = fs.lockWaits[i].holder
	}
	w := &LockWait{fs: fs, owner: l.Owner, holder: holds.Owner}
	fs.lockWaits = append(fs.lockWaits, w)
	return w, 0
}

// End ends what WaitForLock began.
func (w *LockWait) End() {
	if i := slices.Index(w.fs.lockWaits, w); i >= 0 {
		w.fs.lockWaits = slices.Delete(w.fs.lockWaits, i, i+1)
	}
}

// LockPID returns the process that holds a lock, as F_GETLK gives it: -1 for one that
// belongs to an open file, 0 for one that is gone.
func (fs *FS) LockPID(l Lock) int {
	if l.Owner.Table == 0 {
		return -1
	}
	if fs.proc != nil {
		for _, pid := range fs.proc.PIDs() {
			if p := fs.proc.Process(pid); p != nil && p.Table().Number() == l.Owner.Table {
				return pid
			}
		}
	}
	return 0
}

// EndOfFile as the end of a Lock is that of any file, however it grows.
const EndOfFile = math.MaxInt64
