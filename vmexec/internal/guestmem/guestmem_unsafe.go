// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapFixed replaces the mapping behind b.
func mapFixed(b []byte, prot, flags, fd int, off int64) error {
	_, _, e := unix.Syscall6(unix.SYS_MMAP, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
		uintptr(prot), uintptr(flags|unix.MAP_FIXED), uintptr(fd), uintptr(off))
	if e != 0 {
		return os.NewSyscallError("mmap", e)
	}
	// A new mapping does not inherit the advice of New.
	_ = unix.Madvise(b, unix.MADV_DONTDUMP)
	if err := unix.Madvise(b, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL {
		return os.NewSyscallError("madvise(MADV_NOHUGEPAGE)", err)
	}
	return nil
}

// address is where the memory lies in the monitor.
func (m *Memory) address() uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(m.host)))) }

// Words returns the page at gpa as 64-bit words: a page table.
func (m *Memory) Words(gpa uint64) *[PageSize / 8]uint64 {
	return (*[PageSize / 8]uint64)(unsafe.Pointer(unsafe.SliceData(m.Page(gpa))))
}
