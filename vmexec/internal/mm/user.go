// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package mm

import (
	"bytes"
	"encoding/binary"
	"errors"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/x86"
)

// at returns the bytes from va to the end of its page, or nil when user code
// could not access it so.
func (m *MM) at(va uint64, write bool) []byte {
	need := x86.PTEPresent | x86.PTEUser
	if write {
		need |= x86.PTEWrite
	}
	e := m.leaf(va)
	if e&need != need {
		if m.Fault(va, write, false) != FaultServed {
			return nil
		}
		e = m.leaf(va)
	}
	b := m.mem.Bytes(e&x86.PTEAddr+va%pageSize, pageSize-va%pageSize)
	// The host page must exist from here on: reclaim takes pages that do not,
	// and the caller may still hold b when the next page needs memory.
	m.touched ^= b[0]
	return b
}

// Buffers returns the guest range as host slices, as few as possible. It stops
// at the first byte that user code could not access so; the error is EFAULT
// when that is the first.
func (m *MM) Buffers(va, n uint64, write bool) ([][]byte, abi.Errno) {
	return m.AppendBuffers(nil, va, n, write)
}

// AppendBuffers is Buffers that appends to out.
func (m *MM) AppendBuffers(out [][]byte, va, n uint64, write bool) ([][]byte, abi.Errno) {
	first, got := len(out), uint64(0)
	lastGPA := uint64(0)
	for got < n {
		b := m.at(va+got, write)
		if b == nil {
			if got == 0 {
				return out, abi.EFAULT
			}
			break
		}
		gpa := m.leaf(va+got)&x86.PTEAddr + (va+got)%pageSize
		if rest := n - got; uint64(len(b)) > rest {
			b = b[:rest]
		}
		if k := len(out) - 1; k >= first && lastGPA == gpa {
			start := gpa - uint64(len(out[k]))
			out[k] = m.mem.Bytes(start, uint64(len(out[k])+len(b)))
		} else {
			out = append(out, b)
		}
		got += uint64(len(b))
		lastGPA = gpa + uint64(len(b))
	}
	return out, 0
}

// CopyIn copies guest memory at va to dst. Errors: EFAULT.
func (m *MM) CopyIn(va uint64, dst []byte) abi.Errno {
	for len(dst) > 0 {
		b := m.at(va, false)
		if b == nil {
			return abi.EFAULT
		}
		n := copy(dst, b)
		dst = dst[n:]
		va += uint64(n)
	}
	return 0
}

// CopyOut copies src to guest memory at va. Errors: EFAULT.
func (m *MM) CopyOut(va uint64, src []byte) abi.Errno {
	for len(src) > 0 {
		b := m.at(va, true)
		if b == nil {
			return abi.EFAULT
		}
		n := copy(b, src)
		src = src[n:]
		va += uint64(n)
	}
	return 0
}

// CopyInString copies the zero-terminated string at va. Errors: EFAULT, and
// ENAMETOOLONG when it has max bytes or more.
func (m *MM) CopyInString(va uint64, limit int) (string, abi.Errno) {
	var s []byte
	for len(s) < limit {
		b := m.at(va, false)
		if b == nil {
			return "", abi.EFAULT
		}
		b = b[:min(len(b), limit-len(s))]
		if i := bytes.IndexByte(b, 0); i >= 0 {
			return string(append(s, b[:i]...)), 0
		}
		s = append(s, b...)
		va += uint64(len(b))
	}
	return "", abi.ENAMETOOLONG
}

// CopyInU32 reads a 32-bit value. Errors: EFAULT.
func (m *MM) CopyInU32(va uint64) (uint32, abi.Errno) {
	if b := m.at(va, false); len(b) >= 4 {
		return binary.LittleEndian.Uint32(b), 0
	}
	var b [4]byte
	errno := m.CopyIn(va, b[:])
	return binary.LittleEndian.Uint32(b[:]), errno
}

// CopyInU64 reads a 64-bit value. Errors: EFAULT.
func (m *MM) CopyInU64(va uint64) (uint64, abi.Errno) {
	if b := m.at(va, false); len(b) >= 8 {
		return binary.LittleEndian.Uint64(b), 0
	}
	var b [8]byte
	errno := m.CopyIn(va, b[:])
	return binary.LittleEndian.Uint64(b[:]), errno
}

// CopyOutU32 writes a 32-bit value. Errors: EFAULT.
func (m *MM) CopyOutU32(va uint64, v uint32) abi.Errno {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], v)
	return m.CopyOut(va, b[:])
}

// CopyOutU64 writes a 64-bit value. Errors: EFAULT.
func (m *MM) CopyOutU64(va uint64, v uint64) abi.Errno {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return m.CopyOut(va, b[:])
}

// Physical returns the guest physical address of va. Errors: EFAULT.
func (m *MM) Physical(va uint64) (uint64, abi.Errno) {
	if m.at(va, false) == nil {
		return 0, abi.EFAULT
	}
	return m.leaf(va)&x86.PTEAddr + va%pageSize, 0
}

// ErrNotMapped means that there is nothing at an address that Poke was to write.
var ErrNotMapped = errors.New("nothing is mapped there")

// Poke writes to mapped pages without regard to their rights: for the loader. The
// error is ErrNotMapped, or guestmem.ErrLimit when there is no page left.
func (m *MM) Poke(va uint64, src []byte) error {
	for len(src) > 0 {
		e := m.leaf(va)
		if e&x86.PTEOwned == 0 {
			page, v := va&^(pageSize-1), m.find(va)
			if v == nil {
				return ErrNotMapped
			}
			if !m.populate(v, page, page+pageSize, page) {
				return m.noMemory()
			}
			if e = m.leaf(va); e&x86.PTEOwned == 0 { // past the end of a file
				return ErrNotMapped
			}
		}
		if v := m.find(va); v != nil && v.Shared() == nil && m.s.held(e&x86.PTEAddr) {
			if !m.own(v, va&^(pageSize-1)) {
				return m.noMemory()
			}
			e = m.leaf(va)
		}
		n := copy(m.mem.Bytes(e&x86.PTEAddr+va%pageSize, pageSize-va%pageSize), src)
		src = src[n:]
		va += uint64(n)
	}
	return nil
}

// Refresh writes to memory in place, also where a fork shares it: all who share the
// page see it. Where nothing is mapped, nothing is written.
func (m *MM) Refresh(va uint64, src []byte) {
	for len(src) > 0 {
		n := min(len(src), int(pageSize-va%pageSize))
		if e := m.leaf(va); e&x86.PTEOwned != 0 {
			copy(m.mem.Bytes(e&x86.PTEAddr+va%pageSize, uint64(n)), src)
		}
		src, va = src[n:], va+uint64(n)
	}
}
