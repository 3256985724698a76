// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/task"
)

// pipeCalls are the calls that make pipes and move bytes between them and other files.
func pipeCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_PIPE, Name: "pipe", Fn: sysPipe, Support: Full},
		{Nr: unix.SYS_PIPE2, Name: "pipe2", Fn: sysPipe2, Support: Partial, Note: "O_DIRECT (packets) is EINVAL"},
		{Nr: unix.SYS_SPLICE, Name: "splice", Fn: sysSplice, Support: Partial, Note: "moves at most 64 KiB a call, by copying"},
		{Nr: unix.SYS_VMSPLICE, Name: "vmsplice", Fn: sysVmsplice, Support: Partial, Note: "copies: pages that were given are not shared"},
		{Nr: unix.SYS_TEE, Name: "tee", Fn: sysTee, Support: Partial, Note: "moves at most 64 KiB a call, by copying"},
	}
}

func sysPipe(t *task.Thread, a task.Args) (uint64, abi.Errno) { return makePipe(t, a[0], 0) }

func sysPipe2(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return makePipe(t, a[0], uint32(a[1]))
}

func makePipe(t *task.Thread, addr uint64, flags uint32) (uint64, abi.Errno) {
	if flags&^uint32(unix.O_CLOEXEC|unix.O_NONBLOCK) != 0 {
		return 0, abi.EINVAL
	}
	fds := t.P.FDs
	cloexec := flags&unix.O_CLOEXEC != 0
	r, w := fd.NewPipe(fds.System(), int(flags&unix.O_NONBLOCK))
	rfd, errno := fds.Install(r, cloexec, 0)
	if errno != abi.OK {
		r.Release()
		w.Release()
		return 0, errno
	}
	wfd, errno := fds.Install(w, cloexec, 0)
	if errno != abi.OK {
		fds.Close(rfd)
		w.Release()
		return 0, errno
	}
	var out [8]byte
	binary.LittleEndian.PutUint32(out[0:], uint32(rfd))
	binary.LittleEndian.PutUint32(out[4:], uint32(wfd))
	if errno := t.CopyOut(addr, out[:]); errno != abi.OK {
		fds.Close(rfd)
		fds.Close(wfd)
		return 0, errno
	}
	return 0, abi.OK
}

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK | unix.SPLICE_F_MORE | unix.SPLICE_F_GIFT

// sysSplice is splice(2): one side at least is a pipe.
func sysSplice(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	flags := uint32(a[5])
	if flags&^uint32(spliceFlags) != 0 {
		return 0, abi.EINVAL
	}
	if a[4] == 0 {
		return 0, abi.OK
	}
	in, errno := readable(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	out, errno := writable(t, a[2])
	if errno != abi.OK {
		return 0, errno
	}
	count := int(min(a[4], copyChunk))
	nonblock := flags&unix.SPLICE_F_NONBLOCK != 0
	r, w := readEnd(in), writeEnd(out)
	inPipe, outPipe := r != nil, w != nil
	switch {
	case !inPipe && !outPipe:
		return 0, abi.EINVAL
	case inPipe && a[1] != 0, outPipe && a[3] != 0:
		return 0, abi.ESPIPE
	case inPipe && outPipe:
		return betweenPipes(t, r, w, count, nonblock, true)
	case inPipe:
		return fromPipe(t, r, out, a[3], count, nonblock)
	}
	return toPipe(t, in, a[1], w, count, nonblock)
}

// sysVmsplice is vmsplice(2): memory to a pipe, or a pipe to memory.
func sysVmsplice(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	flags := uint32(a[3])
	if flags&^uint32(spliceFlags) != 0 {
		return 0, abi.EINVAL
	}
	f, errno := t.P.FDs.Get(int32(a[0]))
	if errno != abi.OK {
		return 0, errno
	}
	nonblock := flags&unix.SPLICE_F_NONBLOCK != 0
	switch {
	case f.StatusFlags()&unix.O_PATH != 0:
		return 0, abi.EBADF
	case writeEnd(f) != nil:
		return writeVector(t, a, fd.CurrentOffset, nonblock)
	case readEnd(f) != nil:
		return readVector(t, a, fd.CurrentOffset, nonblock)
	}
	return 0, abi.EBADF
}

// sysTee is tee(2): the bytes stay in the first pipe.
func sysTee(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	flags := uint32(a[3])
	if flags&^uint32(spliceFlags) != 0 {
		return 0, abi.EINVAL
	}
	if a[2] == 0 {
		return 0, abi.OK
	}
	in, errno := readable(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	out, errno := writable(t, a[1])
	if errno != abi.OK {
		return 0, errno
	}
	r, w := readEnd(in), writeEnd(out)
	if r == nil || w == nil {
		return 0, abi.EINVAL
	}
	return betweenPipes(t, r, w, int(min(a[2], copyChunk)), flags&unix.SPLICE_F_NONBLOCK != 0, false)
}

// readEnd returns the end of a pipe that a file reads, nil when it is none.
func readEnd(f fd.File) *fd.PipeReader {
	if p, ok := f.(fd.PipeEnds); ok {
		r, _ := p.Ends()
		return r
	}
	return nil
}

// writeEnd returns the end of a pipe that a file writes, nil when it is none.
func writeEnd(f fd.File) *fd.PipeWriter {
	if p, ok := f.(fd.PipeEnds); ok {
		_, w := p.Ends()
		return w
	}
	return nil
}

// pipeRoom returns how much the pipe takes; when nothing, what the call does.
func pipeRoom(t *task.Thread, w *fd.PipeWriter, nonblock bool) (int, abi.Errno) {
	room, readers := w.Room()
	switch {
	case !readers:
		sigPipe(t)
		return 0, abi.EPIPE
	case room == 0:
		return 0, await(t, w, nonblock)
	}
	return room, abi.OK
}

func betweenPipes(t *task.Thread, r *fd.PipeReader, w *fd.PipeWriter, count int, nonblock, move bool) (uint64, abi.Errno) {
	switch {
	case r.SamePipe(w):
		return 0, abi.EINVAL
	case r.Ended():
		return 0, abi.OK
	case r.Available() == 0:
		return 0, await(t, r, nonblock)
	}
	room, errno := pipeRoom(t, w, nonblock)
	if errno != abi.OK {
		return 0, errno
	}
	n, errno := w.Write(r.Peek(min(count, room)), fd.CurrentOffset)
	if move {
		r.Discard(n)
	}
	return uint64(n), errno
}

func fromPipe(t *task.Thread, r *fd.PipeReader, out fd.File, offAddr uint64, count int, nonblock bool) (uint64, abi.Errno) {
	switch {
	case out.StatusFlags()&unix.O_APPEND != 0:
		return 0, abi.EINVAL
	case r.Ended():
		return 0, abi.OK
	case r.Available() == 0:
		return 0, await(t, r, nonblock)
	}
	off := fd.CurrentOffset
	if offAddr != 0 {
		v, errno := t.CopyInU64(offAddr)
		if errno != abi.OK {
			return 0, errno
		}
		if off = int64(v); off < 0 {
			return 0, abi.EINVAL
		}
	}
	n, errno := out.Write(r.Peek(count), off)
	switch errno {
	case abi.EAGAIN:
		return 0, await(t, out, nonblock)
	case abi.EPIPE:
		sigPipe(t)
	}
	r.Discard(n)
	if errno == abi.OK && offAddr != 0 {
		errno = t.CopyOutU64(offAddr, uint64(off)+uint64(n))
	}
	return uint64(n), errno
}

func toPipe(t *task.Thread, in fd.File, offAddr uint64, w *fd.PipeWriter, count int, nonblock bool) (uint64, abi.Errno) {
	off := fd.CurrentOffset
	if offAddr != 0 {
		v, errno := t.CopyInU64(offAddr)
		if errno != abi.OK {
			return 0, errno
		}
		if off = int64(v); off < 0 {
			return 0, abi.EINVAL
		}
	}
	room, errno := pipeRoom(t, w, nonblock)
	if errno != abi.OK {
		return 0, errno
	}
	buf := make([]byte, min(count, room))
	n, errno := in.Read(fd.Buffers{buf}, off)
	switch {
	case errno == abi.EAGAIN:
		return 0, await(t, in, nonblock)
	case errno != abi.OK:
		return 0, errno
	}
	if _, errno := w.Write(fd.Buffers{buf[:n]}, fd.CurrentOffset); errno != abi.OK {
		return 0, errno
	}
	if offAddr != 0 {
		errno = t.CopyOutU64(offAddr, uint64(off)+uint64(n))
	}
	return uint64(n), errno
}
