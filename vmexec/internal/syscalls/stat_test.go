// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// stat makes a call and decodes the struct stat at buf.
func decodeStat(t *testing.T, b []byte) (st abi.Stat) {
	t.Helper()
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, &st); err != nil {
		t.Fatal(err)
	}
	return st
}

func TestStatLayout(t *testing.T) {
	want := abi.Stat{
		Dev: 1, Ino: 2, Nlink: 3, Mode: 4, Uid: 5, Gid: 6, Rdev: 7, Size: 8, Blksize: 9, Blocks: 10,
		Atim: unix.Timespec{Sec: 11, Nsec: 12}, Mtim: unix.Timespec{Sec: 13, Nsec: 14}, Ctim: unix.Timespec{Sec: 15, Nsec: 16},
	}
	b := abi.EncodeStat(&want)[:]
	if got := decodeStat(t, b); len(b) != 144 || got != want {
		t.Errorf("%d bytes: %+v, want %+v", len(b), got, want)
	}
	b = encodeStatx(&vfs.Attr{Stat: want, Btime: 17e9 + 18, MntID: 19, Mount: true})
	var x unix.Statx_t
	if err := binary.Read(bytes.NewReader(b), binary.LittleEndian, &x); err != nil {
		t.Fatal(err)
	}
	if len(b) != 256 || x.Ino != 2 || x.Nlink != 3 || x.Mode != 4 || x.Uid != 5 || x.Gid != 6 || x.Rdev_minor != 7 || x.Size != 8 || x.Blksize != 9 ||
		x.Blocks != 10 || x.Atime.Sec != 11 || x.Mtime.Nsec != 14 || x.Ctime.Sec != 15 || x.Btime.Nsec != 18 || x.Mnt_id != 19 || x.Dev_minor != 1 ||
		x.Attributes != unix.STATX_ATTR_MOUNT_ROOT || x.Mask != unix.STATX_BASIC_STATS|unix.STATX_BTIME|unix.STATX_MNT_ID {
		t.Errorf("%d bytes: %+v", len(b), x)
	}
}

func TestStatCalls(t *testing.T) {
	fileScript(t, func(g *guest) {
		g.touch("f") // descriptor 0
		g.call(unix.SYS_SYMLINK, g.str("f"), g.str("l"))
		buf := g.alloc(256)
		mode := func(nr uint64, args ...uint64) uint32 {
			g.t.Helper()
			g.must(0, nr, args...)
			return decodeStat(g.t, g.get(buf, 144)).Mode
		}
		const reg, link = unix.S_IFREG | 0o644, unix.S_IFLNK | 0o777
		for what, got := range map[string][2]uint32{
			"stat":       {mode(unix.SYS_STAT, g.str("l"), buf), reg},
			"lstat":      {mode(unix.SYS_LSTAT, g.str("l"), buf), link},
			"fstat":      {mode(unix.SYS_FSTAT, 0, buf), reg},
			"newfstatat": {mode(unix.SYS_NEWFSTATAT, cwdFD, g.str("l"), buf, unix.AT_SYMLINK_NOFOLLOW), link},
			"empty path": {mode(unix.SYS_NEWFSTATAT, 0, g.str(""), buf, unix.AT_EMPTY_PATH), reg},
		} {
			if got[0] != got[1] {
				g.t.Errorf("%s: mode %o, want %o", what, got[0], got[1])
			}
		}
		g.fails(abi.EINVAL, unix.SYS_NEWFSTATAT, cwdFD, g.str("l"), buf, 1)
		g.fails(abi.ENOENT, unix.SYS_NEWFSTATAT, 0, g.str(""), buf, 0)
		g.fails(abi.EFAULT, unix.SYS_STAT, g.str("f"), scriptBadAddr)
		g.must(0, unix.SYS_STATX, 0, g.str(""), unix.AT_EMPTY_PATH, unix.STATX_ALL, buf)
		g.fails(abi.EINVAL, unix.SYS_STATX, 0, g.str(""), 1, unix.STATX_ALL, buf)
		g.fails(abi.EINVAL, unix.SYS_STATX, 0, g.str(""), unix.AT_EMPTY_PATH, 1<<31, buf)

		g.must(0, unix.SYS_ACCESS, g.str("f"), unix.R_OK|unix.W_OK)
		g.fails(abi.EACCES, unix.SYS_FACCESSAT, cwdFD, g.str("f"), unix.X_OK)
		g.fails(abi.EINVAL, unix.SYS_FACCESSAT2, cwdFD, g.str("f"), 0, 1)
		g.fails(abi.EROFS, unix.SYS_ACCESS, g.str("/sys"), unix.W_OK)
		g.must(0, unix.SYS_CHMOD, g.str("l"), 0o700)
		g.must(0, unix.SYS_ACCESS, g.str("f"), unix.X_OK)
		g.must(0, unix.SYS_FCHMOD, 0, 0o600)
		g.fails(abi.EOPNOTSUPP, unix.SYS_FCHMODAT2, cwdFD, g.str("l"), 0o600, unix.AT_SYMLINK_NOFOLLOW)
		g.must(0, unix.SYS_FCHOWN, 0, 7, 1<<32-1)
		g.must(0, unix.SYS_LCHOWN, g.str("l"), 8, 9)
		g.must(0, unix.SYS_FSTAT, 0, buf)
		if st := decodeStat(g.t, g.get(buf, 144)); st.Uid != 7 || st.Gid != 0 || st.Mode != unix.S_IFREG|0o600 {
			g.t.Errorf("attributes: %+v", st)
		}
		n := uint64(g.call(unix.SYS_OPEN, g.str("f"), unix.O_PATH))
		g.fails(abi.EBADF, unix.SYS_FCHMOD, n, 0o600)
		g.must(0, unix.SYS_FSTAT, n, buf)

		g.must(0, unix.SYS_STATFS, g.str("/"), buf)
		if magic := binary.LittleEndian.Uint64(g.get(buf, 8)); magic != unix.OVERLAYFS_SUPER_MAGIC {
			g.t.Errorf("statfs: type %#x", magic)
		}
		g.must(0, unix.SYS_FSTATFS, 0, buf)
		g.fails(abi.EOPNOTSUPP, unix.SYS_GETXATTR, g.str("f"), g.str("user.x"), buf, 10)
		g.fails(abi.ENOENT, unix.SYS_LGETXATTR, g.str("none"), g.str("user.x"), buf, 10)
		g.fails(abi.EBADF, unix.SYS_FSETXATTR, 60, g.str("user.x"), buf, 10, 0)
		g.must(0, unix.SYS_LISTXATTR, g.str("f"), buf, 10)
	})
}

func TestFileTimes(t *testing.T) {
	fileScript(t, func(g *guest) {
		g.touch("f") // descriptor 0
		buf := g.alloc(144)
		check := func(atime, mtime int64) {
			g.t.Helper()
			g.must(0, unix.SYS_FSTAT, 0, buf)
			if st := decodeStat(g.t, g.get(buf, 144)); st.Atim.Nano() != atime || st.Mtim.Nano() != mtime {
				g.t.Errorf("times %d and %d, want %d and %d", st.Atim.Nano(), st.Mtim.Nano(), atime, mtime)
			}
		}
		const now = 1_000_000_000_000
		check(now, now)
		g.must(0, unix.SYS_UTIMENSAT, cwdFD, g.str("f"), g.how(5, 6, 0, unix.UTIME_OMIT), 0)
		check(5e9+6, now)
		g.must(0, unix.SYS_UTIMENSAT, 0, 0, g.how(0, unix.UTIME_NOW, 7, 8), 0)
		check(now, 7e9+8)
		g.fails(abi.EINVAL, unix.SYS_UTIMENSAT, cwdFD, g.str("f"), g.how(5, 1e9, 0, 0), 0)
		g.fails(abi.EINVAL, unix.SYS_UTIMENSAT, cwdFD, g.str("f"), 0, 1)
		g.must(0, unix.SYS_UTIMES, g.str("f"), g.how(1, 2, 3, 4))
		check(1e9+2e3, 3e9+4e3)
		g.must(0, unix.SYS_UTIME, g.str("f"), g.how(9, 10))
		check(9e9, 10e9)
		g.must(0, unix.SYS_FUTIMESAT, cwdFD, g.str("f"), 0)
		check(now, now)
		g.fails(abi.EFAULT, unix.SYS_UTIMES, g.str("f"), scriptBadAddr)
	})
}

func FuzzUtime(f *testing.F) {
	f.Add(appendU64(nil, 5, unix.UTIME_NOW))
	f.Add(appendU64(nil, math.MaxInt64, 999_999_999))
	f.Add(appendU64(nil, 1<<63, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 16 {
			return
		}
		sec := int64(binary.LittleEndian.Uint64(b))
		ns, errno := decodeUtime(b)
		if errno == 0 && ns > vfs.TimeOmit && (ns < 0) != (sec < 0) {
			t.Errorf("%d s became %d ns", sec, ns)
		}
	})
}
