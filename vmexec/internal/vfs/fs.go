// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package vfs is the file tree that a guest sees. A read-only lower root lies
// under an overlay in memory; /dev, /proc and /sys are made up here. Nothing a
// guest asks for changes the host, and no path of the guest is given to the
// host kernel except as names below the lower root.
//
// An FS belongs to one VM and is not safe for concurrent use: the VM's run loop
// owns it. A Lower may be shared by many VMs at once.
//
// What modes refuse depends on whose the guest is: see Cred. Reading does not change
// access times (as a mount with noatime).
package vfs

import (
	"fmt"
	"io"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
	"kontain.dev/eventing/vmexec/internal/waitq"
)

// Limits of Linux on names; see path_resolution(7) and limits.h.
const (
	PathMax  = 4096 // bytes of a path, the terminating NUL included
	NameMax  = 255  // bytes of one component
	maxLinks = 40   // symbolic links followed in one resolution
)

// pageSize is the unit in which file contents are stored and charged.
const pageSize = 4096

// metaCost is what a file's description is charged for, in bytes, before its
// name: an inode, a directory entry and their place in maps.
const metaCost = 512

// defaultBudget is the most pages an FS without a Budget may hold.
const defaultBudget = 16384

// Budget bounds the memory of an FS, in pages of 4 KiB.
type Budget interface {
	// Charge takes pages and reports whether there were enough.
	Charge(pages int64) bool
	// Release gives pages back.
	Release(pages int64)
}

// BudgetSizer is a Budget that statfs(2) can ask for its size.
type BudgetSizer interface {
	// Pages returns the size of the budget and how much of it is free.
	Pages() (total, free int64)
}

// Config says what an FS is made of.
type Config struct {
	Lower    Lower        // the read-only root; nil for an empty one
	Budget   Budget       // bounds the overlay; nil for 64 MiB of its own
	Now      func() int64 // wall clock in ns since 1970; nil for the host's
	Rand     io.Reader    // source of /dev/random and /dev/urandom; nil for crypto/rand
	Proc     ProcInfo     // facts for /proc; nil leaves out everything about processes
	Cred     Cred         // whose the guest is
	Hostname string       // in /etc/hosts and /proc; "kontain" when empty

	// Generation is what /run/kontain/generation shows: a number that is another one
	// after each restore of a snapshot. Nil for 0.
	Generation func() uint64
}

// FS is the file tree of one VM.
type FS struct {
	lower      Lower
	budget     Budget
	now        func() int64
	rand       io.Reader
	proc       ProcInfo
	generation func() uint64
	hostname   string
	cred       Cred

	root     *dentry
	memSuper *super // holds the files of Memfd
	mounts   []*super
	nextIno  uint64
	nextDev  uint64
	meta     int64 // bytes of descriptions in use
	metaPgs  int64 // pages charged for them
	pages    int64 // pages of contents in use

	// base is the image that the tree started as or last became; nil before the
	// first freeze. The maps have what was changed since: states, the inodes of lower
	// files that have several names, and further holds on files of the image, and who
	// writes or runs them.
	base    *Frozen
	layer   *layer
	inodes  map[*inode]*inodeState
	names   map[*dentry]*dentryState
	links   map[lowerID]*inode
	holds   map[*inode]int
	writers map[*inode]int

	fifos     map[*inode]*fd.Pipe    // of named pipes that are open
	shared    map[*inode]SharedPages // of files that are mapped shared
	watches   map[*inode][]*watch    // of inotify(7)
	bootID    []byte                 // nil before it is asked for
	cookie    uint32                 // of the last rename that was told of
	nextLock  uint64                 // last number of an open file that has had a lock
	unlocked  waitq.Queue            // woken when a lock was taken away
	lockWaits []*LockWait

	// Names of the lower root that were found in the present layer; see Tidy.
	found   []*dentry
	sweepAt int    // how many there are when Tidy looks for those to forget
	sweeps  uint64 // how often it did

	delivery EventSource // of the event file; nil without one
	state    []byte      // of the state file, once stateSet
	stateSet bool

	open   lowerCache
	opened *opened // files of the lower root that were read; nil after the first freeze
}

type lowerID struct{ dev, ino uint64 }

// super is what a file system on a mount point has of its own.
type super struct {
	dev    uint64
	magic  int64
	flags  int64 // ST_* of statfs(2)
	mntID  uint64
	parent uint64 // mntID of what it is mounted on
	dir    string // where it is mounted
	typ    string // name of the type, for /proc/mounts
	opts   string
}

// New makes a file tree: the lower root, and over it /tmp, /dev, /proc, /sys,
// /run/kontain and those of the files in /etc that every C library asks for and
// the root lacks.
// The error says which part of the lower root could not be read.
func New(cfg Config) (*FS, error) {
	fs := &FS{
		lower: cfg.Lower, budget: cfg.Budget, now: cfg.Now, rand: cfg.Rand,
		proc: cfg.Proc, hostname: cfg.Hostname, generation: cfg.Generation,
		nextIno: overlayIno, nextDev: unix.Mkdev(0, 30+maxLowerDevs),
		layer: &layer{}, opened: &opened{},
	}
	fs.defaults()
	if fs.hostname == "" {
		fs.hostname = "kontain"
	}
	sb := &super{dev: unix.Mkdev(0, 30), magic: unix.OVERLAYFS_SUPER_MAGIC, mntID: 1, dir: "/", typ: "overlay", opts: "rw,noatime"}
	fs.mounts = []*super{sb}
	root := fs.newInode(sb, unix.S_IFDIR|0o755)
	if fs.lower != nil {
		st, errno := fs.lower.Stat("")
		if errno != 0 {
			return nil, fmt.Errorf("vfs: read the lower root: %s", errno)
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return nil, fmt.Errorf("vfs: the lower root is not a directory (mode %#o)", st.Mode)
		}
		root.fromLower("", st)
	}
	fs.root = fs.newDentry(nil, "/", root)
	fs.root.mount, fs.root.first.parent = true, fs.root
	if errno := fs.populate(); errno != 0 {
		return nil, fmt.Errorf("vfs: set up the root: %s", errno)
	}
	fs.cred = cfg.Cred // what was made up to here is user 0's
	return fs, nil
}

// Close gives back what the FS holds of its budget and of the lower root. Images
// and clones of it are not touched.
func (fs *FS) Close() {
	fs.open.closeAll()
	fs.budget.Release(fs.pages + fs.metaPgs)
	fs.pages, fs.metaPgs, fs.meta = 0, 0, 0
}

// Root returns the root directory.
func (fs *FS) Root() Path { return Path{fs, fs.root} }

// charge takes pages for file contents.
func (fs *FS) charge(n int64) abi.Errno {
	if n == 0 {
		return 0
	}
	if !fs.budget.Charge(n) {
		return abi.ENOSPC
	}
	fs.pages += n
	return 0
}

func (fs *FS) release(n int64) {
	if n != 0 {
		fs.pages -= n
		fs.budget.Release(n)
	}
}

// chargeMeta takes bytes for descriptions and names; a guest that makes nothing
// but empty files is bounded too.
func (fs *FS) chargeMeta(bytes int64) bool {
	need := (fs.meta+bytes+pageSize-1)/pageSize - fs.metaPgs
	if need > 0 {
		if !fs.budget.Charge(need) {
			return false
		}
		fs.metaPgs += need
	}
	fs.meta += bytes
	return true
}

func (fs *FS) releaseMeta(bytes int64) {
	fs.meta -= bytes
	if free := fs.metaPgs - (fs.meta+pageSize-1)/pageSize; free > 0 {
		fs.metaPgs -= free
		fs.budget.Release(free)
	}
}

// fixedBudget is the budget of an FS that was given none.
type fixedBudget struct{ total, free int64 }

func (b *fixedBudget) Charge(n int64) bool {
	if n > b.free {
		return false
	}
	b.free -= n
	return true
}

func (b *fixedBudget) Release(n int64)            { b.free += n }
func (b *fixedBudget) Pages() (total, free int64) { return b.total, b.free }

// Statfs describes the file system of p as statfs(2).
func (fs *FS) Statfs(p Path) (unix.Statfs_t, abi.Errno) {
	in := p.d.inode
	if in.anon != nil {
		file, errno := in.anon.Stat()
		return StatfsNameless(file.Mode), errno
	}
	st := unix.Statfs_t{
		Type: in.sb.magic, Bsize: pageSize, Frsize: pageSize, Namelen: NameMax,
		Flags: in.sb.flags | unix.ST_NOATIME | stValid,
		Fsid:  unix.Fsid{Val: [2]int32{int32(in.sb.dev), 0}},
	}
	if in.sb.magic == unix.PROC_SUPER_MAGIC || in.sb.magic == unix.SYSFS_MAGIC {
		return st, 0
	}
	if b, ok := fs.budget.(BudgetSizer); ok {
		total, free := b.Pages()
		st.Blocks, st.Bfree, st.Bavail = uint64(total), uint64(free), uint64(free)
		st.Files, st.Ffree = uint64(total)*pageSize/metaCost, uint64(free)*pageSize/metaCost
	}
	return st, 0
}

// StatfsNameless describes the file system of a file without a place in the tree, by
// its mode: that of pipes, of sockets, or of all others, such as an epoll set.
func StatfsNameless(mode uint32) unix.Statfs_t {
	st := unix.Statfs_t{Type: unix.ANON_INODE_FS_MAGIC, Bsize: pageSize, Frsize: pageSize, Namelen: NameMax, Flags: stValid}
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		st.Type = unix.PIPEFS_MAGIC
	case unix.S_IFSOCK:
		st.Type = unix.SOCKFS_MAGIC
	}
	return st
}

// stValid is ST_VALID: f_flags is filled in (include/linux/statfs.h).
const stValid = 0x20

// join appends a name to a path of a Lower.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// validName reports whether a name can be one component.
func validName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= NameMax && !strings.ContainsAny(name, "/\x00")
}
