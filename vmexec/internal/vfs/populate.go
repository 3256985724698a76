// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"fmt"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// devices of /dev.
var devices = []struct {
	name string
	rdev uint64
}{
	{"null", devNull}, {"zero", devZero}, {"full", devFull}, {"random", devRandom}, {"urandom", devURandom}, {"tty", devTTY},
}

// devLinks are the symbolic links of /dev.
var devLinks = [][2]string{
	{"fd", "/proc/self/fd"}, {"stdin", "/proc/self/fd/0"}, {"stdout", "/proc/self/fd/1"}, {"stderr", "/proc/self/fd/2"},
}

// etcFiles are made where the lower root has none of that name.
func (fs *FS) etcFiles() [][2]string {
	return [][2]string{
		{"passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
		{"group", "root:x:0:\nnogroup:x:65534:\n"},
		{"hosts", "127.0.0.1\tlocalhost " + fs.hostname + "\n::1\tlocalhost\n"},
		// Some libraries ask 127.0.0.1 then, and not all hear that nobody is there.
		{"resolv.conf", "# There is no name server.\noptions timeout:0 attempts:1\n"},
		{"nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
	}
}

// populate puts what every guest expects over the lower root.
func (fs *FS) populate() abi.Errno {
	dev := fs.newSuper(unix.TMPFS_MAGIC, "tmpfs")
	d, errno := fs.mountDir(fs.root, "dev", dev, 0o755)
	if errno != 0 {
		return errno
	}
	for _, v := range devices {
		c, errno := fs.create(last{parent: d, name: v.name}, unix.S_IFCHR|0o666)
		if errno != 0 {
			return errno
		}
		c.inode.rdev = v.rdev
	}
	for _, v := range devLinks {
		c, errno := fs.create(last{parent: d, name: v[0]}, unix.S_IFLNK|0o777)
		if errno != 0 {
			return errno
		}
		c.inode.target = v[1]
	}
	if _, errno := fs.mountDir(d, "shm", fs.newSuper(unix.TMPFS_MAGIC, "tmpfs"), 0o1777); errno != 0 {
		return errno
	}
	fs.memSuper = fs.newSuper(unix.TMPFS_MAGIC, "tmpfs")
	proc, errno := fs.mountDir(fs.root, "proc", fs.newSuper(unix.PROC_SUPER_MAGIC, "proc"), 0o555)
	if errno != 0 {
		return errno
	}
	proc.inode.setRoot("proc")
	ro := fs.newSuper(unix.SYSFS_MAGIC, "sysfs")
	ro.flags, ro.opts = unix.ST_RDONLY, "ro,nosuid,noatime"
	sys, errno := fs.mountDir(fs.root, "sys", ro, 0o555)
	if errno != 0 {
		return errno
	}
	sys.inode.setRoot("sys")
	if _, errno := fs.ensureDir("tmp", 0o1777); errno != 0 {
		return errno
	}
	if errno := fs.populateRun(); errno != 0 {
		return errno
	}
	etc, errno := fs.ensureDir("etc", 0o755)
	if errno != 0 {
		return errno
	}
	if !etc.inode.isDir() {
		return 0 // a link or a file of the lower root: its author's choice
	}
	for _, v := range fs.etcFiles() {
		have, errno := fs.child(etc, v[0])
		if errno != 0 {
			return errno
		}
		if have != nil {
			continue
		}
		f, errno := fs.create(last{parent: etc, name: v[0]}, unix.S_IFREG|0o644)
		if errno != 0 {
			return errno
		}
		if _, errno := fs.writeAt(f.inode, []byte(v[1]), 0); errno != 0 {
			return errno
		}
	}
	return 0
}

// runDir is /run/kontain: what a program can ask its VM.
var runDir = table{
	text("generation", func(fs *FS) ([]byte, abi.Errno) { return fmt.Appendln(nil, fs.generation()), 0 }),
}

// populateRun mounts /run/kontain. Where the lower root has a /run that leads to
// no directory, /run itself is mounted over.
func (fs *FS) populateRun() abi.Errno {
	run, errno := fs.child(fs.root, "run")
	if errno != 0 {
		return errno
	}
	if run == nil {
		run, errno = fs.create(last{parent: fs.root, name: "run"}, unix.S_IFDIR|0o755)
	} else if p, e := fs.Resolve(fs.Root(), "/run", Directory); e == 0 {
		run = p.d
	} else {
		run, errno = fs.mountDir(fs.root, "run", fs.newSuper(unix.TMPFS_MAGIC, "tmpfs"), 0o755)
	}
	if errno != 0 {
		return errno
	}
	ro := fs.newSuper(unix.TMPFS_MAGIC, "tmpfs")
	ro.flags, ro.opts = unix.ST_RDONLY, "ro,nosuid,noatime"
	d, errno := fs.mountDir(run, "kontain", ro, 0o555)
	if errno != 0 {
		return errno
	}
	d.inode.setRoot("run")
	return 0
}

// newSuper makes a file system that is not mounted.
func (fs *FS) newSuper(magic int64, typ string) *super {
	fs.nextDev++
	return &super{dev: fs.nextDev, magic: magic, typ: typ, opts: "rw,nosuid,noatime"}
}

// mountDir puts the root of a new file system in place of a name of p.
func (fs *FS) mountDir(p *dentry, name string, sb *super, mode uint32) (*dentry, abi.Errno) {
	if !fs.chargeMeta(metaCost + entryCost(name)) {
		return nil, abi.ENOSPC
	}
	d := fs.newDentry(p, name, fs.newInode(sb, unix.S_IFDIR|mode))
	d.mount = true
	e := &fs.mut(p.inode).entries
	if e.get(name) != nil {
		e.remove(name)
	}
	e.put(name, d)
	fs.addSubdir(p.inode)
	sb.parent, sb.dir = p.inode.sb.mntID, Path{fs, d}.String()
	sb.mntID = uint64(len(fs.mounts)) + 1
	fs.mounts = append(fs.mounts, sb)
	return d, 0
}

// ensureDir finds a name in the root, or makes a directory of it.
func (fs *FS) ensureDir(name string, mode uint32) (*dentry, abi.Errno) {
	d, errno := fs.child(fs.root, name)
	if d != nil || errno != 0 {
		return d, errno
	}
	return fs.create(last{parent: fs.root, name: name}, unix.S_IFDIR|mode)
}
