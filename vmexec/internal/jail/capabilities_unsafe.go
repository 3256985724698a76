// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package jail

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// capabilities gives up what a process has that root started; capabilities(7). With
// keepReads it keeps that of reading every file it can reach, which Landlock or its cell
// see to it are those of its folder: they may belong to anybody.
func capabilities(keepReads bool) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have, keep [2]unix.CapUserData
	if err := unix.Capget(&header, &have[0]); err != nil {
		return os.NewSyscallError("capget", err)
	}
	if keepReads {
		may := have[0].Permitted & (1 << unix.CAP_DAC_READ_SEARCH)
		keep[0] = unix.CapUserData{Effective: may, Permitted: may}
	}
	if have == keep {
		return nil
	}
	// They are a thread's own.
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&keep[0])), 0); e != 0 {
		return os.NewSyscallError("capset", e)
	}
	return nil
}
