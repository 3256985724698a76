// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Conditions that golang.org/x/sys/unix does not have; see
// include/uapi/asm-generic/poll.h of Linux.
const (
	pollRdNorm = 0x040
	pollWrNorm = 0x100
)

// Conditions in the pairs that Linux reports together.
const (
	// In: data to read, or the end of the data.
	In Events = unix.POLLIN | pollRdNorm
	// Out: room to write.
	Out Events = unix.POLLOUT | pollWrNorm
	// Err: an error, such as a pipe without readers.
	Err Events = unix.POLLERR
	// Hup: the other side is gone.
	Hup Events = unix.POLLHUP
)

// setFlags are the status flags that fcntl(F_SETFL) may change.
const setFlags = unix.O_APPEND | unix.O_ASYNC | unix.O_DIRECT | unix.O_NOATIME | unix.O_NONBLOCK

// Base is embedded by files for the methods they do not need: it cannot be read,
// written (EINVAL) or positioned (ESPIPE), is always ready and frees nothing.
type Base struct {
	// Flags is the access mode and the status flags.
	Flags int
	// Ino is st_ino; see System.NextInode.
	Ino uint64
	// Mode is st_mode. Zero stands for what Linux shows of an anonymous inode: 0600
	// without a file type.
	Mode uint32
}

// Read fails with EINVAL.
func (b *Base) Read(Buffers, int64) (int, abi.Errno) { return 0, abi.EINVAL }

// Write fails with EINVAL.
func (b *Base) Write(Buffers, int64) (int, abi.Errno) { return 0, abi.EINVAL }

// Lseek fails with ESPIPE.
func (b *Base) Lseek(int64, int) (int64, abi.Errno) { return 0, abi.ESPIPE }

// Stat describes an empty file of Mode and Ino that belongs to root.
func (b *Base) Stat() (abi.Stat, abi.Errno) {
	st := abi.Stat{Dev: deviceMajor0, Ino: b.Ino, Nlink: 1, Mode: b.Mode, Blksize: 4096}
	if st.Mode == 0 {
		st.Mode = 0o600
	}
	return st, abi.OK
}

// deviceMajor0 is st_dev of files that are on no mounted file system: an unnamed
// device, as pipefs and anon_inodefs have on Linux.
const deviceMajor0 = 15

// Readiness says readable and writable.
func (b *Base) Readiness() Events { return In | Out }

// Queue is nil: always ready.
func (b *Base) Queue() *waitq.Queue { return nil }

// StatusFlags returns Flags.
func (b *Base) StatusFlags() int { return b.Flags }

// SetStatusFlags changes the flags that fcntl(F_SETFL) may change, and ignores
// the rest as Linux does.
func (b *Base) SetStatusFlags(flags int) { b.Flags = b.Flags&^setFlags | flags&setFlags }

// Release does nothing.
func (b *Base) Release() {}

// Namer is implemented by files that are on no file system: Name is what the link
// in /proc/self/fd shows, for instance "pipe:[7]".
type Namer interface{ Name() string }

// Sizer is implemented by files that answer ioctl(FIONREAD): Available is the
// number of bytes that can be read at once.
type Sizer interface{ Available() int }
