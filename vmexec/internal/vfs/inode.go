// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// overlayIno is the first inode number of files that are not the lower root's:
// above what host file systems use, and still exact as a double (JavaScript).
const overlayIno = 1 << 52

// maxLowerDevs bounds the device numbers that a Lower may use.
const maxLowerDevs = 64

// delivers says which contents come into a file with a run.
type delivers uint8

const (
	deliversNothing delivers = iota
	deliversEvent
	deliversState
)

// inode is a file, whatever its names. What is here does not change once the
// file is made, so that an image and all of its clones know the file by the
// same pointer; what changes is in the state, which FS.st and FS.mut find.
type inode struct {
	owner  *layer // of the FS that made it
	sb     *super
	dev    uint64
	ino    uint64
	kind   uint32 // type: S_IFREG and so on
	rdev   uint64
	btime  int64 // ns since 1970
	noLink bool  // O_TMPFILE|O_EXCL: never gets a name
	memfd  bool  // of memfd_create(2)

	delivers delivers // whether it has contents that come with a run

	// The file's place in the lower root; its type decides what is used of it.
	lower     bool
	lowerPath string
	lowerStat LowerStat
	names     int // names in FS.found

	// What a file of /proc, /sys or /run/kontain does; origin says which it is, so
	// that a snapshot read from disk can find it again.
	origin origin
	dyn    dynDir                         `snapshot:"-"` // directory
	gen    func(*FS) ([]byte, abi.Errno)  `snapshot:"-"`
	set    func(*FS, []byte) abi.Errno    `snapshot:"-"` // takes what is written to a gen file
	link   func(*FS) (string, abi.Errno)  `snapshot:"-"`
	jump   func(*FS) (*dentry, abi.Errno) `snapshot:"-"` // magic link: where it leads
	anon   *fd.Description                // a file without a place in the tree
	sock   any                            // what a socket's name leads to
	target string                         // of a symbolic link that is not the lower root's

	first inodeState // the state until the first freeze after it was made
}

// inodeState is what changes of an inode.
type inodeState struct {
	mode  uint32 // type and permission bits
	nlink uint32
	uid   uint32
	gid   uint32

	atime, mtime, ctime int64 // ns since 1970

	meta  int64 // bytes charged for the description
	holds int   // open files and mappings
	// How many open files write to it, or, below zero, how many processes run it:
	// it is never both.
	writers int
	dead    bool // directory that was removed

	linkable bool // O_TMPFILE: it has had no name, and may get one

	delivered bool // what comes with the run is there

	locks []Lock // never changed in place
	seals uint32 // F_SEAL_*, of a memfd

	content content // regular file
	entries entries // directory
	target  string  // symbolic link of the lower root, once known
}

// dentry is a name of an inode in a directory. A removed one stays with those
// who have it open. As with inodes, what changes is in the state.
type dentry struct {
	owner *layer
	inode *inode
	mount bool // root of a mounted file system: cannot be removed or renamed
	first dentryState

	// Of a name of the lower root that was found in the present layer; see FS.Tidy.
	cost int64  // charged beyond the inode's description
	used uint64 // FS.sweeps when it was last asked for
}

type dentryState struct {
	name   string
	parent *dentry
	lower  bool // the lower directory has the name
	gone   bool // removed from its directory
}

func (in *inode) isDir() bool  { return in.kind == unix.S_IFDIR }
func (in *inode) isLink() bool { return in.kind == unix.S_IFLNK }
func (in *inode) isReg() bool  { return in.kind == unix.S_IFREG }

// newInode makes a file of the overlay with no name yet.
func (fs *FS) newInode(sb *super, mode uint32) *inode {
	t := fs.now()
	in := &inode{
		owner: fs.layer, sb: sb, dev: sb.dev, ino: fs.nextIno, kind: mode & unix.S_IFMT, btime: t,
		first: inodeState{mode: mode, nlink: 1, uid: fs.cred.UID, gid: fs.cred.GID, atime: t, mtime: t, ctime: t},
	}
	fs.nextIno++
	if in.isDir() {
		in.first.nlink = 2
	}
	return in
}

// newDentry makes a name that is not in its directory yet.
func (fs *FS) newDentry(parent *dentry, name string, in *inode) *dentry {
	return &dentry{owner: fs.layer, inode: in, first: dentryState{name: name, parent: parent}}
}

// fromLower makes in, which is new, show a file of the lower root.
func (in *inode) fromLower(path string, st LowerStat) {
	in.lower, in.lowerPath, in.lowerStat = true, path, st
	in.ino, in.kind, in.btime = st.Ino, st.Mode&unix.S_IFMT, st.Ctime
	in.dev = in.sb.dev + min(st.Dev, maxLowerDevs-1)
	s := &in.first
	s.mode, s.nlink, s.uid, s.gid = st.Mode, st.Nlink, st.UID, st.GID
	s.atime, s.mtime, s.ctime = st.Atime, st.Mtime, st.Ctime
	s.content.size, s.content.lowerSize = st.Size, st.Size
}

// up returns the directory that holds d; nil for a file that never had a name.
func (fs *FS) up(d *dentry) *dentry { return fs.name(d).parent }

// child finds a name in a directory. A nil dentry with no errno means that the
// directory does not have it.
func (fs *FS) child(p *dentry, name string) (*dentry, abi.Errno) {
	in := p.inode
	st := fs.st(in)
	if st.dead {
		return nil, 0
	}
	if len(name) > NameMax {
		return nil, abi.ENAMETOOLONG
	}
	if in.dyn != nil {
		e, ok := in.dyn.find(fs, name)
		if !ok {
			return nil, 0
		}
		return fs.newDentry(p, name, fs.dynInode(in, e)), 0
	}
	if d := st.entries.get(name); d != nil {
		if d.owner == fs.layer {
			d.used = fs.sweeps
		}
		return d, 0
	}
	if !in.lower || st.entries.isHidden(name) {
		return nil, 0
	}
	path := join(in.lowerPath, name)
	ls, errno := fs.lower.Stat(path)
	switch {
	case errno == abi.ENOENT || errno == abi.ENOTDIR:
		return nil, 0
	case errno != 0:
		return nil, errno
	}
	id := lowerID{ls.Dev, ls.Ino}
	c := fs.linked(id)
	cost := int64(0)
	if c == nil || c.kind != ls.Mode&unix.S_IFMT {
		c = &inode{owner: fs.layer, sb: in.sb}
		c.fromLower(path, ls)
		c.first.meta = metaCost + int64(len(path)+len(name))
		if !fs.chargeMeta(c.first.meta) {
			return nil, abi.ENOMEM
		}
		if ls.Nlink > 1 && !c.isDir() {
			fs.setLinked(id, c)
		}
	} else if cost = entryCost(name); !fs.chargeMeta(cost) {
		return nil, abi.ENOMEM
	}
	d := fs.newDentry(p, name, c)
	d.first.lower, d.cost, d.used = true, cost, fs.sweeps
	fs.mut(in).entries.put(name, d)
	fs.found = append(fs.found, d)
	if c.owner == fs.layer {
		c.names++
	}
	return d, 0
}

// entryCost is what a further name of a file is charged for.
func entryCost(name string) int64 { return 128 + int64(len(name)) }

// attach puts a new name into a directory. The caller has checked that it is free.
func (fs *FS) attach(p *dentry, name string, in *inode) (*dentry, abi.Errno) {
	if !fs.chargeMeta(entryCost(name)) {
		return nil, abi.ENOSPC
	}
	d := fs.newDentry(p, name, in)
	fs.mut(p.inode).entries.put(name, d)
	fs.touch(p.inode)
	return d, 0
}

// detach takes a name out of its directory. The inode's link count is the caller's.
func (fs *FS) detach(d *dentry) {
	n := fs.name(d)
	p := n.parent.inode
	e := &fs.mut(p).entries
	e.remove(n.name)
	if n.lower {
		e.hide(n.name) // no more of these than the lower directory has names
	} else {
		fs.releaseMeta(entryCost(n.name))
	}
	fs.touch(p)
}

// touch marks a change of the contents.
func (fs *FS) touch(in *inode) {
	s := fs.mut(in)
	s.mtime = fs.now()
	s.ctime = s.mtime
}

// unlinked takes one link off. The caller frees the file when nothing holds it, once
// it has told of the name.
func (fs *FS) unlinked(in *inode) {
	s := fs.mut(in)
	s.ctime = fs.now()
	if in.isDir() {
		s.nlink, s.dead = 0, true
	} else if s.nlink > 0 {
		s.nlink--
	}
}

// hold counts an open file or a mapping. Of a file of the image the difference
// is counted apart, so that to open and close a file changes nothing.
func (fs *FS) hold(in *inode) {
	if in.owner == fs.layer {
		in.first.holds++
		return
	}
	fs.addHold(in, 1)
}

func (fs *FS) drop(in *inode) {
	if in.owner == fs.layer {
		in.first.holds--
	} else {
		fs.addHold(in, -1)
	}
	fs.maybeFree(in)
}

func (fs *FS) addHold(in *inode, n int) {
	if n += fs.holds[in]; n == 0 {
		delete(fs.holds, in)
		return
	}
	if fs.holds == nil {
		fs.holds = map[*inode]int{}
	}
	fs.holds[in] = n
}

// writing returns inodeState.writers of a file as it is now.
func (fs *FS) writing(in *inode) int { return fs.st(in).writers + fs.writers[in] }

// addWriters changes it. As with holds, what differs from the image is counted apart.
func (fs *FS) addWriters(in *inode, n int) {
	if in.owner == fs.layer {
		in.first.writers += n
		return
	}
	if n += fs.writers[in]; n == 0 {
		delete(fs.writers, in)
		return
	}
	if fs.writers == nil {
		fs.writers = map[*inode]int{}
	}
	fs.writers[in] = n
}

// notRun is ETXTBSY for a file that a process runs.
func (fs *FS) notRun(in *inode) abi.Errno {
	if fs.writing(in) < 0 {
		return abi.ETXTBSY
	}
	return 0
}

// maybeFree gives back what a file without name or user holds.
func (fs *FS) maybeFree(in *inode) {
	s := fs.st(in)
	if s.nlink > 0 || s.holds+fs.holds[in] > 0 {
		return
	}
	fs.freed(in)
	s = fs.mut(in)
	if in.isReg() {
		fs.release(s.content.n)
		s.content = content{}
	}
	fs.open.close(in)
	fs.releaseMeta(s.meta)
	s.meta = 0
	if in.lower {
		if id := in.lowerID(); fs.linked(id) == in {
			fs.setLinked(id, nil)
		}
	}
}

// addSubdir and dropSubdir keep the link count of a directory, which counts the
// ".." of its subdirectories. Some host file systems keep it at 1 instead.
func (fs *FS) addSubdir(in *inode) {
	if s := fs.mut(in); s.nlink > 1 {
		s.nlink++
	}
}

func (fs *FS) dropSubdir(in *inode) {
	if s := fs.mut(in); s.nlink > 2 {
		s.nlink--
	}
}

// list returns the entries of a directory, without "." and "..", by name.
func (fs *FS) list(p *dentry) ([]Dirent, abi.Errno) {
	in := p.inode
	st := fs.st(in)
	if st.dead {
		return nil, 0
	}
	var out []Dirent
	if in.dyn != nil {
		for _, e := range in.dyn.list(fs) {
			out = append(out, Dirent{Ino: dynIno(in.ino, e.name), Type: uint8(e.mode >> 12), Name: e.name})
		}
		return out, 0
	}
	if in.lower {
		es, errno := fs.lower.ReadDir(in.lowerPath)
		if errno != 0 {
			return nil, errno
		}
		for _, e := range es {
			if st.entries.get(e.Name) == nil && !st.entries.isHidden(e.Name) && validName(e.Name) {
				out = append(out, Dirent{Ino: e.Ino, Type: uint8(e.Type >> 12), Name: e.Name})
			}
		}
	}
	st.entries.each(func(name string, d *dentry) {
		out = append(out, Dirent{Ino: d.inode.ino, Type: uint8(d.inode.kind >> 12), Name: name})
	})
	slices.SortFunc(out, func(a, b Dirent) int { return cmp.Compare(a.Name, b.Name) })
	return out, 0
}

// empty reports whether a directory has no entries.
func (fs *FS) empty(p *dentry) (bool, abi.Errno) {
	if fs.st(p.inode).entries.n > 0 {
		return false, 0
	}
	es, errno := fs.list(p)
	return len(es) == 0, errno
}

// readlink returns the target of a symbolic link.
func (fs *FS) readlink(in *inode) (string, abi.Errno) {
	switch {
	case in.link != nil:
		return in.link(fs)
	case !in.lower:
		return in.target, 0
	}
	if t := fs.st(in).target; t != "" {
		return t, 0
	}
	t, errno := fs.lower.Readlink(in.lowerPath)
	if errno != 0 {
		return "", errno
	}
	if len(t) >= PathMax {
		return "", abi.ENAMETOOLONG
	}
	if in.owner == fs.layer { // to remember it is not worth a change of the image
		in.first.target = t
	}
	return t, 0
}

// Attr is what stat(2) and statx(2) say about a file.
type Attr struct {
	Stat  abi.Stat
	Btime int64  // time of creation, ns since 1970; 0 when not known
	MntID uint64 // stx_mnt_id
	Mount bool   // the root of a mount
}

func (fs *FS) stat(in *inode) (abi.Stat, abi.Errno) {
	if in.anon != nil {
		return in.anon.Stat()
	}
	_ = fs.deliver(in) // without an event it is empty: who wants to know that waits
	s := fs.st(in)
	st := abi.Stat{
		Dev: in.dev, Ino: in.ino, Nlink: uint64(s.nlink), Mode: s.mode, Uid: s.uid, Gid: s.gid, Rdev: in.rdev,
		Blksize: pageSize,
		Atim:    unix.NsecToTimespec(s.atime), Mtim: unix.NsecToTimespec(s.mtime), Ctim: unix.NsecToTimespec(s.ctime),
	}
	switch in.kind {
	case unix.S_IFREG:
		if in.gen == nil {
			st.Size, st.Blocks = s.content.size, s.content.blocks(&in.lowerStat)+fs.sharedBlocks(in, &s.content)
		}
	case unix.S_IFDIR:
		switch {
		case in.lower:
			st.Size, st.Blocks = in.lowerStat.Size, in.lowerStat.Blocks
		case in.dyn == nil:
			st.Size, st.Blocks = pageSize, pageSize/512
		}
	case unix.S_IFLNK:
		st.Blocks = in.lowerStat.Blocks
		if in.jump != nil {
			st.Size = 64
		} else if t, errno := fs.readlink(in); errno == 0 {
			st.Size = int64(len(t))
		}
	}
	return st, 0
}
