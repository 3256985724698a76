// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// Path is a place in the tree: a file together with the name it was reached by.
// It stays valid when the file is renamed or removed. The zero Path is none.
type Path struct {
	fs *FS
	d  *dentry
}

// Valid reports whether p is a place at all.
func (p Path) Valid() bool { return p.d != nil }

// String returns the absolute path as getcwd(2) and readlink of /proc/self/fd
// show it, with " (deleted)" behind that of a removed file.
func (p Path) String() string {
	if p.d == nil {
		return ""
	}
	n := p.fs.name(p.d)
	if p.d.inode.anon != nil {
		return n.name
	}
	deleted := n.gone
	var up []string // names, the last one first: a guest may nest folders without end
	for d := p.d; n.parent != d; n = p.fs.name(d) {
		up = append(up, n.name)
		if n.parent == nil { // O_TMPFILE
			deleted = true
			break
		}
		d = n.parent
	}
	var s strings.Builder
	for _, name := range slices.Backward(up) {
		s.WriteByte('/')
		s.WriteString(name)
	}
	if len(up) == 0 {
		s.WriteByte('/')
	}
	if deleted {
		s.WriteString(" (deleted)")
	}
	return s.String()
}

// Deleted reports whether the name has been removed.
func (p Path) Deleted() bool {
	return p.fs.name(p.d).gone
}

// IsDir reports whether the file is a directory.
func (p Path) IsDir() bool { return p.d.inode.isDir() }

// IsRegular reports whether the file is a regular file.
func (p Path) IsRegular() bool { return p.d.inode.isReg() }

// Attr describes the file.
func (p Path) Attr() (Attr, abi.Errno) {
	in := p.d.inode
	st, errno := p.fs.stat(in)
	a := Attr{Stat: st, Btime: in.btime, Mount: p.d.mount}
	if in.sb != nil {
		a.MntID = in.sb.mntID
	}
	return a, errno
}

// Flag changes how a path is resolved.
type Flag uint32

// Flags of resolution; the Resolve ones are those of openat2(2).
const (
	// NoFollow takes a symbolic link in the last place as the file itself.
	NoFollow Flag = 1 << iota
	// Directory demands a directory: ENOTDIR otherwise.
	Directory
	// EmptyPath lets an empty path mean the base itself (AT_EMPTY_PATH).
	EmptyPath
	// NoXDev refuses to cross a mount point: EXDEV.
	NoXDev
	// NoMagicLinks refuses magic links of /proc: ELOOP.
	NoMagicLinks
	// NoSymlinks refuses every symbolic link: ELOOP.
	NoSymlinks
	// Beneath refuses to leave the base, also by an absolute path: EXDEV.
	Beneath
	// InRoot takes the base as the root.
	InRoot
	// parentOnly stops before the last component, as calls that make or remove
	// a name do.
	parentOnly
	// creating is O_CREAT: a slash after the last component is EISDIR.
	creating
)

// last is where resolution ended: the directory and the last component.
type last struct {
	parent *dentry
	name   string
	d      *dentry // nil when the name is free
	slash  bool    // slashes follow the name
	kind   lastKind
	// errno is why d could not be looked up; only with parentOnly, since a call
	// with two paths resolves both directories first.
	errno abi.Errno
}

// lastKind says whether the last component is a name.
type lastKind uint8

const (
	normal lastKind = iota
	dot
	dotdot
	rootDir
)

// Resolve finds the file that a path leads to from the directory base.
//
// Errors: ENOENT, ENOTDIR, ELOOP (more than 40 symbolic links), ENAMETOOLONG,
// and EXDEV or ELOOP for what the flags refuse; see path_resolution(7).
func (fs *FS) Resolve(base Path, path string, fl Flag) (Path, abi.Errno) {
	if path == "" && fl&EmptyPath != 0 {
		if fl&Directory != 0 && !base.IsDir() {
			return Path{}, abi.ENOTDIR
		}
		return base, 0
	}
	l, errno := fs.walk(base, path, fl)
	if errno != 0 {
		return Path{}, errno
	}
	if l.d == nil {
		return Path{}, abi.ENOENT
	}
	if (l.slash || fl&Directory != 0) && !l.d.inode.isDir() {
		return Path{}, abi.ENOTDIR
	}
	return Path{fs, l.d}, 0
}

// walk resolves all but the last component, and the last one too as far as it is
// a symbolic link to be followed.
func (fs *FS) walk(base Path, path string, fl Flag) (last, abi.Errno) {
	if path == "" {
		return last{}, abi.ENOENT
	}
	if len(path) >= PathMax {
		return last{}, abi.ENAMETOOLONG
	}
	root, cur := fs.root, base.d
	if fl&InRoot != 0 {
		root = cur
	}
	beneath := base.d
	links := 0
	kind := normal
	// start enters an absolute path.
	start := func() abi.Errno {
		if fl&Beneath != 0 {
			return abi.EXDEV
		}
		if fl&NoXDev != 0 && cur.inode.sb != root.inode.sb {
			return abi.EXDEV
		}
		cur = root
		return 0
	}
	if path[0] == '/' {
		if errno := start(); errno != 0 {
			return last{}, errno
		}
		kind = rootDir
	} else if !cur.inode.isDir() {
		return last{}, abi.ENOTDIR
	}
	rest := path
	for {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			return last{parent: fs.up(cur), d: cur, kind: kind}, 0
		}
		if !cur.inode.isDir() {
			return last{}, abi.ENOTDIR
		}
		name := rest
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			name = rest[:i]
		}
		rest = rest[len(name):]
		slash := rest != ""
		if errno := fs.may(cur.inode, mayExec); errno != 0 {
			return last{}, errno
		}
		final := strings.TrimLeft(rest, "/") == ""
		switch name {
		case ".":
			kind = dot
			continue
		case "..":
			kind = dotdot
			switch {
			case cur == beneath && fl&Beneath != 0:
				return last{}, abi.EXDEV
			case cur == root:
			case fl&NoXDev != 0 && cur.inode.sb != fs.up(cur).inode.sb:
				return last{}, abi.EXDEV
			default:
				cur = fs.up(cur)
			}
			continue
		}
		kind = normal
		if final && slash && fl&creating != 0 {
			return last{}, abi.EISDIR
		}
		d, errno := fs.child(cur, name)
		if errno != 0 && final && fl&parentOnly != 0 {
			return last{parent: cur, name: name, slash: slash, errno: errno}, 0
		}
		if errno != 0 {
			return last{}, errno
		}
		if d == nil {
			if final {
				return last{parent: cur, name: name, slash: slash}, 0
			}
			return last{}, abi.ENOENT
		}
		if fl&NoXDev != 0 && d.inode.sb != cur.inode.sb {
			return last{}, abi.EXDEV
		}
		if d.inode.isLink() && (!final || fl&parentOnly == 0 && (fl&NoFollow == 0 || slash)) {
			if links++; links > maxLinks || fl&NoSymlinks != 0 {
				return last{}, abi.ELOOP
			}
			if d.inode.jump != nil {
				if fl&NoMagicLinks != 0 {
					return last{}, abi.ELOOP
				}
				// A jump would leave the base without being seen.
				if fl&(Beneath|InRoot) != 0 {
					return last{}, abi.EXDEV
				}
				to, errno := d.inode.jump(fs)
				if errno != 0 {
					return last{}, errno
				}
				if final {
					return last{parent: fs.up(to), d: to, slash: slash, kind: dot}, 0
				}
				cur = to
				continue
			}
			target, errno := fs.readlink(d.inode)
			if errno != 0 {
				return last{}, errno
			}
			if target == "" {
				return last{}, abi.ENOENT
			}
			if target[0] == '/' {
				if errno := start(); errno != 0 {
					return last{}, errno
				}
				kind = rootDir
			}
			rest = target + rest
			continue
		}
		if final {
			return last{parent: cur, name: name, d: d, slash: slash}, 0
		}
		cur = d
	}
}

// Rel returns the flags for the AT_* flags that most calls share:
// AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH.
func Rel(at int) Flag {
	var fl Flag
	if at&unix.AT_SYMLINK_NOFOLLOW != 0 {
		fl |= NoFollow
	}
	if at&unix.AT_EMPTY_PATH != 0 {
		fl |= EmptyPath
	}
	return fl
}
