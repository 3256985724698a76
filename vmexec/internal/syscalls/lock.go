// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"
	"math"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// lockCalls are the calls that lock files; fcntl(2) is with the descriptors.
func lockCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_FLOCK, Name: "flock", Fn: sysFlock, Support: Full},
	}
}

// lockable returns an open file that can be locked; nil for one without a place in
// the tree, of which a lock is always granted.
func lockable(f fd.File) vfs.Lockable {
	l, _ := f.(vfs.Lockable)
	return l
}

// awaitUnlock waits until some lock was taken away.
func awaitUnlock(t *task.Thread, f vfs.Lockable) abi.Errno {
	if signalDue(t) {
		return abi.ERESTARTSYS
	}
	return t.Block(task.NoDeadline, f.LockQueue())
}

// sysFlock is flock(2).
func sysFlock(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	op := uint32(a[1])
	switch op &^ unix.LOCK_NB {
	case unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN:
	default:
		return 0, abi.EINVAL
	}
	if _, errno := usable(t, int32(a[0]), 0); errno != 0 {
		return 0, errno
	}
	file, errno := t.P.FDs.Get(int32(a[0]))
	if errno != 0 {
		return 0, errno
	}
	f := lockable(file)
	if f == nil {
		return 0, 0
	}
	l := vfs.Lock{Owner: f.OpenOwner(), Whole: true, Write: op&unix.LOCK_EX != 0, End: vfs.EndOfFile}
	if op&unix.LOCK_UN != 0 {
		return 0, f.Unlock(l)
	}
	errno = f.SetLock(l)
	if errno == abi.EAGAIN && op&unix.LOCK_NB == 0 {
		errno = awaitUnlock(t, f)
	}
	return 0, errno
}

// flock is struct flock of fcntl_locking(2).
type flock struct {
	kind, whence  int16
	start, length int64
	pid           int32
}

const flockSize = 32

func decodeFlock(b *[flockSize]byte) flock {
	le := binary.LittleEndian
	return flock{
		kind: int16(le.Uint16(b[0:])), whence: int16(le.Uint16(b[2:])),
		start: int64(le.Uint64(b[8:])), length: int64(le.Uint64(b[16:])), pid: int32(le.Uint32(b[24:])),
	}
}

// encode writes what F_GETLK gives into b, whose other bytes stay as they are.
func (l flock) encode(b *[flockSize]byte) {
	le := binary.LittleEndian
	le.PutUint16(b[0:], uint16(l.kind))
	le.PutUint16(b[2:], uint16(l.whence))
	le.PutUint64(b[8:], uint64(l.start))
	le.PutUint64(b[16:], uint64(l.length))
	le.PutUint32(b[24:], uint32(l.pid))
}

// bounds returns the first and last byte that are meant. Errors: EINVAL, EOVERFLOW.
func (l flock) bounds(f fd.File) (start, end int64, errno abi.Errno) {
	if l.kind != unix.F_RDLCK && l.kind != unix.F_WRLCK && l.kind != unix.F_UNLCK {
		return 0, 0, abi.EINVAL
	}
	var base int64
	switch l.whence {
	case unix.SEEK_SET:
	case unix.SEEK_CUR:
		// A file without a position counts from 0.
		base, _ = f.Lseek(0, unix.SEEK_CUR)
	case unix.SEEK_END:
		st, errno := f.Stat()
		if errno != abi.OK {
			return 0, 0, errno
		}
		base = st.Size
	default:
		return 0, 0, abi.EINVAL
	}
	if l.start > math.MaxInt64-base {
		return 0, 0, abi.EOVERFLOW
	}
	start = base + l.start
	switch {
	case start < 0:
		return 0, 0, abi.EINVAL
	case l.length > 0 && l.length-1 > math.MaxInt64-start:
		return 0, 0, abi.EOVERFLOW
	case l.length < 0 && start+l.length < 0:
		return 0, 0, abi.EINVAL
	case l.length > 0:
		return start, start + l.length - 1, abi.OK
	case l.length < 0:
		return start + l.length, start - 1, abi.OK
	}
	return start, vfs.EndOfFile, abi.OK
}

// recordLock is fcntl(2) with F_GETLK, F_SETLK, F_SETLKW and their F_OFD_ forms.
func recordLock(t *task.Thread, file fd.File, cmd int32, addr uint64) abi.Errno {
	if w, ok := t.State.(*vfs.LockWait); ok {
		w.End()
		t.State = nil
	}
	var raw [flockSize]byte
	if errno := t.CopyIn(addr, raw[:]); errno != abi.OK {
		return errno
	}
	want := decodeFlock(&raw)
	get := cmd == unix.F_GETLK || cmd == unix.F_OFD_GETLK
	if get && want.kind == unix.F_UNLCK && cmd == unix.F_GETLK {
		return abi.EINVAL
	}
	start, end, errno := want.bounds(file)
	if errno != abi.OK {
		return errno
	}
	f := lockable(file)
	l := vfs.Lock{Owner: vfs.LockOwner{Table: t.P.FDs.Number()}, Write: want.kind == unix.F_WRLCK, Start: start, End: end}
	if cmd == unix.F_OFD_GETLK || cmd == unix.F_OFD_SETLK || cmd == unix.F_OFD_SETLKW {
		if want.pid != 0 {
			return abi.EINVAL
		}
		if f != nil {
			l.Owner = f.OpenOwner()
		}
	}
	if get {
		return getLock(t, f, l, want, addr, &raw)
	}
	mode := file.StatusFlags() & unix.O_ACCMODE
	switch {
	case want.kind == unix.F_RDLCK && mode == unix.O_WRONLY || want.kind == unix.F_WRLCK && mode == unix.O_RDONLY:
		return abi.EBADF
	case f == nil:
		return abi.OK
	case want.kind == unix.F_UNLCK:
		return f.Unlock(l)
	}
	errno = f.SetLock(l)
	if errno != abi.EAGAIN || cmd == unix.F_SETLK || cmd == unix.F_OFD_SETLK {
		return errno
	}
	if l.Owner.Table == 0 {
		return awaitUnlock(t, f)
	}
	holds, _ := f.Conflict(l)
	w, errno := t.K.FS.WaitForLock(l, holds)
	if errno != abi.OK {
		return errno
	}
	if errno = awaitUnlock(t, f); errno == abi.EBLOCK {
		t.State = w
	} else {
		w.End()
	}
	return errno
}

// getLock writes the lock that excludes l, or that there is none.
func getLock(t *task.Thread, f vfs.Lockable, l vfs.Lock, want flock, addr uint64, raw *[flockSize]byte) abi.Errno {
	var have vfs.Lock
	found := false
	switch {
	case f == nil:
	case want.kind == unix.F_UNLCK: // of an open file: does it have one itself?
		have, found = f.Own(l)
	default:
		have, found = f.Conflict(l)
	}
	if !found {
		want.kind = unix.F_UNLCK
		want.encode(raw)
		return t.CopyOut(addr, raw[:])
	}
	got := flock{kind: unix.F_RDLCK, whence: unix.SEEK_SET, start: have.Start, pid: int32(t.K.FS.LockPID(have))}
	if have.Write {
		got.kind = unix.F_WRLCK
	}
	if have.End != vfs.EndOfFile {
		got.length = have.End - have.Start + 1
	}
	got.encode(raw)
	return t.CopyOut(addr, raw[:])
}
