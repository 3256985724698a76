// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"sync"

	"golang.org/x/sys/unix"
)

// program is a file at some moment: another one, or a change of it, gives another
// value.
type program struct {
	device, inode    uint64
	size             int64
	modified, change unix.Timespec
}

// identify returns what is at path now; nothing when that is not known.
func identify(path string) (p program, ok bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil {
		return p, false
	}
	return program{st.Dev, st.Ino, st.Size, st.Mtim, st.Ctim}, true
}

// builds are the worker programs that have shown to be of this build of the monitor:
// for one to find that out takes as long as a short event.
var builds struct {
	sync.Mutex
	of map[string]program // by path
}

// sameBuild says whether the program at path is known to be of this build, and which
// it is.
func sameBuild(path string) (p program, same bool) {
	p, ok := identify(path)
	if !ok {
		return p, false
	}
	builds.Lock()
	defer builds.Unlock()
	return p, builds.of[path] == p
}

// stillThere says whether path is that program still, so that it was what has just
// been started. One that has shown its build is remembered.
func (p program) stillThere(path string) bool {
	now, ok := identify(path)
	if !ok || now != p {
		return false
	}
	builds.Lock()
	defer builds.Unlock()
	if builds.of == nil {
		builds.of = map[string]program{}
	}
	builds.of[path] = p
	return true
}
