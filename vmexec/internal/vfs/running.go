// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import "kontain.dev/eventing/vmexec/internal/abi"

// NotWritten returns ETXTBSY for a file that cannot be run because it is open for
// writing, or was and is still mapped so. Memory of memfd_create(2) is run while its
// maker has it open: that does not count.
func (fs *FS) NotWritten(p Path) abi.Errno {
	in := p.d.inode
	if m := fs.shared[in]; fs.writing(in) > 0 || m != nil && !in.memfd && m.Writable() {
		return abi.ETXTBSY
	}
	return 0
}

// Run notes that a process runs the file, which is kept and cannot be opened for
// writing until NotRun, once for each Run. Errors: ETXTBSY.
func (fs *FS) Run(p Path) abi.Errno {
	if errno := fs.NotWritten(p); errno != 0 {
		return errno
	}
	fs.hold(p.d.inode)
	fs.addWriters(p.d.inode, -1)
	return 0
}

// NotRun ends what Run has begun.
func (fs *FS) NotRun(p Path) {
	fs.addWriters(p.d.inode, 1)
	fs.drop(p.d.inode)
}
