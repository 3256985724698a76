// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// sealExec is F_SEAL_EXEC, which golang.org/x/sys/unix does not have; see fcntl.h of
// Linux.
const sealExec = 0x20

const (
	sealWrites = unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE
	allSeals   = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | sealWrites | sealExec
)

// Sealer is a file that memfd_create(2) may have made.
type Sealer interface {
	Located
	// Seals returns the seals, as F_GET_SEALS. EINVAL for a file that can have none.
	Seals() (uint32, abi.Errno)
	// AddSeals adds some, as F_ADD_SEALS. EINVAL, EPERM, and EBUSY when a writable
	// shared mapping is in the way of F_SEAL_WRITE.
	AddSeals(seals uint32) abi.Errno
	// SealedWrite returns EPERM when the contents must not change.
	SealedWrite() abi.Errno
}

// Seals implements Sealer.
func (f *file) Seals() (uint32, abi.Errno) {
	switch in := f.d.inode; {
	case in.memfd:
		return f.fs.st(in).seals, 0
	case in.sb.magic == unix.TMPFS_MAGIC: // as Linux's tmpfs has it
		return unix.F_SEAL_SEAL, 0
	}
	return 0, abi.EINVAL
}

// AddSeals implements Sealer.
func (f *file) AddSeals(seals uint32) abi.Errno {
	in := f.d.inode
	if !f.canWrite() {
		return abi.EPERM
	}
	have, errno := f.Seals()
	switch {
	case errno != 0 || seals&^allSeals != 0:
		return abi.EINVAL
	case have&unix.F_SEAL_SEAL != 0:
		return abi.EPERM
	}
	s := f.fs.st(in)
	if seals&sealExec != 0 && s.mode&0o111 != 0 {
		seals |= unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | sealWrites
	}
	if p := f.Shared(); p != nil && seals&unix.F_SEAL_WRITE != 0 && s.seals&unix.F_SEAL_WRITE == 0 && p.Writable() {
		return abi.EBUSY
	}
	f.fs.mut(in).seals |= seals
	return 0
}

// SealedWrite implements Sealer.
func (f *file) SealedWrite() abi.Errno { return f.fs.sealed(f.d.inode, sealWrites) }

// sealed returns EPERM when the file has any of the seals.
func (fs *FS) sealed(in *inode, seals uint32) abi.Errno {
	if fs.st(in).seals&seals != 0 {
		return abi.EPERM
	}
	return 0
}

// sealedSize returns EPERM when the file must not get a size.
func (fs *FS) sealedSize(in *inode, size int64) abi.Errno {
	switch have := fs.st(in).content.size; {
	case size < have:
		return fs.sealed(in, unix.F_SEAL_SHRINK)
	case size > have:
		return fs.sealed(in, unix.F_SEAL_GROW)
	}
	return 0
}
