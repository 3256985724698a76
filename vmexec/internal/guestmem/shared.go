// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// shared is what a memory has of its own that a process maps in pieces, and
// not a virtual machine as a whole.
type shared struct {
	fd     int // memfd; the file offset is the guest physical address
	forget func(Run)
}

// NewShared is New for a platform whose guest is another process: the memory is
// a file that it can map; see FD and OnForget.
func NewShared(limit uint64) (*Memory, error) {
	span := (limit + PageSize - 1) &^ (PageSize - 1)
	fd, err := unix.MemfdCreate("kontain-memory", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	m := &Memory{limit: span / PageSize, shared: &shared{fd: fd, forget: func(Run) {}}}
	if err = unix.Ftruncate(fd, int64(span)); err == nil {
		m.host, err = unix.Mmap(fd, 0, int(span), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_NORESERVE)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("reserve %d MiB of guest memory: %w", span>>20, err)
	}
	// As in New; and one touched byte must not cost 2 MiB here either.
	_ = unix.Madvise(m.host, unix.MADV_DONTDUMP)
	_ = unix.Madvise(m.host, unix.MADV_NOHUGEPAGE)
	return m, nil
}

// FD returns the file of a memory of NewShared; it belongs to the memory. It is
// -1 for others.
func (m *Memory) FD() int {
	if m.shared == nil {
		return -1
	}
	return m.shared.fd
}

// OnForget sets the function that is told, for a memory of NewShared, which
// pages the platform must not map any longer as it did. It may be nil.
func (m *Memory) OnForget(forget func(Run)) {
	if forget == nil {
		forget = func(Run) {}
	}
	if m.shared != nil {
		m.shared.forget = forget
	}
}

// punch makes pages read as zeros in every process that maps them.
func (s *shared) punch(r Run) error {
	const mode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	return os.NewSyscallError("fallocate", unix.Fallocate(s.fd, mode, int64(r.Start), int64(r.End-r.Start)))
}

// resident is Memory.Resident: swapped-out pages are data too.
func (s *shared) resident(r Run, out []bool) error { return fileData(s.fd, 0, r, out) }

// fileData marks the pages of r that a file has data for; byte off of the file is
// address 0.
func fileData(fd int, off int64, r Run, out []bool) error {
	start, end := off+int64(r.Start), off+int64(r.End)
	for at := start; at < end; {
		data, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && data >= end {
			return nil
		}
		if err != nil {
			return os.NewSyscallError("lseek(SEEK_DATA)", err)
		}
		if at, err = unix.Seek(fd, data, unix.SEEK_HOLE); err != nil {
			return os.NewSyscallError("lseek(SEEK_HOLE)", err)
		}
		for p := (data - start) &^ (PageSize - 1); p < min(at, end)-start; p += PageSize {
			out[p/PageSize] = true
		}
	}
	return nil
}

// copyImage makes the memory hold what the image does. Its holes stay holes.
func (m *Memory) copyImage(img *Image) error {
	there := make([]bool, img.Size()/PageSize)
	if err := img.resident(there); err != nil {
		return err
	}
	for i := 0; i < len(there); i++ {
		j := i
		for j < len(there) && there[j] {
			j++
		}
		copy(m.host[i*PageSize:j*PageSize], img.bytes[i*PageSize:j*PageSize])
		i = j
	}
	return nil
}

// changedPages appends to out the pages of a clone that differ from its image,
// which b is the place of. The other process writes without a trace here, so
// all pages that there are must be compared.
func (m *Memory) changedPages(b []byte, out []Run) ([]Run, error) {
	there := make([]bool, len(b)/PageSize)
	if err := m.shared.resident(Run{0, uint64(len(b))}, there); err != nil {
		return out, err
	}
	for i, is := range there {
		p := uint64(i) * PageSize
		if is && !bytes.Equal(b[p:p+PageSize], m.clone.img.Bytes(p, PageSize)) {
			out = AddPage(out, p)
		}
	}
	return out, nil
}

// copyFile reads a file into pages that read as zeros.
func (m *Memory) copyFile(r Run, fd int, off int64) error {
	b := m.host[r.Start:r.End]
	for len(b) > 0 {
		n, err := unix.Pread(fd, b, off)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return errors.Join(os.NewSyscallError("pread", err), m.shared.punch(r))
		case n == 0:
			return nil
		}
		b, off = b[n:], off+int64(n)
	}
	return nil
}
