// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigevent is struct sigevent of sigevent(7) on 64-bit Linux, 64 bytes.
type sigevent struct {
	value  uint64
	signo  int32
	notify int32
	tid    int32
	_      [44]byte
}

const sigevThreadID = 4 // SIGEV_THREAD_ID, include/uapi/asm-generic/siginfo.h

// probeTimer creates a timer that would signal this thread and deletes it
// unarmed (timer_create(2)).
func probeTimer() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	event := sigevent{signo: int32(unix.SIGURG), notify: sigevThreadID, tid: int32(unix.Gettid())}
	var id int32
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_MONOTONIC,
		uintptr(unsafe.Pointer(&event)), uintptr(unsafe.Pointer(&id)))
	if errno != 0 {
		return os.NewSyscallError("timer_create", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(id), 0, 0); errno != 0 {
		return os.NewSyscallError("timer_delete", errno)
	}
	return nil
}

// pmScanArg and pageRegion are struct pm_scan_arg and struct page_region of
// include/uapi/linux/fs.h; see
// https://docs.kernel.org/admin-guide/mm/pagemap.html#pagemap-scan-ioctl.
type pmScanArg struct {
	size, flags, start, end, walkEnd   uint64
	vec, vecLen, maxPages              uint64
	inverted, mask, anyOf, returnFlags uint64
}

type pageRegion struct{ start, end, _ uint64 }

const (
	pagemapScan   = 0xc0606610 // _IOWR('f', 16, struct pm_scan_arg)
	pageIsPresent = 1 << 3     // PAGE_IS_PRESENT
)

// probePagemapScan writes to the second of two new pages and asks which are
// present.
func probePagemapScan() error {
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	defer unix.Munmap(mem)
	if err := unix.Madvise(mem, unix.MADV_NOHUGEPAGE); err != nil && err != unix.EINVAL { // EINVAL: a kernel without huge pages
		return os.NewSyscallError("madvise", err)
	}
	mem[page] = 1

	fd, err := unix.Open("/proc/self/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/proc/self/pagemap", Err: err}
	}
	defer unix.Close(fd)
	start := uint64(uintptr(unsafe.Pointer(&mem[0])))
	// The kernel gets the address as a number: the array must neither move nor go.
	regions := new([4]pageRegion)
	var pinner runtime.Pinner
	pinner.Pin(regions)
	defer pinner.Unpin()
	arg := pmScanArg{
		size: uint64(unsafe.Sizeof(pmScanArg{})), start: start, end: start + uint64(len(mem)),
		vec: uint64(uintptr(unsafe.Pointer(regions))), vecLen: uint64(len(regions)),
		mask: pageIsPresent, returnFlags: pageIsPresent,
	}
	n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), pagemapScan, uintptr(unsafe.Pointer(&arg)))
	if errno != 0 {
		return os.NewSyscallError("ioctl PAGEMAP_SCAN", errno)
	}
	if n != 1 || regions[0].start != start+uint64(page) || regions[0].end != start+2*uint64(page) {
		return errScanWrong
	}
	return nil
}
