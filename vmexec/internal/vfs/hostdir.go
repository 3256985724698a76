// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// HostDir shows a folder of the host read-only. Regular files, directories and
// symbolic links are shown; devices, sockets and pipes are not, nor are the
// host's kernel file systems (proc, sysfs and the like).
//
// Every access is openat2(2) below a descriptor of the folder with
// RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS and RESOLVE_NO_MAGICLINKS, so that the
// host kernel itself refuses to leave the folder. Linux 5.6 or later.
type HostDir struct {
	root   int
	hide   map[string]bool // names in the root that are not shown
	mu     sync.Mutex
	devs   map[uint64]int // host device → index, or notShown
	closed bool
	owners *Owners // nil: the host's
}

// notShown marks a host device that holds a kernel file system.
const notShown = -1

// kernelMagics are the file systems that are never shown: they are views of the
// host's kernel, not files. See statfs(2).
var kernelMagics = map[int64]bool{
	unix.PROC_SUPER_MAGIC: true, unix.SYSFS_MAGIC: true, unix.DEVPTS_SUPER_MAGIC: true, unix.CGROUP_SUPER_MAGIC: true,
	unix.CGROUP2_SUPER_MAGIC: true, unix.DEBUGFS_MAGIC: true, unix.TRACEFS_MAGIC: true, unix.SECURITYFS_MAGIC: true,
	unix.BPF_FS_MAGIC: true, unix.PSTOREFS_MAGIC: true, unix.EFIVARFS_MAGIC: true, unix.BINFMTFS_MAGIC: true,
	unix.SELINUX_MAGIC: true, unix.SMACK_MAGIC: true, unix.NSFS_MAGIC: true, configfsMagic: true, mqueueMagic: true,
}

const (
	configfsMagic = 0x62656570 // CONFIGFS_MAGIC, fs/configfs/mount.c
	mqueueMagic   = 0x19800202 // MQUEUE_MAGIC, ipc/mqueue.c
)

// NewHostDir opens a folder of the host. The host's own root directory is shown
// without its /dev, /proc, /run and /sys.
func NewHostDir(dir string) (*HostDir, error) {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("vfs: show host folder %s: open: %w", dir, err)
	}
	var st, slash unix.Stat_t
	whole := unix.Fstat(root, &st) == nil && unix.Stat("/", &slash) == nil && st.Dev == slash.Dev && st.Ino == slash.Ino
	return NewHostDirAt(root, dir, whole)
}

// NewHostDirAt is NewHostDir for a descriptor of the folder, which it takes over, also
// when it fails. whole says that it is the host's own root directory.
func NewHostDirAt(root int, dir string, whole bool) (*HostDir, error) {
	fail := func(op string, err error) (*HostDir, error) {
		return nil, fmt.Errorf("vfs: show host folder %s: %s: %w", dir, op, err)
	}
	h := &HostDir{root: root, devs: map[uint64]int{}}
	var st unix.Stat_t
	if err := unix.Fstat(root, &st); err != nil {
		unix.Close(root)
		return fail("stat", err)
	}
	if whole {
		h.hide = map[string]bool{"dev": true, "proc": true, "run": true, "sys": true}
	}
	if _, errno := h.device(root, st.Dev); errno != 0 {
		unix.Close(root)
		return fail("check", errors.New("it is a kernel file system"))
	}
	fd, err := h.openat2("", unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		unix.Close(root)
		return fail("openat2 (needs Linux 5.6)", err)
	}
	unix.Close(fd)
	return h, nil
}

// FD is the descriptor of the folder, and Whole says that it is the host's own root
// directory, for NewHostDirAt in another process.
func (h *HostDir) FD() int { return h.root }

// Whole is explained at FD.
func (h *HostDir) Whole() bool { return h.hide != nil }

// SetOwners says whose the files are, before the folder is used. It takes o over.
func (h *HostDir) SetOwners(o *Owners) { h.owners = o }

// Owners returns what SetOwners was given; nil for nothing.
func (h *HostDir) Owners() *Owners { return h.owners }

// Close frees the folder. No VM may use it any more.
func (h *HostDir) Close() error {
	if h.closed {
		return nil
	}
	h.closed = true
	if err := errors.Join(unix.Close(h.root), h.owners.close()); err != nil {
		return fmt.Errorf("vfs: close host folder: %w", err)
	}
	return nil
}

// openat2 opens a path below the folder, never through a symbolic link.
func (h *HostDir) openat2(path string, flags uint64) (int, error) {
	if path == "" {
		path = "."
	}
	how := unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for tries := 0; ; tries++ {
		fd, err := unix.Openat2(h.root, path, &how)
		// EAGAIN: something was renamed while the path was resolved.
		if (err == unix.EINTR || err == unix.EAGAIN) && tries < 100 {
			continue
		}
		return fd, err
	}
}

// device returns the small number of a host device. ENOENT when it is not shown.
func (h *HostDir) device(fd int, dev uint64) (uint64, abi.Errno) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i, ok := h.devs[dev]
	if !ok {
		var st unix.Statfs_t
		if err := unix.Fstatfs(fd, &st); err != nil || kernelMagics[st.Type] {
			i = notShown
		} else {
			i = len(h.devs)
		}
		h.devs[dev] = i
	}
	if i == notShown {
		return 0, abi.ENOENT
	}
	return uint64(i), 0
}

// hidden reports whether a path is in a part that is not shown.
func (h *HostDir) hidden(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return h.hide[first]
}

// find opens a path as O_PATH and describes it.
func (h *HostDir) find(path string) (int, LowerStat, abi.Errno) {
	if h.hidden(path) {
		return -1, LowerStat{}, abi.ENOENT
	}
	fd, err := h.openat2(path, unix.O_PATH)
	if err != nil {
		return -1, LowerStat{}, hostErrno(err)
	}
	st, errno := h.stat(fd)
	if errno != 0 {
		unix.Close(fd)
		return -1, LowerStat{}, errno
	}
	if err := h.owners.apply(path, &st); err != nil {
		unix.Close(fd)
		return -1, LowerStat{}, abi.EIO
	}
	return fd, st, 0
}

func (h *HostDir) stat(fd int) (LowerStat, abi.Errno) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return LowerStat{}, hostErrno(err)
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
	default:
		return LowerStat{}, abi.ENOENT
	}
	dev, errno := h.device(fd, st.Dev)
	if errno != 0 {
		return LowerStat{}, errno
	}
	return LowerStat{
		Dev: dev, Ino: st.Ino, Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Size: st.Size, Blocks: st.Blocks,
		Atime: st.Atim.Nano(), Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}, 0
}

// Stat implements Lower.
func (h *HostDir) Stat(path string) (LowerStat, abi.Errno) {
	fd, st, errno := h.find(path)
	if errno == 0 {
		unix.Close(fd)
	}
	return st, errno
}

// Readlink implements Lower.
func (h *HostDir) Readlink(path string) (string, abi.Errno) {
	fd, st, errno := h.find(path)
	if errno != 0 {
		return "", errno
	}
	defer unix.Close(fd)
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		return "", abi.EINVAL
	}
	var buf [PathMax]byte
	n, err := unix.Readlinkat(fd, "", buf[:])
	if err != nil {
		return "", hostErrno(err)
	}
	return string(buf[:n]), 0
}

// maxDirEntries bounds the listing of one host directory.
const maxDirEntries = 1 << 20

// ReadDir implements Lower.
func (h *HostDir) ReadDir(path string) ([]LowerEntry, abi.Errno) {
	if h.hidden(path) {
		return nil, abi.ENOENT
	}
	dir, err := h.openat2(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, hostErrno(err)
	}
	defer unix.Close(dir)
	if _, errno := h.stat(dir); errno != 0 {
		return nil, errno
	}
	var out []LowerEntry
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(dir, buf)
		if err != nil {
			return nil, hostErrno(err)
		}
		if n == 0 {
			return out, 0
		}
		if out = h.entries(out, path, dir, buf[:n]); len(out) > maxDirEntries {
			return nil, abi.EOVERFLOW
		}
	}
}

// entries adds what is shown of a getdents64(2) buffer of the host.
func (h *HostDir) entries(out []LowerEntry, path string, dir int, buf []byte) []LowerEntry {
	for len(buf) > 19 {
		ino := le64(buf)
		reclen := int(buf[16]) | int(buf[17])<<8
		typ := uint32(buf[18]) << 12
		name, _, _ := strings.Cut(string(buf[19:reclen]), "\x00")
		buf = buf[reclen:]
		if name == "." || name == ".." || path == "" && h.hide[name] {
			continue
		}
		if typ == 0 { // DT_UNKNOWN
			st, errno := h.Stat(join(path, name))
			if errno != 0 {
				continue
			}
			typ = st.Mode & unix.S_IFMT
		}
		switch typ {
		case unix.S_IFREG, unix.S_IFDIR, unix.S_IFLNK:
			out = append(out, LowerEntry{Name: name, Ino: ino, Type: typ})
		}
	}
	return out
}

func le64(b []byte) (v uint64) {
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

// Open implements Lower.
func (h *HostDir) Open(path string, want LowerStat) (LowerFile, abi.Errno) {
	if h.hidden(path) {
		return nil, abi.ENOENT
	}
	// O_NONBLOCK: should the name have become a pipe, the open does not wait.
	fd, err := h.openat2(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, hostErrno(err)
	}
	st, errno := h.stat(fd)
	if errno == 0 && (st.Dev != want.Dev || st.Ino != want.Ino || st.Mode&unix.S_IFMT != unix.S_IFREG) {
		errno = abi.EIO
	}
	if errno != 0 {
		unix.Close(fd)
		return nil, errno
	}
	return hostFile{os.NewFile(uintptr(fd), path), st.Size}, 0
}

type hostFile struct {
	*os.File
	size int64
}

func (f hostFile) Size() int64 { return f.size }

// hostErrno turns a failure of the host into what the guest may see of it.
func hostErrno(err error) abi.Errno {
	var e unix.Errno
	if !errors.As(err, &e) {
		return abi.EIO
	}
	switch e {
	case unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.ENAMETOOLONG, unix.EINVAL:
		return abi.Errno(e)
	case unix.EPERM:
		return abi.EACCES
	case unix.ELOOP, unix.EXDEV: // a component became a symbolic link meanwhile
		return abi.ENOENT
	case unix.EMFILE, unix.ENFILE:
		return abi.ENFILE
	}
	return abi.EIO
}
