// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"io"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// Device numbers of mem(4), null(4), full(4), random(4) and tty(4).
var (
	devNull    = unix.Mkdev(1, 3)
	devZero    = unix.Mkdev(1, 5)
	devFull    = unix.Mkdev(1, 7)
	devRandom  = unix.Mkdev(1, 8)
	devURandom = unix.Mkdev(1, 9)
	devTTY     = unix.Mkdev(5, 0)
)

// device is an open character device without state.
type device struct{ handle }

// zeroDevice is /dev/zero, which can be mapped: the pages are zeros, and what is
// written to them is the mapping's own.
type zeroDevice struct{ device }

// zeroSize is the size of a mapping of /dev/zero: none ends before it.
const zeroSize = 1 << 62

func (f *zeroDevice) MapID() MapID                   { return f.id() }
func (*zeroDevice) MapSize() int64                   { return zeroSize }
func (f *zeroDevice) MapHold()                       { f.fs.hold(f.d.inode) }
func (f *zeroDevice) MapDrop()                       { f.fs.drop(f.d.inode) }
func (*zeroDevice) MapWrite(int64, []byte) abi.Errno { return 0 }

func (*zeroDevice) MapRead(_ int64, dst []byte) (int, abi.Errno) {
	clear(dst)
	return len(dst), 0
}

func (fs *FS) openDevice(d *dentry, flags int) (fd.File, abi.Errno) {
	switch d.inode.rdev {
	case devTTY: // there is no controlling terminal
		return nil, abi.ENXIO
	case devZero:
		return &zeroDevice{device{newHandle(fs, d, flags)}}, 0
	}
	return &device{newHandle(fs, d, flags)}, 0
}

// maxRandomRead is the most bytes one read of /dev/urandom gives; see random(4).
const maxRandomRead = 32<<20 - 1

func (f *device) Read(dst fd.Buffers, off int64) (int, abi.Errno) {
	if !f.canRead() {
		return 0, abi.EBADF
	}
	n := 0
	switch f.d.inode.rdev {
	case devZero, devFull:
		for _, b := range dst {
			clear(b)
			n += len(b)
		}
	case devRandom, devURandom:
		for _, b := range dst.Take(maxRandomRead) {
			m, err := io.ReadFull(f.fs.rand, b)
			n += m
			if err != nil {
				if n == 0 {
					return 0, abi.EIO
				}
				break
			}
		}
	}
	return n, 0
}

func (f *device) Write(src fd.Buffers, off int64) (int, abi.Errno) {
	if !f.canWrite() {
		return 0, abi.EBADF
	}
	if f.d.inode.rdev == devFull && src.Len() > 0 {
		return 0, abi.ENOSPC
	}
	return src.Len(), 0
}

// Lseek always ends at 0, as on Linux.
func (f *device) Lseek(int64, int) (int64, abi.Errno) { return 0, 0 }
