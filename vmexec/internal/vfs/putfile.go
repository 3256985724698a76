// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"path"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// PutFile makes a file that the monitor provides, in place of one that the root has
// under its name, before the program starts. In a root without the folder there is none
// of it. Errors: EISDIR, ENOSPC.
func (fs *FS) PutFile(name string, mode uint32, contents []byte) abi.Errno {
	folder, errno := fs.Resolve(fs.Root(), path.Dir(name), Directory)
	if errno != 0 {
		return 0
	}
	if errno := fs.Unlink(fs.Root(), name); errno != 0 && errno != abi.ENOENT {
		return errno
	}
	file, errno := fs.create(last{parent: folder.d, name: path.Base(name)}, unix.S_IFREG|mode)
	if errno != 0 {
		return errno
	}
	if n, errno := fs.writeAt(file.inode, contents, 0); errno != 0 || n < len(contents) {
		return abi.ENOSPC
	}
	return 0
}
