// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// permMask is what chmod(2) may change.
const permMask = 0o7777

// writable returns EPERM or ENOENT for a directory in which no name can be made
// or removed.
func (fs *FS) writable(in *inode) abi.Errno {
	switch {
	case in.dyn != nil:
		return abi.EPERM
	case fs.st(in).dead:
		return abi.ENOENT
	}
	return 0
}

// free finds the place for a new name. It is EEXIST when the name is taken.
func (fs *FS) free(base Path, path string, dir bool) (last, abi.Errno) {
	l, errno := fs.walk(base, path, parentOnly)
	switch {
	case errno != 0:
		return l, errno
	case l.errno != 0:
		return l, l.errno
	case l.d != nil:
		return l, abi.EEXIST
	case l.slash && !dir:
		return l, abi.ENOENT
	case l.parent.inode.dyn != nil:
		return l, abi.ENOENT
	}
	if errno := fs.writable(l.parent.inode); errno != 0 {
		return l, errno
	}
	return l, fs.may(l.parent.inode, mayWrite|mayExec)
}

// create makes a file with a name. The mode has been masked by the umask.
func (fs *FS) create(l last, mode uint32) (*dentry, abi.Errno) {
	p := l.parent.inode
	if !fs.chargeMeta(metaCost) {
		return nil, abi.ENOSPC
	}
	in := fs.newInode(p.sb, mode)
	in.first.meta = metaCost
	fs.inherit(in, p)
	d, errno := fs.attach(l.parent, l.name, in)
	if errno != 0 {
		fs.releaseMeta(metaCost)
		return nil, errno
	}
	if in.isDir() {
		fs.addSubdir(p)
	}
	fs.entryEvent(p, l.name, in, unix.IN_CREATE, 0)
	return d, 0
}

// inherit passes on the group of a set-group-ID directory to a new file.
func (fs *FS) inherit(in, dir *inode) {
	if p := fs.st(dir); p.mode&unix.S_ISGID != 0 {
		in.first.gid = p.gid
		if in.isDir() {
			in.first.mode |= unix.S_ISGID
		}
	}
}

// Mkdir makes a directory as mkdir(2). Umask is the caller's to apply, here and
// in the other calls with a mode.
func (fs *FS) Mkdir(base Path, path string, mode uint32) abi.Errno {
	l, errno := fs.free(base, path, true)
	if errno != 0 {
		return errno
	}
	_, errno = fs.create(l, unix.S_IFDIR|mode&0o1777)
	return errno
}

// Mknod makes a regular file, a named pipe, or the name of a socket that nobody
// listens on, as mknod(2). Other kinds are EPERM: no guest makes devices.
func (fs *FS) Mknod(base Path, path string, mode uint32) abi.Errno {
	switch mode & unix.S_IFMT {
	case 0:
		mode |= unix.S_IFREG
	case unix.S_IFREG, unix.S_IFIFO, unix.S_IFSOCK:
	case unix.S_IFDIR:
		return abi.EPERM
	case unix.S_IFCHR, unix.S_IFBLK:
		if _, errno := fs.free(base, path, false); errno != 0 {
			return errno
		}
		return abi.EPERM
	default:
		return abi.EINVAL
	}
	l, errno := fs.free(base, path, false)
	if errno != 0 {
		return errno
	}
	_, errno = fs.create(l, mode&(unix.S_IFMT|permMask))
	return errno
}

// Bind gives a socket a name, as bind(2) of a unix(7) address. What Socket
// returns for the path is sock, in every clone too: let it be a key, not an object
// that belongs to one VM. A taken name is EADDRINUSE for the guest, EEXIST here.
func (fs *FS) Bind(base Path, path string, mode uint32, sock any) (Path, abi.Errno) {
	l, errno := fs.free(base, path, false)
	if errno != 0 {
		return Path{}, errno
	}
	d, errno := fs.create(l, unix.S_IFSOCK|mode&permMask)
	if errno != 0 {
		return Path{}, errno
	}
	d.inode.sock = sock
	return Path{fs, d}, 0
}

// Socket returns what Bind gave the file; nil when it is not a socket.
func (p Path) Socket() any { return p.d.inode.sock }

// Symlink makes a symbolic link as symlink(2).
func (fs *FS) Symlink(target string, base Path, path string) abi.Errno {
	if target == "" {
		return abi.ENOENT
	}
	if len(target) >= PathMax {
		return abi.ENAMETOOLONG
	}
	l, errno := fs.free(base, path, false)
	if errno != 0 {
		return errno
	}
	if !fs.chargeMeta(int64(len(target))) {
		return abi.ENOSPC
	}
	d, errno := fs.create(l, unix.S_IFLNK|0o777)
	if errno != 0 {
		fs.releaseMeta(int64(len(target)))
		return errno
	}
	d.inode.target = target
	d.inode.first.meta += int64(len(target))
	return 0
}

// Link gives a file a further name as link(2).
func (fs *FS) Link(old Path, base Path, path string) abi.Errno {
	l, errno := fs.free(base, path, false)
	if errno != 0 {
		return errno
	}
	in := old.d.inode
	switch {
	case in.sb != l.parent.inode.sb:
		return abi.EXDEV
	case in.isDir() || in.gen != nil || in.dyn != nil:
		return abi.EPERM
	case in.noLink, fs.st(in).nlink == 0 && !fs.st(in).linkable:
		return abi.ENOENT
	}
	if _, errno := fs.attach(l.parent, l.name, in); errno != 0 {
		return errno
	}
	st := fs.mut(in)
	st.nlink++
	st.linkable = false
	st.ctime = fs.now()
	fs.selfEvent(in, unix.IN_ATTRIB)
	fs.entryEvent(l.parent.inode, l.name, in, unix.IN_CREATE, 0)
	return 0
}

// Unlink removes a name that is not a directory's, as unlink(2).
func (fs *FS) Unlink(base Path, path string) abi.Errno {
	l, errno := fs.walk(base, path, parentOnly)
	switch {
	case errno != 0:
		return errno
	case l.kind != normal:
		return abi.EISDIR
	case l.errno != 0:
		return l.errno
	case l.d == nil:
		return abi.ENOENT
	case l.d.inode.isDir() && l.slash:
		return abi.EISDIR
	case l.slash:
		return abi.ENOTDIR
	case fs.writable(l.parent.inode) != 0:
		return fs.writable(l.parent.inode)
	}
	if errno := fs.mayRemove(l.parent.inode, l.d); errno != 0 {
		return errno
	}
	if l.d.inode.isDir() {
		return abi.EISDIR
	}
	fs.remove(l.d)
	fs.removed(l.d)
	return 0
}

// remove takes a name away and its link off the file.
func (fs *FS) remove(d *dentry) {
	fs.detach(d)
	n := fs.mutName(d)
	n.gone = true
	if d.inode.isDir() {
		fs.dropSubdir(n.parent.inode)
	}
	fs.unlinked(d.inode)
}

// removed tells of a name that remove took away, and frees the file when nothing
// holds it.
func (fs *FS) removed(d *dentry) {
	n := fs.name(d)
	if d.inode.isDir() {
		fs.maybeFree(d.inode)
		fs.entryEvent(n.parent.inode, n.name, d.inode, unix.IN_DELETE, 0)
		return
	}
	fs.selfEvent(d.inode, unix.IN_ATTRIB)
	fs.entryEvent(n.parent.inode, n.name, d.inode, unix.IN_DELETE, 0)
	fs.maybeFree(d.inode)
}

// Rmdir removes an empty directory as rmdir(2).
func (fs *FS) Rmdir(base Path, path string) abi.Errno {
	l, errno := fs.walk(base, path, parentOnly)
	switch {
	case errno != 0:
		return errno
	case l.kind == dot:
		return abi.EINVAL
	case l.kind == dotdot:
		return abi.ENOTEMPTY
	case l.kind == rootDir:
		return abi.EBUSY
	case l.errno != 0:
		return l.errno
	case l.d == nil:
		return abi.ENOENT
	case fs.writable(l.parent.inode) != 0:
		return fs.writable(l.parent.inode)
	}
	if errno := fs.mayRemove(l.parent.inode, l.d); errno != 0 {
		return errno
	}
	switch {
	case !l.d.inode.isDir():
		return abi.ENOTDIR
	case l.d.mount:
		return abi.EBUSY
	}
	if e, errno := fs.empty(l.d); errno != 0 {
		return errno
	} else if !e {
		return abi.ENOTEMPTY
	}
	fs.remove(l.d)
	fs.removed(l.d)
	return 0
}

// CheckParent returns why the folder that holds a name cannot be found, if so.
func (fs *FS) CheckParent(base Path, path string) abi.Errno {
	_, errno := fs.walk(base, path, parentOnly)
	return errno
}

// Rename moves a name as renameat2(2), with RENAME_NOREPLACE or RENAME_EXCHANGE.
// Other flags are EINVAL.
func (fs *FS) Rename(oldBase Path, oldPath string, newBase Path, newPath string, flags uint) abi.Errno {
	if flags&^(unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE) != 0 || flags == unix.RENAME_NOREPLACE|unix.RENAME_EXCHANGE {
		return abi.EINVAL
	}
	exchange := flags&unix.RENAME_EXCHANGE != 0
	o, errno := fs.walk(oldBase, oldPath, parentOnly)
	if errno != 0 {
		return errno
	}
	n, errno := fs.walk(newBase, newPath, parentOnly)
	if errno != 0 {
		return errno
	}
	// The mount of the directory that holds the name is what counts.
	if o.kind == normal && n.kind == normal && o.parent.inode.sb != n.parent.inode.sb {
		return abi.EXDEV
	}
	switch {
	case o.kind != normal:
		return abi.EBUSY
	case n.kind != normal && flags&unix.RENAME_NOREPLACE != 0:
		return abi.EEXIST
	case n.kind != normal:
		return abi.EBUSY
	case o.errno != 0:
		return o.errno
	case o.d == nil:
		return abi.ENOENT
	case n.errno != 0:
		return n.errno
	case n.d != nil && flags&unix.RENAME_NOREPLACE != 0:
		return abi.EEXIST
	case n.d == nil && exchange:
		return abi.ENOENT
	case exchange && n.slash && !n.d.inode.isDir():
		return abi.ENOTDIR
	case !o.d.inode.isDir() && (o.slash || !exchange && n.slash):
		return abi.ENOTDIR
	case fs.contains(o.d, n.parent):
		return abi.EINVAL
	case n.d != nil && fs.contains(n.d, o.parent) && exchange:
		return abi.EINVAL
	case n.d != nil && fs.contains(n.d, o.parent):
		return abi.ENOTEMPTY
	case n.d != nil && n.d.inode == o.d.inode:
		return 0
	}
	if errno := fs.writable(o.parent.inode); errno != 0 {
		return errno
	}
	if errno := fs.writable(n.parent.inode); errno != 0 {
		return errno
	}
	if errno := fs.mayMove(o.d, o.parent.inode, n.parent.inode, n.d); errno != 0 {
		return errno
	}
	if exchange {
		if errno := fs.mayMove(n.d, n.parent.inode, o.parent.inode, o.d); errno != 0 {
			return errno
		}
	}
	if n.d != nil && !exchange {
		switch oldDir, newDir := o.d.inode.isDir(), n.d.inode.isDir(); {
		case oldDir && !newDir:
			return abi.ENOTDIR
		case !oldDir && newDir:
			return abi.EISDIR
		}
	}
	if o.d.mount || n.d != nil && n.d.mount {
		return abi.EBUSY
	}
	if exchange {
		return fs.exchange(o.d, n.d)
	}
	if n.d != nil && n.d.inode.isDir() {
		if e, errno := fs.empty(n.d); errno != 0 {
			return errno
		} else if !e {
			return abi.ENOTEMPTY
		}
	}
	// The charge comes first: from here on nothing fails.
	if !fs.chargeMeta(entryCost(n.name)) {
		return abi.ENOSPC
	}
	if n.d != nil {
		fs.remove(n.d)
	}
	fs.detach(o.d)
	fs.place(o.d, n.parent, n.name)
	fs.movedEvent(o.d, o.parent.inode, o.name, n.d)
	if n.d != nil {
		fs.maybeFree(n.d.inode)
	}
	return 0
}

// exchange swaps two names.
func (fs *FS) exchange(a, b *dentry) abi.Errno {
	cost := entryCost(fs.name(a).name) + entryCost(fs.name(b).name)
	if !fs.chargeMeta(cost) {
		return abi.ENOSPC
	}
	ap, an, bp, bn := fs.up(a), fs.name(a).name, fs.up(b), fs.name(b).name
	fs.detach(a)
	fs.detach(b)
	fs.place(a, bp, bn)
	fs.place(b, ap, an)
	fs.movedEvent(a, ap.inode, an, nil)
	fs.movedEvent(b, bp.inode, bn, nil)
	return 0
}

// movedEvent tells of a name that was another one in the directory from, and has
// taken the place of over, which may be nil.
func (fs *FS) movedEvent(d *dentry, from *inode, name string, over *dentry) {
	if len(fs.watches) == 0 {
		return
	}
	fs.cookie++
	n := fs.name(d)
	fs.entryEvent(from, name, d.inode, unix.IN_MOVED_FROM, fs.cookie)
	fs.entryEvent(n.parent.inode, n.name, d.inode, unix.IN_MOVED_TO, fs.cookie)
	if over != nil {
		fs.selfEvent(over.inode, unix.IN_ATTRIB)
	}
	fs.selfEvent(d.inode, unix.IN_MOVE_SELF)
}

// place puts a detached, already charged name elsewhere.
func (fs *FS) place(d *dentry, p *dentry, name string) {
	n := fs.mutName(d)
	if d.inode.isDir() && n.parent != p {
		fs.dropSubdir(n.parent.inode)
		fs.addSubdir(p.inode)
	}
	n.parent, n.name, n.lower = p, name, false
	fs.mut(p.inode).entries.put(name, d)
	fs.touch(p.inode)
	fs.mut(d.inode).ctime = fs.now()
}

// contains reports whether x is d or below it.
func (fs *FS) contains(d, x *dentry) bool {
	for x != nil {
		if x == d {
			return true
		}
		up := fs.up(x)
		if up == x {
			return false
		}
		x = up
	}
	return false
}

// Readlink returns the target of a symbolic link; EINVAL when p is none.
func (fs *FS) Readlink(p Path) (string, abi.Errno) {
	if !p.d.inode.isLink() {
		return "", abi.EINVAL
	}
	return fs.readlink(p.d.inode)
}

// fixed returns EPERM for a file whose attributes cannot be changed.
func (in *inode) fixed() abi.Errno {
	if in.dyn != nil || in.gen != nil || in.link != nil || in.anon != nil {
		return abi.EPERM
	}
	return 0
}

// Chmod sets the permission bits as chmod(2). EOPNOTSUPP for a symbolic link.
func (fs *FS) Chmod(p Path, mode uint32) abi.Errno {
	in := p.d.inode
	if in.isLink() {
		return abi.EOPNOTSUPP
	}
	if errno := in.fixed(); errno != 0 {
		return errno
	}
	if fs.st(in).seals&sealExec != 0 && (fs.st(in).mode^mode)&0o111 != 0 {
		return abi.EPERM
	}
	if !fs.owns(in) {
		return abi.EPERM
	}
	s := fs.mut(in)
	if fs.cred.UID != 0 && !fs.cred.In(s.gid) {
		mode &^= unix.S_ISGID
	}
	s.mode = s.mode&^permMask | mode&permMask
	s.ctime = fs.now()
	fs.event(p.d, unix.IN_ATTRIB)
	return 0
}

// Chown sets owner and group as chown(2); ^uint32(0) leaves one as it is.
func (fs *FS) Chown(p Path, uid, gid uint32) abi.Errno {
	in := p.d.inode
	if errno := in.fixed(); errno != 0 {
		return errno
	}
	if fs.cred.UID != 0 {
		sameUser := uid == ^uint32(0) || uid == fs.cred.UID && fs.owns(in)
		sameGroup := gid == ^uint32(0) || fs.owns(in) && (gid == fs.st(in).gid || fs.cred.In(gid))
		if !sameUser || !sameGroup {
			return abi.EPERM
		}
	}
	s := fs.mut(in)
	if uid != ^uint32(0) {
		s.uid = uid
	}
	if gid != ^uint32(0) {
		s.gid = gid
	}
	if !in.isDir() && !in.isLink() {
		s.mode &^= unix.S_ISUID
		if s.mode&0o010 != 0 {
			s.mode &^= unix.S_ISGID
		}
	}
	s.ctime = fs.now()
	fs.event(p.d, unix.IN_ATTRIB)
	return 0
}

// Times for Utimes.
const (
	TimeNow  = -1 << 63   // the time of the call
	TimeOmit = -1<<63 + 1 // leave it as it is
)

// Utimes sets the times of access and change of contents, in ns since 1970.
func (fs *FS) Utimes(p Path, atime, mtime int64) abi.Errno {
	if atime == TimeOmit && mtime == TimeOmit {
		return 0
	}
	in := p.d.inode
	if errno := in.fixed(); errno != 0 {
		return errno
	}
	if !fs.owns(in) {
		if atime != TimeNow || mtime != TimeNow {
			return abi.EPERM
		}
		if errno := fs.may(in, mayWrite); errno != 0 {
			return errno
		}
	}
	now := fs.now()
	set := func(t *int64, v int64) {
		switch v {
		case TimeNow:
			*t = now
		case TimeOmit:
		default:
			*t = v
		}
	}
	s := fs.mut(in)
	set(&s.atime, atime)
	set(&s.mtime, mtime)
	s.ctime = now
	switch {
	case mtime == TimeOmit:
		fs.event(p.d, unix.IN_ACCESS)
	case atime == TimeOmit:
		fs.event(p.d, unix.IN_MODIFY)
	default:
		fs.event(p.d, unix.IN_ATTRIB)
	}
	return 0
}

// Truncate sets the size of a regular file as truncate(2).
func (fs *FS) Truncate(p Path, size int64) abi.Errno {
	in := p.d.inode
	switch {
	case size < 0:
		return abi.EINVAL
	case in.isDir():
		return abi.EISDIR
	case !in.isReg():
		return abi.EINVAL
	}
	if errno := in.fixed(); errno != 0 {
		return errno
	}
	if errno := fs.may(in, mayWrite); errno != 0 {
		return errno
	}
	if errno := fs.notRun(in); errno != 0 {
		return errno
	}
	if errno := fs.deliver(in); errno != 0 {
		return errno
	}
	if errno := fs.sealedSize(in, size); errno != 0 {
		return errno
	}
	fs.truncate(in, size)
	fs.event(p.d, unix.IN_MODIFY)
	return 0
}

// Access checks as access(2). To user 0 only a file with no x bit at all refuses
// execution. mode is R_OK, W_OK, X_OK bits.
func (fs *FS) Access(p Path, mode uint32) abi.Errno {
	in := p.d.inode
	if mode&^uint32(unix.R_OK|unix.W_OK|unix.X_OK) != 0 {
		return abi.EINVAL
	}
	if mode&unix.X_OK != 0 && !in.isDir() && fs.st(in).mode&0o111 == 0 {
		return abi.EACCES
	}
	if errno := fs.may(in, mode); errno != 0 {
		return errno
	}
	if mode&unix.W_OK != 0 && in.sb != nil && in.sb.flags&unix.ST_RDONLY != 0 {
		return abi.EROFS
	}
	return 0
}
