// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scanArg is struct pm_scan_arg of PAGEMAP_SCAN (Linux 6.7), and scanRegion
// struct page_region.
type scanArg struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages   uint64
	categoryInverted, categoryMask, categoryAnyOf, returnMask uint64
}

type scanRegion struct{ start, end, categories uint64 }

const (
	ioPagemapScan = 0xc0606610

	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
)

// Requests returns the ioctl requests of this package, for a system call filter.
func Requests() []uint32 { return []uint32{ioPagemapScan} }

// The compiler rejects a drift of the structures' sizes from the kernel's.
var (
	_ [96]byte = [unsafe.Sizeof(scanArg{})]byte{}
	_ [24]byte = [unsafe.Sizeof(scanRegion{})]byte{}
)

// privatePages appends to out the pages of a private file mapping that are no
// longer the file's, as offsets in b. It needs Linux 6.7 to be fast and reads
// the page map page by page otherwise.
func privatePages(b []byte, out []Run) ([]Run, error) {
	f := pagemap()
	if f == nil { // unknown: all of them
		return append(out, Run{0, uint64(len(b))}), nil
	}
	runs, err := scanPages(f, b, out)
	if errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) {
		return readPagemap(f, b, out)
	}
	return runs, err
}

func scanPages(f *os.File, b []byte, out []Run) ([]Run, error) {
	base := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	end := base + uint64(len(b))
	regions := scanRegions.Get().(*[512]scanRegion)
	defer scanRegions.Put(regions)
	for at := base; at < end; {
		a := scanArg{
			size: 96, start: at, end: end, vec: uint64(uintptr(unsafe.Pointer(&regions[0]))), vecLen: uint64(len(regions)),
			// Not a file's page, and present or swapped.
			categoryInverted: pageIsFile, categoryMask: pageIsFile, categoryAnyOf: pageIsPresent | pageIsSwapped,
			returnMask: pageIsFile,
		}
		n, _, e := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioPagemapScan, uintptr(unsafe.Pointer(&a)))
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return out, os.NewSyscallError("ioctl(PAGEMAP_SCAN)", e)
		}
		for _, r := range regions[:n] {
			out = appendRun(out, Run{r.start - base, r.end - base})
		}
		at = a.walkEnd
	}
	return out, nil
}

// scanRegions keeps what PAGEMAP_SCAN fills in. The kernel is given its address as a
// number, so it must be on the heap, where it does not move; a pool is a way to be sure
// of that without an allocation for each reset.
var scanRegions = sync.Pool{New: func() any { return new([512]scanRegion) }}

func readPagemap(f *os.File, b []byte, out []Run) ([]Run, error) {
	const present, swapped, file = uint64(1) << 63, uint64(1) << 62, uint64(1) << 61
	first := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) / PageSize
	buf := make([]byte, pagemapEntry*4096)
	pages := uint64(len(b) / PageSize)
	for at := uint64(0); at < pages; {
		n := min(pages-at, uint64(len(buf)/pagemapEntry))
		if _, err := f.ReadAt(buf[:pagemapEntry*n], int64(pagemapEntry*(first+at))); err != nil {
			return out, err
		}
		for i := range n {
			if e := binary.LittleEndian.Uint64(buf[pagemapEntry*i:]); e&(present|swapped) != 0 && e&file == 0 {
				out = appendRun(out, Run{(at + i) * PageSize, (at + i + 1) * PageSize})
			}
		}
		at += n
	}
	return out, nil
}

func appendRun(runs []Run, r Run) []Run {
	if n := len(runs); n > 0 && runs[n-1].End == r.Start {
		runs[n-1].End = r.End
		return runs
	}
	return append(runs, r)
}
