// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Used returns the pages in use of a frozen memory: what Memory counts, files of the
// overlay included.
func (img *Image) Used() uint64 { return img.used }

// Limit returns the pages that clones may have in use.
func (img *Image) Limit() uint64 { return img.limit }

// Data returns the runs of pages that may hold anything but zeros.
func (img *Image) Data() ([]Run, error) {
	there := make([]bool, img.Size()/PageSize)
	if err := img.resident(there); err != nil {
		return nil, err
	}
	var runs []Run
	for i, is := range there {
		gpa := uint64(i) * PageSize
		if is && !bytes.Equal(img.Bytes(gpa, PageSize), zeroPage) {
			runs = AddPage(runs, gpa)
		}
	}
	return runs, nil
}

// resident tells which pages the file has data for; the others are holes.
func (img *Image) resident(there []bool) error {
	return fileData(img.fd, img.off, Run{0, img.Size()}, there)
}

// Store writes the runs of the image to f, whose byte off is the guest physical
// address 0, and what it writes to digest too.
func (img *Image) Store(f io.WriterAt, off int64, runs []Run, digest io.Writer) error {
	const most = 1 << 20
	for _, r := range runs {
		for p := r.Start; p < r.End; p += most {
			b := img.Bytes(p, min(most, r.End-p))
			if _, err := f.WriteAt(b, off+int64(p)); err != nil {
				return err
			}
			_, _ = digest.Write(b) // a hash does not fail
		}
	}
	return nil
}

// ErrStray means that the file of an image has data where it should have none.
var ErrStray = errors.New("there is data where the image has only zeros")

// OpenImage returns the image of size bytes that begins at byte off of the file,
// which it takes over, also when it fails: clones map the file and share its pages
// with everyone who does. runs are the pages that hold data, which is written to
// digest; the error is ErrStray, wrapped, when others hold any. The file must not
// be written or become shorter from now on.
//
// Preconditions: off is on a page boundary, the runs are in order and inside size,
// and size is not 0.
func OpenImage(f *os.File, off int64, size, used, limit uint64, runs []Run, digest io.Writer) (img *Image, err error) {
	defer func() { err = errors.Join(err, f.Close()) }() // the image has a descriptor of its own
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
	}
	img = &Image{fd: fd, off: off, used: used, limit: limit}
	if img.bytes, err = unix.Mmap(fd, off, int(size), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("mmap", err)
	}
	if err = img.check(runs, digest); err != nil {
		return nil, errors.Join(err, img.Close())
	}
	return img, nil
}

// AdoptImage is OpenImage for a file that another process has checked, and that
// stays the caller's.
func AdoptImage(f *os.File, off int64, size, used, limit uint64) (*Image, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
	}
	img := &Image{fd: fd, off: off, used: used, limit: limit}
	if img.bytes, err = unix.Mmap(fd, off, int(size), unix.PROT_READ, unix.MAP_SHARED); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("mmap", err)
	}
	return img, nil
}

// File returns another descriptor of the image's file, which the caller closes, and
// Offset where in the file it begins.
func (img *Image) File() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(img.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl(F_DUPFD_CLOEXEC)", err)
	}
	return os.NewFile(uintptr(fd), "kontain-snapshot"), nil
}

// Offset is where in File the image begins.
func (img *Image) Offset() int64 { return img.off }

func (img *Image) check(runs []Run, digest io.Writer) error {
	_ = unix.Madvise(img.bytes, unix.MADV_DONTDUMP) // no place for guest secrets
	there := make([]bool, img.Size()/PageSize)
	if err := img.resident(there); err != nil {
		return err
	}
	for _, r := range runs {
		_, _ = digest.Write(img.Bytes(r.Start, r.End-r.Start)) // a hash does not fail
		clear(there[r.Start/PageSize : r.End/PageSize])
	}
	for i, is := range there {
		gpa := uint64(i) * PageSize
		if is && !bytes.Equal(img.Bytes(gpa, PageSize), zeroPage) {
			return fmt.Errorf("page %d: %w", i, ErrStray)
		}
	}
	return nil
}
