// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"fmt"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// StatePath is the file that goes from one run of a program to the next.
const StatePath = "/state"

// AddState makes the state file, once, before the program starts, in place of a file
// that the root has under its name. Where the program waits for an event it waits for its
// state too, when it opens the file or asks for its size: what it reads is never that of
// another run. Otherwise it is empty before SetState. Errors: EISDIR, ENOSPC.
func (fs *FS) AddState() abi.Errno {
	if errno := fs.PutFile(StatePath, 0o644, nil); errno != 0 {
		return errno
	}
	p, errno := fs.Resolve(fs.Root(), StatePath, NoFollow)
	if errno != 0 {
		return errno
	}
	p.d.inode.delivers = deliversState
	return 0
}

// SetState gives the contents of the state file, which must not change any more, before
// a run. Reset takes them back.
func (fs *FS) SetState(b []byte) { fs.state, fs.stateSet = b, true }

// State returns what a program has left in the state file; nil when it has removed it.
// why says why it cannot be kept, for people: it has more than most bytes, is another
// kind of file, or cannot be read.
func (fs *FS) State(most int) (b []byte, why string) {
	p, errno := fs.Resolve(fs.Root(), StatePath, NoFollow)
	switch {
	case errno == abi.ENOENT:
		return nil, ""
	case errno != 0:
		return nil, "it cannot be found: " + errno.String()
	}
	in := p.d.inode
	if !in.isReg() || in.gen != nil {
		return nil, "it is not a regular file"
	}
	if errno := fs.deliver(in); errno != 0 {
		return nil, "it cannot be read: " + errno.String()
	}
	size := fs.st(in).content.size
	if size > int64(most) {
		return nil, fmt.Sprintf("it has %d bytes, where %d are the most", size, most)
	}
	b = make([]byte, size)
	n, errno := fs.readAt(in, b, 0)
	if errno != 0 || n < len(b) {
		return nil, "it cannot be read: " + errno.String()
	}
	return b, ""
}
