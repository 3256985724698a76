// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"crypto/rand"
	"io"
	"maps"
	"time"

	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Frozen is the state of a file tree at one moment. It does not change, is safe
// for concurrent use, holds nothing of the host, and needs its Lower for as long
// as an FS is made from it.
//
// Files and names keep their identity: an image, the FS it was made of and all
// clones of it know a file by the same pointer, and each of them looks up what
// it made of the file. That is why a clone starts with nothing but a few numbers,
// and why a place or an open file is carried over by saying whose it is.
type Frozen struct {
	layer    *layer
	lower    Lower
	hostname string
	cred     Cred
	root     *dentry
	memSuper *super
	mounts   []*super

	nextIno, nextDev     uint64
	nextLock             uint64
	cookie               uint32
	meta, metaPgs, pages int64

	// States of files and names that were changed after an earlier freeze; those of
	// all others are their first.
	inodes map[*inode]*inodeState
	names  map[*dentry]*dentryState
	links  map[lowerID]*inode

	opened *opened // before the first freeze; see CheckLower
}

func (z *Frozen) st(in *inode) *inodeState {
	if s := z.inodes[in]; s != nil {
		return s
	}
	return &in.first
}

func (z *Frozen) name(d *dentry) *dentryState {
	if s := z.names[d]; s != nil {
		return s
	}
	return &d.first
}

// Freeze makes an image of the tree as it is now: names, contents, times,
// counters, and removed files that are still open or mapped. The FS may go on
// being used: it has become a clone of the image, which its open files and
// Reset go by. The time it takes depends on what was changed since the last
// Freeze; the first one takes no longer than a Clone.
func (fs *FS) Freeze() *Frozen {
	for in, n := range fs.holds {
		fs.mut(in).holds += n
	}
	for in, n := range fs.writers {
		fs.mut(in).writers += n
	}
	z := &Frozen{
		layer: fs.layer, lower: fs.lower, hostname: fs.hostname, cred: fs.cred, root: fs.root, memSuper: fs.memSuper, mounts: fs.mounts,
		nextIno: fs.nextIno, nextDev: fs.nextDev, nextLock: fs.nextLock, cookie: fs.cookie, meta: fs.meta, metaPgs: fs.metaPgs, pages: fs.pages,
		inodes: fs.inodes, names: fs.names, links: fs.links, opened: fs.opened,
	}
	fs.opened = nil
	for _, s := range z.inodes {
		s.content.flatten()
		s.entries.flatten()
	}
	if b := fs.base; b != nil {
		z.inodes, z.names = merge(b.inodes, z.inodes), merge(b.names, z.names)
		z.links = merge(b.links, z.links)
	}
	maps.DeleteFunc(z.links, func(_ lowerID, in *inode) bool { return in == nil })
	fs.open.closeAll()
	fs.base, fs.layer = z, &layer{below: fs.layer}
	fs.inodes, fs.names, fs.links, fs.holds, fs.writers = nil, nil, nil, nil, nil
	fs.found, fs.sweepAt, fs.sweeps = nil, 0, 0
	return z
}

// merge returns base with changes. It may return one of the two.
func merge[K comparable, V any](base, changes map[K]V) map[K]V {
	if len(changes) == 0 {
		return base
	}
	if len(base) == 0 {
		return changes
	}
	out := make(map[K]V, len(base)+len(changes))
	maps.Copy(out, base)
	maps.Copy(out, changes)
	return out
}

// Pages is what the image holds of a budget.
func (z *Frozen) Pages() int64 { return z.pages + z.metaPgs }

// CloneConfig says what a clone has of its own. The fields are those of Config.
type CloneConfig struct {
	// Budget counts already what the image holds (see Frozen.Pages), as a copy of the
	// budget of the FS that was frozen does.
	Budget     Budget
	Now        func() int64
	Rand       io.Reader
	Proc       ProcInfo
	Generation func() uint64
}

// Clone makes an FS that starts as the image. It shares with the image what it
// does not change.
func (z *Frozen) Clone(cfg CloneConfig) *FS {
	fs := &FS{
		lower: z.lower, budget: cfg.Budget, now: cfg.Now, rand: cfg.Rand, proc: cfg.Proc,
		generation: cfg.Generation, hostname: z.hostname, cred: z.cred,
		root: z.root, memSuper: z.memSuper, mounts: z.mounts,
		nextIno: z.nextIno, nextDev: z.nextDev, nextLock: z.nextLock, cookie: z.cookie, meta: z.meta, metaPgs: z.metaPgs, pages: z.pages,
		base: z, layer: &layer{below: z.layer},
	}
	fs.defaults()
	return fs
}

// defaults fills in what a Config leaves out.
func (fs *FS) defaults() {
	if fs.budget == nil {
		fs.budget = &fixedBudget{total: defaultBudget, free: defaultBudget - fs.pages - fs.metaPgs}
	}
	if fs.now == nil {
		fs.now = hostTime
	}
	if fs.rand == nil {
		fs.rand = rand.Reader
	}
	if fs.generation == nil {
		fs.generation = firstGeneration
	}
}

func hostTime() int64         { return time.Now().UnixNano() }
func firstGeneration() uint64 { return 0 }

// Changed reports whether Reset has anything to do. A file that was opened and
// closed again, and anything done in /proc and /sys, is no change; a first look
// at a name of the lower root is one, since what is known of it is charged.
func (fs *FS) Changed() bool {
	z := fs.base
	return z == nil || len(fs.inodes)|len(fs.names)|len(fs.links)|len(fs.holds)|len(fs.writers) != 0 ||
		fs.nextIno != z.nextIno || fs.meta != z.meta || fs.pages != z.pages || fs.metaPgs != z.metaPgs
}

// Reset makes a clone, or an FS that was frozen, what the image is. The time it
// takes depends on what was changed. Files that were opened since then, and
// places that were found, must not be used any more, not even released; files
// carried over from the image go on.
//
// A Budget of a Config is left alone: it belongs to the VM's memory, and is put
// back with that.
//
// Preconditions: the FS is a clone, or was frozen.
func (fs *FS) Reset() {
	fs.nextLock, fs.cookie = fs.base.nextLock, fs.base.cookie
	// Whoever waited is gone; open pipes, mappings and watches are carried over anew.
	fs.lockWaits, fs.unlocked, fs.bootID = nil, waitq.Queue{}, nil
	fs.fifos, fs.shared, fs.watches = nil, nil, nil
	fs.state, fs.stateSet = nil, false
	if !fs.Changed() {
		return
	}
	z := fs.base
	if len(fs.inodes) != 0 {
		fs.open.closeOwn(fs.layer)
	}
	fs.inodes, fs.names = emptied(fs.inodes), emptied(fs.names)
	fs.links, fs.holds, fs.writers = emptied(fs.links), emptied(fs.holds), emptied(fs.writers)
	fs.found, fs.sweepAt, fs.sweeps = nil, 0, 0
	if b, ok := fs.budget.(*fixedBudget); ok {
		b.Release(fs.pages + fs.metaPgs - z.Pages())
	}
	fs.nextIno, fs.meta, fs.metaPgs, fs.pages = z.nextIno, z.meta, z.metaPgs, z.pages
}

// keepMap is the most entries of a map that is used again: to empty one takes as
// long as it once was large.
const keepMap = 64

func emptied[K comparable, V any](m map[K]V) map[K]V {
	if len(m) > keepMap {
		return nil
	}
	clear(m)
	return m
}
