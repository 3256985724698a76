// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"cmp"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/net"
	"kontain.dev/eventing/vmexec/internal/task"
)

// readwriteCalls are the calls that move bytes of open files.
func readwriteCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_READ, Name: "read", Fn: sysRead, Support: Full},
		{Nr: unix.SYS_WRITE, Name: "write", Fn: sysWrite, Support: Full},
		{Nr: unix.SYS_READV, Name: "readv", Fn: sysReadv, Support: Full},
		{Nr: unix.SYS_WRITEV, Name: "writev", Fn: sysWritev, Support: Full},
		{Nr: unix.SYS_PREAD64, Name: "pread64", Fn: sysPread, Support: Full},
		{Nr: unix.SYS_PWRITE64, Name: "pwrite64", Fn: sysPwrite, Support: Full},
		{Nr: unix.SYS_PREADV, Name: "preadv", Fn: sysPreadv, Support: Full},
		{Nr: unix.SYS_PWRITEV, Name: "pwritev", Fn: sysPwritev, Support: Full},
		{Nr: unix.SYS_PREADV2, Name: "preadv2", Fn: sysPreadv2, Support: Partial, Note: "RWF_HIPRI, RWF_DSYNC and RWF_SYNC change nothing: files are in memory"},
		{Nr: unix.SYS_PWRITEV2, Name: "pwritev2", Fn: sysPwritev2, Support: Partial, Note: "as preadv2"},
		{Nr: unix.SYS_LSEEK, Name: "lseek", Fn: sysLseek, Support: Full},
		{Nr: unix.SYS_SENDFILE, Name: "sendfile", Fn: sysSendfile, Support: Partial, Note: "moves at most 16 MiB a call"},
		{Nr: unix.SYS_COPY_FILE_RANGE, Name: "copy_file_range", Fn: sysCopyFileRange, Support: Partial, Note: "moves at most 16 MiB a call"},
		{Nr: unix.SYS_READAHEAD, Name: "readahead", Fn: sysReadahead, Support: Stub, Note: "files are in memory: nothing to do after the checks"},
		{Nr: unix.SYS_SYNC_FILE_RANGE, Name: "sync_file_range", Fn: sysSyncFileRange, Support: Stub, Note: "files are in memory: nothing to do after the checks"},
		{Nr: unix.SYS_FADVISE64, Name: "fadvise64", Fn: sysFadvise, Support: Stub, Note: "files are in memory: nothing to do after the checks"},
	}
}

// readable returns the file of a descriptor that is open for reading, or EBADF.
func readable(t *task.Thread, arg uint64) (fd.File, abi.Errno) {
	return openFor(t, arg, unix.O_WRONLY)
}

// writable returns the file of a descriptor that is open for writing, or EBADF.
func writable(t *task.Thread, arg uint64) (fd.File, abi.Errno) {
	return openFor(t, arg, unix.O_RDONLY)
}

// openForAt is openFor for the calls that read or write at an offset: what has no
// positions is ESPIPE for them, however it is open.
func openForAt(t *task.Thread, arg uint64, off int64, notMode int) (fd.File, abi.Errno) {
	f, errno := openFor(t, arg, notMode)
	if errno != abi.OK && off != fd.CurrentOffset {
		if any, bad := openFor(t, arg, noMode); bad == abi.OK {
			if _, none := any.Lseek(0, unix.SEEK_CUR); none == abi.ESPIPE {
				errno = abi.ESPIPE
			}
		}
	}
	return f, errno
}

// noMode is no access mode: openFor takes any.
const noMode = -1

func openFor(t *task.Thread, arg uint64, notMode int) (fd.File, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(arg))
	if errno != abi.OK {
		return nil, errno
	}
	if fl := f.StatusFlags(); fl&unix.O_ACCMODE == notMode || fl&unix.O_PATH != 0 {
		return nil, abi.EBADF
	}
	return f, abi.OK
}

// await says what a call does whose file has nothing to give or no room: EAGAIN
// for a non-blocking one, ERESTARTSYS when a signal is due, otherwise it waits.
func await(t *task.Thread, f fd.File, nonblock bool) abi.Errno {
	if s, ok := f.(*net.Socket); ok {
		return waitSocket(t, s, s.Queue(), s.RecvTimeout(), nonblock)
	}
	q := f.Queue()
	switch {
	case nonblock || q == nil || f.StatusFlags()&unix.O_NONBLOCK != 0:
		return abi.EAGAIN
	case signalDue(t):
		return abi.ERESTARTSYS
	}
	return t.Block(task.NoDeadline, q)
}

func doRead(t *task.Thread, f fd.File, dst fd.Buffers, off int64, nonblock bool) (uint64, abi.Errno) {
	n, errno := f.Read(dst, off)
	if errno == abi.EAGAIN {
		return 0, await(t, f, nonblock)
	}
	return uint64(n), errno
}

// readChunk is how much of a buffer is looked at ahead of what the file gives: to
// look takes a page of memory for each that the program has not used yet.
const readChunk = 128 << 10

// mostOf returns the most bytes that one read of the file gives, as far as that is
// known; 1 where there is nothing but the end, or nothing yet.
func mostOf(f fd.File) uint64 {
	if s, ok := f.(fd.Sizer); ok {
		return uint64(max(1, min(s.Available(), task.MaxIO)))
	}
	return task.MaxIO
}

// readInto reads into one buffer, which may be much longer than what there is to
// read.
func readInto(t *task.Thread, f fd.File, addr, n uint64, off int64) (uint64, abi.Errno) {
	if s, ok := f.(*net.Socket); ok && off == fd.CurrentOffset {
		return recvInto(t, s, addr, n, 0)
	}
	if errno := userRange(addr, n); errno != abi.OK {
		return 0, errno
	}
	n = min(n, mostOf(f))
	done := uint64(0)
	for {
		want := min(n-done, readChunk)
		dst, errno := t.Buffers(addr+done, want, true)
		got := 0
		if errno == abi.OK {
			at := off
			if off != fd.CurrentOffset {
				at += int64(done)
			}
			got, errno = f.Read(dst, at)
		}
		done += uint64(got)
		switch {
		case errno == abi.OK && uint64(got) == want && done < n:
		case errno == abi.OK || done > 0:
			return done, abi.OK
		case errno == abi.EAGAIN, errno == abi.EFAULT && f.Queue() != nil && f.Readiness() == 0:
			// Where there is nothing to read, nobody looks at the buffer.
			return 0, await(t, f, false)
		case errno == abi.EFAULT && atEnd(f, off):
			return 0, abi.OK
		default:
			return 0, errno
		}
	}
}

// atEnd reports whether a read of a regular file at off has nothing to give.
func atEnd(f fd.File, off int64) bool {
	st, errno := f.Stat()
	if errno != abi.OK || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return false
	}
	if off == fd.CurrentOffset {
		if off, errno = f.Lseek(0, unix.SEEK_CUR); errno != abi.OK {
			return false
		}
	}
	return off >= st.Size && st.Size > 0
}

// written is how much of a blocking write is done when it has to wait.
type written int

// Progress implements task.Progress.
func (written) Progress() {}

// doWrite writes everything when the file is a blocking one, as Linux does for
// pipes and stream sockets, and what fits otherwise.
func doWrite(t *task.Thread, f fd.File, src fd.Buffers, off int64, nonblock bool) (uint64, abi.Errno) {
	if s, ok := f.(*net.Socket); ok && off == fd.CurrentOffset {
		return sendOn(t, s, src, &net.Message{Cred: credOf(t)}, nonblock, true)
	}
	done, _ := t.State.(written)
	total := written(src.Len())
	for {
		at := off
		if off != fd.CurrentOffset {
			at += int64(done)
		}
		n, errno := f.Write(src.Skip(int(done)), at)
		done += written(n)
		switch errno {
		case abi.OK:
			if n > 0 && done < total {
				continue // room may be left, or the next write says why not
			}
			return uint64(done), abi.OK
		case abi.EAGAIN:
			if errno = await(t, f, nonblock); errno == abi.EBLOCK {
				t.State = done
				return 0, errno
			}
		case abi.EPIPE:
			sigPipe(t)
		}
		if done > 0 {
			return uint64(done), abi.OK
		}
		return 0, errno
	}
}

// partial is what a write comes to whose arguments are no longer valid when it is
// made again: what was written before it waited counts.
func partial(t *task.Thread, errno abi.Errno) (uint64, abi.Errno) {
	if done, _ := t.State.(written); done > 0 {
		return uint64(done), abi.OK
	}
	return 0, errno
}

// userEnd is one past the last address of a program (TASK_SIZE_MAX).
const userEnd = 1<<47 - 4096

// userRange refuses a range that leaves the program's half of the address space: as
// on Linux that is EFAULT before anything is moved, also when its first part is there.
func userRange(addr, n uint64) abi.Errno {
	if n > userEnd || addr > userEnd-n {
		return abi.EFAULT
	}
	return abi.OK
}

// buffer returns the host slices of one buffer, after userRange.
func buffer(t *task.Thread, addr, n uint64, write bool) (fd.Buffers, abi.Errno) {
	if errno := userRange(addr, n); errno != abi.OK {
		return nil, errno
	}
	return t.Buffers(addr, n, write)
}

func sysRead(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	f, errno := readable(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	return readInto(t, f, a[1], a[2], fd.CurrentOffset)
}

func sysWrite(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	f, errno := writable(t, a[0])
	if errno != abi.OK {
		return partial(t, errno)
	}
	if s, ok := f.(*net.Socket); ok {
		return sendBuffer(t, s, a[1], a[2], &net.Message{Cred: credOf(t)}, 0)
	}
	src, errno := buffer(t, a[1], a[2], false)
	if errno != abi.OK {
		return partial(t, errno)
	}
	return doWrite(t, f, src, fd.CurrentOffset, false)
}

func sysPread(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if int64(a[3]) < 0 {
		return 0, abi.EINVAL
	}
	f, errno := openForAt(t, a[0], int64(a[3]), unix.O_WRONLY)
	if errno != abi.OK {
		return 0, errno
	}
	return readInto(t, f, a[1], a[2], int64(a[3]))
}

func sysPwrite(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if int64(a[3]) < 0 {
		return 0, abi.EINVAL
	}
	f, errno := openForAt(t, a[0], int64(a[3]), unix.O_RDONLY)
	if errno != abi.OK {
		return 0, errno
	}
	src, errno := buffer(t, a[1], a[2], false)
	if errno != abi.OK {
		return 0, errno
	}
	return doWrite(t, f, src, int64(a[3]), false)
}

func readVector(t *task.Thread, a task.Args, off int64, nonblock bool) (uint64, abi.Errno) {
	f, errno := openForAt(t, a[0], off, unix.O_WRONLY)
	if errno != abi.OK {
		return 0, errno
	}
	dst, errno := t.Iovec(a[1], vectorCount(a[2]), mostOf(f), true)
	if errno != abi.OK {
		return 0, errno
	}
	return doRead(t, f, dst, off, nonblock)
}

func writeVector(t *task.Thread, a task.Args, off int64, nonblock bool) (uint64, abi.Errno) {
	f, errno := openForAt(t, a[0], off, unix.O_RDONLY)
	if errno != abi.OK {
		return partial(t, errno)
	}
	src, errno := t.Iovec(a[1], vectorCount(a[2]), task.MaxIO, false)
	if errno != abi.OK {
		return partial(t, errno)
	}
	return doWrite(t, f, src, off, nonblock)
}

// vectorCount maps an unsigned long to an int that Iovec refuses when it is too big.
func vectorCount(v uint64) int { return int(min(v, 1<<20)) }

func sysReadv(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return readVector(t, a, fd.CurrentOffset, false)
}

func sysWritev(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	return writeVector(t, a, fd.CurrentOffset, false)
}

func sysPreadv(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if int64(a[3]) < 0 {
		return 0, abi.EINVAL
	}
	return readVector(t, a, int64(a[3]), false)
}

func sysPwritev(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	if int64(a[3]) < 0 {
		return 0, abi.EINVAL
	}
	return writeVector(t, a, int64(a[3]), false)
}

// rwfNoAppend is RWF_NOAPPEND of pwritev2(2), which golang.org/x/sys/unix does not have.
const rwfNoAppend = 0x20

// vector2 checks the position, the descriptor and the flags of preadv2 and pwritev2,
// where -1 is the file's own position.
func vector2(t *task.Thread, a task.Args, known uint32, notMode int) (nonblock bool, errno abi.Errno) {
	const harmless = unix.RWF_HIPRI | unix.RWF_DSYNC | unix.RWF_SYNC
	if int64(a[3]) < fd.CurrentOffset {
		return false, abi.EINVAL
	}
	if _, errno := openForAt(t, a[0], int64(a[3]), notMode); errno != abi.OK {
		return false, errno
	}
	if uint32(a[5])&^(harmless|unix.RWF_NOWAIT|known) != 0 {
		return false, abi.EOPNOTSUPP
	}
	return uint32(a[5])&unix.RWF_NOWAIT != 0, abi.OK
}

func sysPreadv2(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	nonblock, errno := vector2(t, a, 0, unix.O_WRONLY)
	if errno != abi.OK {
		return 0, errno
	}
	return readVector(t, a, int64(a[3]), nonblock)
}

// sysPwritev2 is pwritev2(2). RWF_APPEND and RWF_NOAPPEND are O_APPEND for one call.
func sysPwritev2(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	nonblock, errno := vector2(t, a, unix.RWF_APPEND|rwfNoAppend, unix.O_RDONLY)
	if errno != abi.OK {
		return 0, errno
	}
	flags := uint32(a[5])
	if flags&unix.RWF_APPEND != 0 && flags&rwfNoAppend != 0 {
		return 0, abi.EINVAL
	}
	if flags&(unix.RWF_APPEND|rwfNoAppend) != 0 {
		f, errno := writable(t, a[0])
		if errno != abi.OK {
			return 0, errno
		}
		was := f.StatusFlags()
		now := was | unix.O_APPEND
		if flags&rwfNoAppend != 0 {
			now = was &^ unix.O_APPEND
		}
		f.SetStatusFlags(now)
		defer f.SetStatusFlags(was)
	}
	return writeVector(t, a, int64(a[3]), nonblock)
}

func sysLseek(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	f, errno := openFor(t, a[0], noMode)
	if errno != abi.OK {
		return 0, errno
	}
	if uint32(a[2]) > unix.SEEK_HOLE {
		return 0, abi.EINVAL
	}
	pos, errno := f.Lseek(int64(a[1]), int(uint32(a[2])))
	return uint64(pos), errno
}

const (
	copyMax   = 16 << 20 // most one call copies: the loop of the VM stands still meanwhile
	copyChunk = 64 << 10
)

// position is where a copying call reads or writes: at an offset that the guest
// passed by address and gets back, or at the file's own position.
type position struct {
	f    fd.File
	addr uint64 // of the offset; 0: the file's own
	off  int64
}

func positionOf(t *task.Thread, f fd.File, addr uint64) (position, abi.Errno) {
	p := position{f: f, addr: addr}
	if addr == 0 {
		off, errno := f.Lseek(0, unix.SEEK_CUR)
		p.off = off
		return p, errno
	}
	v, errno := t.CopyInU64(addr)
	p.off = int64(v)
	if errno == abi.OK && p.off < 0 {
		return p, abi.EINVAL
	}
	return p, errno
}

// advance moves the position by n bytes that were copied.
func (p *position) advance(t *task.Thread, n int) abi.Errno {
	if p.addr == 0 {
		_, errno := p.f.Lseek(p.off+int64(n), unix.SEEK_SET)
		return errno
	}
	return t.CopyOutU64(p.addr, uint64(p.off)+uint64(n))
}

// sysSendfile is sendfile(2). What was sent before the output had no more room is
// a success, also on a blocking output.
func sysSendfile(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	out, errno := writable(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	in, errno := readable(t, a[1])
	if errno != abi.OK {
		return 0, errno
	}
	from, errno := positionOf(t, in, a[2])
	switch {
	case errno == abi.ESPIPE && a[2] == 0:
		return 0, abi.EINVAL
	case errno != abi.OK:
		return 0, errno
	case out.StatusFlags()&unix.O_APPEND != 0, int64(a[3]) < 0:
		return 0, abi.EINVAL
	}
	done, errno := copyBytes(t, from, a[3], func(src fd.Buffers, _ int) (int, abi.Errno) {
		return out.Write(src, fd.CurrentOffset)
	})
	if done > 0 {
		errno = from.advance(t, done)
	}
	switch errno {
	case abi.EAGAIN:
		if s, ok := out.(*net.Socket); ok {
			return 0, waitSocket(t, s, s.Queue(), s.SendTimeout(), false)
		}
		return 0, await(t, out, false)
	case abi.EPIPE:
		sigPipe(t)
	}
	return uint64(done), errno
}

// copyBytes reads from a position and writes the bytes, until the end, the limit or
// the first failure, which it returns only when nothing was copied before.
func copyBytes(t *task.Thread, from position, count uint64, write func(src fd.Buffers, at int) (int, abi.Errno)) (int, abi.Errno) {
	left := int(min(count, copyMax))
	buf := make([]byte, min(left, copyChunk))
	done := 0
	for left > 0 {
		n, errno := from.f.Read(fd.Buffers{buf[:min(left, len(buf))]}, from.off+int64(done))
		k := 0
		if errno == abi.OK && n > 0 {
			k, errno = write(fd.Buffers{buf[:n]}, done)
		}
		done += k
		left -= k
		if errno != abi.OK && done == 0 {
			return 0, errno
		}
		if errno != abi.OK || k == 0 || k < n {
			break
		}
	}
	return done, abi.OK
}

// sysCopyFileRange is copy_file_range(2): both files are regular. What is wrong is looked
// for in the order in which Linux does.
func sysCopyFileRange(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	in, errno := openFor(t, a[0], noMode)
	if errno != abi.OK {
		return 0, errno
	}
	out, errno := openFor(t, a[2], noMode)
	if errno != abi.OK {
		return 0, errno
	}
	from, errno := positionOf(t, in, a[1])
	if errno == abi.EFAULT {
		return 0, errno
	}
	to, errno := positionOf(t, out, a[3])
	if errno == abi.EFAULT {
		return 0, errno
	}
	if a[5] != 0 {
		return 0, abi.EINVAL
	}
	source, errno := copiedFiles(in, out)
	if errno != abi.OK {
		return 0, errno
	}
	count := a[4]
	if uint64(from.off)+count < count || uint64(to.off)+count < count {
		return 0, abi.EOVERFLOW
	}
	count = min(count, copyMax, uint64(max(0, source.Size-from.off)))
	if st, errno := out.Stat(); errno != abi.OK || st.Dev == source.Dev && st.Ino == source.Ino &&
		from.off < addOffset(to.off, count) && to.off < addOffset(from.off, count) {
		return 0, cmp.Or(errno, abi.EINVAL)
	}
	if from.off < 0 || to.off < 0 {
		return 0, abi.EINVAL
	}
	done, errno := copyBytes(t, from, count, func(src fd.Buffers, at int) (int, abi.Errno) {
		return out.Write(src, to.off+int64(at))
	})
	if done > 0 {
		if errno = from.advance(t, done); errno == abi.OK {
			errno = to.advance(t, done)
		}
	}
	return uint64(done), errno
}

// copiedFiles checks that bytes of a file can be copied to another one, and returns what
// the first one is. Errors: EISDIR, EINVAL for what is no regular file, EBADF, and as
// in Linux since 5.19 EXDEV for files of different file systems.
func copiedFiles(in, out fd.File) (source abi.Stat, errno abi.Errno) {
	into, errno := out.Stat()
	if errno != abi.OK {
		return source, errno
	}
	if source, errno = in.Stat(); errno != abi.OK {
		return source, errno
	}
	from, to := source.Mode&unix.S_IFMT, into.Mode&unix.S_IFMT
	switch {
	case from == unix.S_IFDIR || to == unix.S_IFDIR:
		return source, abi.EISDIR
	case from != unix.S_IFREG || to != unix.S_IFREG:
		return source, abi.EINVAL
	case in.StatusFlags()&unix.O_ACCMODE == unix.O_WRONLY, out.StatusFlags()&unix.O_ACCMODE == unix.O_RDONLY,
		out.StatusFlags()&unix.O_APPEND != 0:
		return source, abi.EBADF
	case source.Dev != into.Dev:
		return source, abi.EXDEV
	}
	return source, abi.OK
}

// addOffset adds and stops at the largest offset.
func addOffset(off int64, n uint64) int64 {
	if sum := off + int64(n); sum >= off {
		return sum
	}
	return 1<<63 - 1
}

func sysReadahead(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	f, errno := readable(t, a[0])
	if errno != abi.OK {
		return 0, errno
	}
	st, errno := f.Stat()
	if errno == abi.OK && st.Mode&unix.S_IFMT != unix.S_IFREG {
		errno = abi.EINVAL
	}
	return 0, errno
}

func sysFadvise(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	f, errno := t.P.FDs.Get(int32(a[0]))
	if errno != abi.OK {
		return 0, errno
	}
	if f.StatusFlags()&unix.O_PATH != 0 {
		return 0, abi.EBADF
	}
	st, errno := f.Stat()
	switch {
	case errno != abi.OK:
		return 0, errno
	case st.Mode&unix.S_IFMT == unix.S_IFIFO:
		return 0, abi.ESPIPE
	case int64(a[2]) < 0 || uint32(a[3]) > unix.FADV_NOREUSE:
		return 0, abi.EINVAL
	}
	return 0, abi.OK
}

// sysSyncFileRange only checks its arguments.
func sysSyncFileRange(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const known = unix.SYNC_FILE_RANGE_WAIT_BEFORE | unix.SYNC_FILE_RANGE_WRITE | unix.SYNC_FILE_RANGE_WAIT_AFTER
	f, errno := t.P.FDs.Get(int32(a[0]))
	if errno != abi.OK {
		return 0, errno
	}
	off, n := int64(a[1]), int64(a[2])
	if f.StatusFlags()&unix.O_PATH != 0 {
		return 0, abi.EBADF
	}
	if uint32(a[3])&^known != 0 || off < 0 || n < 0 || off+n < off {
		return 0, abi.EINVAL
	}
	st, errno := f.Stat()
	if errno != abi.OK {
		return 0, errno
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFBLK, unix.S_IFDIR, unix.S_IFLNK:
		return 0, abi.OK
	}
	return 0, abi.ESPIPE
}
