// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/snapshot/graph"
)

// A frozen tree goes to disk as it is, but for what the files of /proc and its
// like do, which are functions: these say where they came from. What it knows of
// the lower root is compared with the root when it comes back.

// SnapshotTypes returns a value of each type of this package that interfaces in a
// frozen program may hold, for the snapshot on disk. Whoever adds an fd.Cloner or
// a mapper adds it here.
func SnapshotTypes() []any {
	return []any{(*FIFO)(nil), (*Inotify)(nil), (*device)(nil), (*dirFile)(nil), (*file)(nil), (*pathFile)(nil), (*textFile)(nil), (*zeroDevice)(nil)}
}

// origin says which file of a directory that is made up an inode shows: the name
// of the directory in dynRoots, and the path below it. It is zero for others.
type origin struct{ root, path string }

// dynRoots are the directories that are made up here.
var dynRoots = map[string]dynDir{"proc": procRoot, "sys": sysRoot, "run": runDir}

// setRoot makes in one of dynRoots.
func (in *inode) setRoot(name string) { in.origin, in.dyn = origin{root: name}, dynRoots[name] }

// dynamic finds the entry that an inode came from; false when there is none any
// more, as of a descriptor that was closed since.
func (fs *FS) dynamic(o origin) (dynEntry, bool) {
	e := dynEntry{mode: unix.S_IFDIR, dir: dynRoots[o.root]}
	for name := range strings.SplitSeq(o.path, "/") {
		if name == "" {
			break
		}
		if e.dir == nil {
			return dynEntry{}, false
		}
		var ok bool
		if e, ok = e.dir.find(fs, name); !ok {
			return dynEntry{}, false
		}
	}
	return e, e.dir != nil || e.gen != nil || e.link != nil
}

// gone stands for an entry whose process or descriptor is no more.
func gone(kind uint32) dynEntry {
	e := dynEntry{mode: kind}
	switch kind {
	case unix.S_IFDIR:
		e.dir = table{}
	case unix.S_IFLNK:
		e.link = func(*FS) (string, abi.Errno) { return "", abi.ENOENT }
	default:
		e.gen = func(*FS) ([]byte, abi.Errno) { return nil, abi.ESRCH }
	}
	return e
}

// Thaw makes a frozen tree whole that was read from disk as a part of g: fs, which
// is empty, becomes a tree like the one that was frozen. lower is the root that it
// lies over, and proc describes the frozen processes. The error says what in it
// makes no sense.
func (z *Frozen) Thaw(g *graph.Graph, fs *FS, lower Lower, proc ProcInfo) error {
	z.lower = lower
	if z.layer == nil || z.root == nil || z.memSuper == nil || slices.Contains(z.mounts, nil) {
		return errors.New("the file tree has no root")
	}
	var err error
	graph.Each(g, func(d *dentry) {
		if d.inode == nil || d.owner == nil || d.inode.owner == nil {
			err = errors.New("a file name belongs to no file")
		}
	})
	graph.Each(g, func(in *inode) {
		if in.sb == nil && in.anon == nil || in.lower && lower == nil {
			err = errors.New("a file belongs to no file system")
		}
		if in.delivers != deliversNothing && !in.isReg() {
			err = errors.New("what comes with a run is in what is no file")
		}
	})
	graph.Each(g, func(h *handle) {
		if h.d == nil || h.fs == nil {
			err = errors.New("an open file is none")
		}
	})
	if err != nil {
		return err
	}
	*fs = *z.Clone(CloneConfig{Proc: proc})
	graph.Each(g, func(in *inode) {
		if in.origin.root == "" {
			return
		}
		e, ok := fs.dynamic(in.origin)
		if !ok || e.mode&unix.S_IFMT != in.kind {
			e = gone(in.kind)
		}
		in.gen, in.set, in.link, in.jump, in.dyn = e.gen, e.set, e.link, e.jump, e.dir
	})
	return nil
}

// opened are the files of the lower root that were read before the first freeze.
type opened struct {
	files map[string]LowerStat
	bytes int
	full  bool // there were more
}

// maxOpened bounds what is remembered of the files that were read: bytes of paths,
// with this much for each.
const (
	maxOpened  = 8 << 20
	openedCost = 256
)

// note remembers that a file of the lower root was read.
func (o *opened) note(in *inode) {
	if o == nil {
		return
	}
	if _, known := o.files[in.lowerPath]; known {
		return
	}
	if o.bytes += len(in.lowerPath) + openedCost; o.bytes > maxOpened {
		o.full = true
		return
	}
	if o.files == nil {
		o.files = map[string]LowerStat{}
	}
	o.files[in.lowerPath] = in.lowerStat
}

// Recorded reports whether the tree knows all files of the lower root that were
// read before it was frozen: there is a bound.
func (z *Frozen) Recorded() bool { return z.opened == nil || !z.opened.full }

// ChangedError says that a file of the lower root is no longer what it was.
type ChangedError struct{ Path, What string }

func (e *ChangedError) Error() string { return fmt.Sprintf("%s %s", e.Path, e.What) }

// CheckLower compares what a tree that was read from disk as a part of g knows of
// the lower root with the root: files that were read, and others that were looked
// at. The error is a *ChangedError.
func (z *Frozen) CheckLower(g *graph.Graph) error {
	known := map[string]LowerStat{}
	if z.opened != nil {
		for path, st := range z.opened.files {
			known[path] = st
		}
	}
	graph.Each(g, func(in *inode) {
		if in.lower {
			known[in.lowerPath] = in.lowerStat
		}
	})
	type record struct {
		path string
		st   LowerStat
	}
	list := make([]record, 0, len(known))
	for path, st := range known {
		list = append(list, record{path, st})
	}
	// A Lower numbers the file systems below it in the order in which it meets them.
	slices.SortFunc(list, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.st.Dev, b.st.Dev), cmp.Compare(a.path, b.path))
	})
	for _, r := range list {
		now, errno := z.lower.Stat(r.path)
		changed := func(what string) error { return &ChangedError{"/" + r.path, what} }
		switch was := r.st; {
		case errno != 0:
			return changed("is no longer there (" + errno.String() + ")")
		case now.Dev != was.Dev || now.Mode&unix.S_IFMT != was.Mode&unix.S_IFMT:
			return changed("is another file now")
		case was.Mode&unix.S_IFMT == unix.S_IFDIR:
			// Names may have come and gone; those that count are looked at themselves.
		case now.Ino != was.Ino:
			return changed("was replaced")
		case now.Size != was.Size || now.Mtime != was.Mtime:
			return changed("was written")
		case now.Mode != was.Mode || now.UID != was.UID || now.GID != was.GID || now.Ctime != was.Ctime:
			return changed("was changed")
		}
	}
	return nil
}
