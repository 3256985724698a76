// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// The event file is where programs written for a JobSink of Knative look for their
// event: https://knative.dev/docs/eventing/sinks/job-sink/
const (
	// EventFolder is a file system of its own with nothing but EventName.
	EventFolder = "/etc/" + eventFolder
	// EventName is the name of the file in it.
	EventName = "event"

	eventFolder = "jobsink-event"
)

// EventSource is where the contents of the event file come from. *fd.EventInput is
// one.
type EventSource interface {
	// Event returns the whole event, which does not change any more; false while
	// there is none yet. The program is then about to wait for it.
	Event() ([]byte, bool)
	// Queue is woken when there is one.
	Queue() *waitq.Queue
}

// AddEvent makes the event file, once, before the program starts. To open it, or to
// ask for its size, is to wait for the event; from then on it is a file like any
// other. In a root whose /etc is no directory there is none. Errors: ENOSPC.
func (fs *FS) AddEvent(src EventSource) abi.Errno {
	etc, errno := fs.Resolve(fs.Root(), "/etc", Directory)
	if errno != 0 {
		return 0
	}
	folder, errno := fs.mountDir(etc.d, eventFolder, fs.newSuper(unix.TMPFS_MAGIC, "tmpfs"), 0o755)
	if errno != 0 {
		return errno
	}
	file, errno := fs.create(last{parent: folder, name: EventName}, unix.S_IFREG|0o644)
	if errno != 0 {
		return errno
	}
	file.inode.delivers = deliversEvent
	fs.delivery = src
	return 0
}

// SetEvent says where a clone of an FS with an event file has its event from.
func (fs *FS) SetEvent(src EventSource) { fs.delivery = src }

// deliver puts into the event file, or the state file, what comes with a run. It does
// nothing for other files. Errors: EAGAIN while there is no event, ENOMEM when the budget
// has no room for it.
func (fs *FS) deliver(in *inode) abi.Errno {
	if in.delivers == deliversNothing || fs.st(in).delivered {
		return 0
	}
	var contents []byte
	if fs.delivery != nil {
		event, ok := fs.delivery.Event()
		if !ok {
			return abi.EAGAIN
		}
		contents = event
	}
	switch {
	case in.delivers == deliversState && !fs.stateSet, in.delivers == deliversEvent && fs.delivery == nil:
		return 0
	case in.delivers == deliversState:
		contents = fs.state
	}
	if n, errno := fs.writeAt(in, contents, 0); errno != 0 || n < len(contents) {
		fs.truncate(in, 0)
		return abi.ENOMEM
	}
	fs.mut(in).delivered = true
	return 0
}

// Awaits reports whether p is a file whose contents come with the event, and that has not
// come yet.
func (p Path) Awaits() bool { return p.fs.deliver(p.d.inode) == abi.EAGAIN }

// EventQueue is woken when the event comes; nil when it is there, or will not be.
func (fs *FS) EventQueue() *waitq.Queue {
	if fs.delivery == nil {
		return nil
	}
	if _, ok := fs.delivery.Event(); ok {
		return nil
	}
	return fs.delivery.Queue()
}
