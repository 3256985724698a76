// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package task

import (
	"encoding/binary"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// CopyIn copies guest memory to dst. Errors: EFAULT.
func (t *Thread) CopyIn(addr uint64, dst []byte) abi.Errno { return t.P.MM.CopyIn(addr, dst) }

// CopyOut copies src to guest memory. Errors: EFAULT.
func (t *Thread) CopyOut(addr uint64, src []byte) abi.Errno { return t.P.MM.CopyOut(addr, src) }

// CopyInString copies a zero-terminated string. Errors: EFAULT; ENAMETOOLONG
// when it has limit bytes or more.
func (t *Thread) CopyInString(addr uint64, limit int) (string, abi.Errno) {
	return t.P.MM.CopyInString(addr, limit)
}

// CopyInU32 reads a 32-bit value. Errors: EFAULT.
func (t *Thread) CopyInU32(addr uint64) (uint32, abi.Errno) { return t.P.MM.CopyInU32(addr) }

// CopyInU64 reads a 64-bit value. Errors: EFAULT.
func (t *Thread) CopyInU64(addr uint64) (uint64, abi.Errno) { return t.P.MM.CopyInU64(addr) }

// CopyOutU32 writes a 32-bit value. Errors: EFAULT.
func (t *Thread) CopyOutU32(addr uint64, v uint32) abi.Errno { return t.P.MM.CopyOutU32(addr, v) }

// CopyOutU64 writes a 64-bit value. Errors: EFAULT.
func (t *Thread) CopyOutU64(addr, v uint64) abi.Errno { return t.P.MM.CopyOutU64(addr, v) }

// MaxIO is the most bytes one call moves, as MAX_RW_COUNT of Linux.
const MaxIO = 0x7fff_f000

// Buffers returns a guest range as host slices. It stops at the first byte that
// the program itself could not access so (write says how); EFAULT when that is
// the first. Ranges past 2 GiB are cut as Linux does.
func (t *Thread) Buffers(addr, n uint64, write bool) (fd.Buffers, abi.Errno) {
	return t.P.MM.Buffers(addr, min(n, MaxIO), write)
}

// userEnd is one past the last address of a program (TASK_SIZE_MAX).
const userEnd = canonical - pageSize

// maxIovec is UIO_MAXIOV.
const maxIovec = 1024

// Iovec returns the ranges of a struct iovec array as host slices, most bytes of
// them at the most.
// Errors: EINVAL for a count or a length out of bounds; EFAULT, also for a range
// that leaves the program's half of the address space.
func (t *Thread) Iovec(addr uint64, count int, most uint64, write bool) (fd.Buffers, abi.Errno) {
	if count < 0 || count > maxIovec {
		return nil, abi.EINVAL
	}
	raw := make([]byte, 16*count)
	if errno := t.CopyIn(addr, raw); errno != 0 {
		return nil, errno
	}
	// As Linux, all ranges are checked before the first byte is moved.
	for at := 8; at < len(raw); at += 16 {
		if int64(binary.LittleEndian.Uint64(raw[at:])) < 0 {
			return nil, abi.EINVAL
		}
	}
	for at := 0; at < len(raw); at += 16 {
		base, n := binary.LittleEndian.Uint64(raw[at:]), binary.LittleEndian.Uint64(raw[at+8:])
		if count == 1 {
			n = min(n, MaxIO) // cut first, as read(2) is not
		}
		if n > userEnd || base > userEnd-n {
			return nil, abi.EFAULT
		}
	}
	var out fd.Buffers
	left := min(most, MaxIO)
	for ; len(raw) > 0; raw = raw[16:] {
		base, n := binary.LittleEndian.Uint64(raw), binary.LittleEndian.Uint64(raw[8:])
		n = min(n, left)
		if n == 0 {
			continue
		}
		before := out.Len()
		var errno abi.Errno
		if out, errno = t.P.MM.AppendBuffers(out, base, n, write); errno != 0 {
			if len(out) > 0 {
				return out, 0
			}
			return nil, errno
		}
		if uint64(out.Len()-before) < n { // a part is not accessible: stop there
			return out, 0
		}
		left -= n
	}
	return out, 0
}
