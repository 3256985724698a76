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

// inode is a file, whatever its names.
type inode struct {
	fs    *FS
	sb    *super
	dev   uint64
	ino   uint64
	mode  uint32 // type and permission bits
	nlink uint32
	uid   uint32
	gid   uint32
	rdev  uint64

	atime, mtime, ctime, btime int64 // ns since 1970

	meta   int64 // bytes charged for the description
	holds  int   // open files and mappings
	dead   bool  // directory that was removed
	noLink bool  // O_TMPFILE|O_EXCL: never gets a name

	// The file's place in the lower root; its type decides what is used of it.
	lower     bool
	lowerPath string
	lowerStat LowerStat

	content  content            // regular file
	target   string             // symbolic link, once known
	children map[string]*dentry // directory: entries known so far
	hidden   map[string]bool    // directory: names of the lower one that are gone or replaced
	dyn      dynDir             // directory of /proc or /sys
	gen      func() ([]byte, abi.Errno)
	set      func([]byte) abi.Errno // takes what is written to a gen file
	link     func() (string, abi.Errno)
	jump     func() (*dentry, abi.Errno) // magic link: where it leads
	anon     fd.File                     // a file without a place in the tree
	reopen   func(flags int) (fd.File, abi.Errno)
	sock     any // what a socket's name leads to
}

// dentry is a name of an inode in a directory. A removed one stays with those
// who have it open.
type dentry struct {
	name   string
	parent *dentry
	inode  *inode
	mount  bool // root of a mounted file system: cannot be removed or renamed
	lower  bool // the lower directory has the name
	gone   bool // removed from its directory
}

func (in *inode) typ() uint32  { return in.mode & unix.S_IFMT }
func (in *inode) isDir() bool  { return in.typ() == unix.S_IFDIR }
func (in *inode) isLink() bool { return in.typ() == unix.S_IFLNK }
func (in *inode) isReg() bool  { return in.typ() == unix.S_IFREG }

// newInode makes a file of the overlay with no name yet.
func (fs *FS) newInode(sb *super, mode uint32) *inode {
	t := fs.now()
	in := &inode{fs: fs, sb: sb, dev: sb.dev, ino: fs.nextIno, mode: mode, nlink: 1, atime: t, mtime: t, ctime: t, btime: t}
	fs.nextIno++
	if in.isDir() {
		in.nlink = 2
		in.children = map[string]*dentry{}
	}
	return in
}

// fromLower makes in show a file of the lower root.
func (in *inode) fromLower(path string, st LowerStat) {
	in.lower, in.lowerPath, in.lowerStat = true, path, st
	in.mode, in.nlink, in.uid, in.gid = st.Mode, st.Nlink, st.UID, st.GID
	in.ino = st.Ino
	in.dev = in.sb.dev + min(st.Dev, maxLowerDevs-1)
	in.atime, in.mtime, in.ctime, in.btime = st.Atime, st.Mtime, st.Ctime, st.Ctime
	in.content.size, in.content.lowerSize = st.Size, st.Size
	if in.isDir() && in.children == nil {
		in.children = map[string]*dentry{}
	}
}

// child finds a name in a directory. A nil dentry with no errno means that the
// directory does not have it.
func (fs *FS) child(p *dentry, name string) (*dentry, abi.Errno) {
	in := p.inode
	if in.dead {
		return nil, 0
	}
	if len(name) > NameMax {
		return nil, abi.ENAMETOOLONG
	}
	if in.dyn != nil {
		e, ok := in.dyn.find(name)
		if !ok {
			return nil, 0
		}
		return &dentry{name: name, parent: p, inode: fs.dynInode(in, e)}, 0
	}
	if d := in.children[name]; d != nil {
		return d, 0
	}
	if !in.lower || in.hidden[name] {
		return nil, 0
	}
	path := join(in.lowerPath, name)
	st, errno := fs.lower.Stat(path)
	switch {
	case errno == abi.ENOENT || errno == abi.ENOTDIR:
		return nil, 0
	case errno != 0:
		return nil, errno
	}
	id := lowerID{st.Dev, st.Ino}
	c := fs.links[id]
	if c == nil || c.typ() != st.Mode&unix.S_IFMT {
		c = &inode{fs: fs, sb: in.sb}
		c.fromLower(path, st)
		c.meta = metaCost + int64(len(path)+len(name))
		if !fs.chargeMeta(c.meta) {
			return nil, abi.ENOMEM
		}
		if st.Nlink > 1 && !c.isDir() {
			fs.links[id] = c
		}
	} else if !fs.chargeMeta(entryCost(name)) {
		return nil, abi.ENOMEM
	}
	d := &dentry{name: name, parent: p, inode: c, lower: true}
	in.children[name] = d
	return d, 0
}

// entryCost is what a further name of a file is charged for.
func entryCost(name string) int64 { return 128 + int64(len(name)) }

// attach puts a new name into a directory. The caller has checked that it is free.
func (fs *FS) attach(p *dentry, name string, in *inode) (*dentry, abi.Errno) {
	if !fs.chargeMeta(entryCost(name)) {
		return nil, abi.ENOSPC
	}
	d := &dentry{name: name, parent: p, inode: in}
	p.inode.children[name] = d
	p.inode.touch()
	return d, 0
}

// detach takes a name out of its directory. The inode's link count is the caller's.
func (fs *FS) detach(d *dentry) {
	p := d.parent.inode
	delete(p.children, d.name)
	if d.lower {
		if p.hidden == nil {
			p.hidden = map[string]bool{}
		}
		p.hidden[d.name] = true // no more of these than the lower directory has names
	} else {
		fs.releaseMeta(entryCost(d.name))
	}
	p.touch()
}

// touch marks a change of the contents.
func (in *inode) touch() {
	in.mtime = in.fs.now()
	in.ctime = in.mtime
}

// unlinked takes one link off and frees the file when nothing holds it.
func (in *inode) unlinked() {
	in.ctime = in.fs.now()
	if in.isDir() {
		in.nlink, in.dead = 0, true
	} else if in.nlink > 0 {
		in.nlink--
	}
	in.maybeFree()
}

func (in *inode) hold() { in.holds++ }

func (in *inode) drop() {
	in.holds--
	in.maybeFree()
}

// maybeFree gives back what a file without name or user holds.
func (in *inode) maybeFree() {
	if in.nlink > 0 || in.holds > 0 {
		return
	}
	if in.isReg() {
		in.content.free(in)
	}
	in.fs.open.close(in)
	in.fs.releaseMeta(in.meta)
	in.meta = 0
	if in.lower {
		delete(in.fs.links, lowerID{in.lowerStat.Dev, in.lowerStat.Ino})
	}
}

// addSubdir and dropSubdir keep the link count of a directory, which counts the
// ".." of its subdirectories. Some host file systems keep it at 1 instead.
func (in *inode) addSubdir() {
	if in.nlink > 1 {
		in.nlink++
	}
}

func (in *inode) dropSubdir() {
	if in.nlink > 2 {
		in.nlink--
	}
}

// list returns the entries of a directory, without "." and "..", by name.
func (fs *FS) list(p *dentry) ([]Dirent, abi.Errno) {
	in := p.inode
	if in.dead {
		return nil, 0
	}
	var out []Dirent
	if in.dyn != nil {
		for _, e := range in.dyn.list() {
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
			if in.children[e.Name] == nil && !in.hidden[e.Name] && validName(e.Name) {
				out = append(out, Dirent{Ino: e.Ino, Type: uint8(e.Type >> 12), Name: e.Name})
			}
		}
	}
	for name, d := range in.children {
		out = append(out, Dirent{Ino: d.inode.ino, Type: uint8(d.inode.mode >> 12), Name: name})
	}
	slices.SortFunc(out, func(a, b Dirent) int { return cmp.Compare(a.Name, b.Name) })
	return out, 0
}

// empty reports whether a directory has no entries.
func (fs *FS) empty(p *dentry) (bool, abi.Errno) {
	if len(p.inode.children) > 0 {
		return false, 0
	}
	es, errno := fs.list(p)
	return len(es) == 0, errno
}

// readlink returns the target of a symbolic link.
func (in *inode) readlink() (string, abi.Errno) {
	if in.link != nil {
		return in.link()
	}
	if in.target == "" && in.lower {
		t, errno := in.fs.lower.Readlink(in.lowerPath)
		if errno != 0 {
			return "", errno
		}
		if len(t) >= PathMax {
			return "", abi.ENAMETOOLONG
		}
		in.target = t
	}
	return in.target, 0
}

// Attr is what stat(2) and statx(2) say about a file.
type Attr struct {
	Stat  abi.Stat
	Btime int64  // time of creation, ns since 1970; 0 when not known
	MntID uint64 // stx_mnt_id
	Mount bool   // the root of a mount
}

func (in *inode) stat() (abi.Stat, abi.Errno) {
	if in.anon != nil {
		return in.anon.Stat()
	}
	st := abi.Stat{
		Dev: in.dev, Ino: in.ino, Nlink: uint64(in.nlink), Mode: in.mode, Uid: in.uid, Gid: in.gid, Rdev: in.rdev,
		Blksize: pageSize,
		Atim:    unix.NsecToTimespec(in.atime), Mtim: unix.NsecToTimespec(in.mtime), Ctim: unix.NsecToTimespec(in.ctime),
	}
	switch in.typ() {
	case unix.S_IFREG:
		if in.gen == nil {
			st.Size, st.Blocks = in.content.size, in.content.blocks()
		}
	case unix.S_IFDIR:
		if in.dyn == nil {
			st.Size = pageSize
		}
	case unix.S_IFLNK:
		if in.jump != nil {
			st.Size = 64
		} else if t, errno := in.readlink(); errno == 0 {
			st.Size = int64(len(t))
		}
	}
	return st, 0
}
