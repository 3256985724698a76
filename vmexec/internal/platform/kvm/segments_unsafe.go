// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kvm

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clearDataSegments makes DS and ES what they are in a new thread: 0.
func clearDataSegments()

// threadSegments returns the selectors in FS and GS.
func threadSegments() (fs, gs uint16)

// Of arch_prctl(2).
const (
	archSetGS, archSetFS = 0x1001, 0x1002
	archGetFS, archGetGS = 0x1003, 0x1004
)

// clearSegments makes the segment selectors of this OS thread 0, and keeps the
// bases. A hypervisor that runs guests without hardware help (PVM) shares the
// selectors with the guest: without this, what a program loads there is seen by
// the next one that the thread runs.
func clearSegments() error {
	clearDataSegments()
	fs, gs := threadSegments()
	for _, s := range [...]struct {
		selector uint16
		get, set uintptr
	}{{fs, archGetFS, archSetFS}, {gs, archGetGS, archSetGS}} {
		if s.selector == 0 {
			continue
		}
		var base uint64
		if _, _, e := unix.RawSyscall(unix.SYS_ARCH_PRCTL, s.get, uintptr(unsafe.Pointer(&base)), 0); e != 0 {
			return os.NewSyscallError("arch_prctl", e)
		}
		// Setting a base clears the selector.
		if _, _, e := unix.RawSyscall(unix.SYS_ARCH_PRCTL, s.set, uintptr(base), 0); e != 0 {
			return os.NewSyscallError("arch_prctl", e)
		}
	}
	return nil
}
