// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
	"kontain.dev/eventing/vmexec/internal/vfs"
)

// cwdFD is AT_FDCWD as a program passes it.
const cwdFD = uint64(math.MaxUint64 - 99)

// fileScript runs a script that has a file tree, with /tmp as its directory.
func fileScript(t *testing.T, body func(g *guest)) {
	t.Helper()
	var calls []Entry
	for _, f := range []func() []Entry{openCalls, statCalls, dirCalls, pathCalls, readwriteCalls, memoryCalls} {
		calls = append(calls, f()...)
	}
	out := runScript(t, calls, func(g *guest) {
		fs, err := vfs.New(vfs.Config{Now: func() int64 { return 1_000_000_000_000 }})
		if err != nil {
			g.t.Error(err)
			return
		}
		g.t.Cleanup(fs.Close)
		g.k.FS = fs
		g.k.Init.Cwd, _ = fs.Resolve(fs.Root(), "/tmp", 0)
		g.k.Init.Umask = 0o022
		body(g)
	})
	if out.Ending != task.Exited {
		t.Errorf("ending %v", out.Ending)
	}
}

// str places a string with its NUL.
func (g *guest) str(s string) uint64 { return g.put(append([]byte(s), 0)) }

// touch makes a file.
func (g *guest) touch(path string) {
	g.t.Helper()
	if n := g.call(unix.SYS_CREAT, g.str(path), 0o666); n < 0 {
		g.t.Errorf("creat %s: %s", path, result(n))
	}
}

func TestPathCalls(t *testing.T) {
	fileScript(t, func(g *guest) {
		g.must(0, unix.SYS_MKDIR, g.str("d"), 0o777)
		g.fails(abi.EEXIST, unix.SYS_MKDIRAT, cwdFD, g.str("d"), 0o777)
		g.touch("d/f")
		g.must(0, unix.SYS_LINK, g.str("d/f"), g.str("g"))
		g.fails(abi.EINVAL, unix.SYS_LINKAT, cwdFD, g.str("g"), cwdFD, g.str("h"), 1)
		g.must(0, unix.SYS_SYMLINK, g.str("d/f"), g.str("l"))
		g.fails(abi.ENOENT, unix.SYS_SYMLINK, g.str(""), g.str("x"))
		buf := g.alloc(16)
		g.must(3, unix.SYS_READLINK, g.str("l"), buf, 16)
		if s := g.get(buf, 3); string(s) != "d/f" {
			g.t.Errorf("readlink: %q", s)
		}
		g.must(2, unix.SYS_READLINKAT, cwdFD, g.str("l"), buf, 2)
		g.fails(abi.EINVAL, unix.SYS_READLINK, g.str("l"), buf, 0)
		g.fails(abi.EINVAL, unix.SYS_READLINK, g.str("g"), buf, 16)
		g.fails(abi.EFAULT, unix.SYS_READLINK, g.str("l"), scriptBadAddr, 16)
		g.fails(abi.EFAULT, unix.SYS_MKDIR, scriptBadAddr, 0o777)
		g.fails(abi.ENAMETOOLONG, unix.SYS_MKDIR, g.put(make4096()), 0o777)
		g.must(0, unix.SYS_RENAME, g.str("g"), g.str("h"))
		g.fails(abi.EEXIST, unix.SYS_RENAMEAT2, cwdFD, g.str("h"), cwdFD, g.str("l"), unix.RENAME_NOREPLACE)
		g.fails(abi.EINVAL, unix.SYS_RENAMEAT2, cwdFD, g.str("h"), cwdFD, g.str("l"), 8)
		g.fails(abi.ENOTEMPTY, unix.SYS_RMDIR, g.str("d"))
		g.fails(abi.EISDIR, unix.SYS_UNLINK, g.str("d"))
		g.fails(abi.EINVAL, unix.SYS_UNLINKAT, cwdFD, g.str("h"), 1)
		g.must(0, unix.SYS_UNLINKAT, cwdFD, g.str("h"), 0)
		g.fails(abi.EPERM, unix.SYS_MKNOD, g.str("dev"), unix.S_IFCHR|0o666, 5)
		g.must(0, unix.SYS_MKNODAT, cwdFD, g.str("reg"), 0o666, 0)
		g.fails(abi.EPERM, unix.SYS_CHROOT, g.str("/tmp"))
		g.must(0o022, unix.SYS_UMASK, 0o077)
		g.must(0o077, unix.SYS_UMASK, 0o022)
	})
}

// make4096 is a path without an end within PATH_MAX.
func make4096() []byte {
	b := make([]byte, vfs.PathMax+1)
	for i := range b {
		b[i] = '/'
	}
	return b
}

func TestWorkingDirectory(t *testing.T) {
	fileScript(t, func(g *guest) {
		buf := g.alloc(64)
		g.must(5, unix.SYS_GETCWD, buf, 64)
		if s := g.get(buf, 5); string(s) != "/tmp\x00" {
			g.t.Errorf("getcwd: %q", s)
		}
		g.fails(abi.ERANGE, unix.SYS_GETCWD, buf, 4)
		g.must(0, unix.SYS_MKDIR, g.str("sub"), 0o777)
		g.must(0, unix.SYS_CHDIR, g.str("sub"))
		g.must(0, unix.SYS_RMDIR, g.str("/tmp/sub"))
		g.fails(abi.ENOENT, unix.SYS_GETCWD, buf, 64)
		g.fails(abi.ENOENT, unix.SYS_MKDIR, g.str("x"), 0o777)
		n := g.call(unix.SYS_OPEN, g.str("/dev"), unix.O_PATH)
		g.must(0, unix.SYS_FCHDIR, uint64(n))
		g.must(5, unix.SYS_GETCWD, buf, 64)
		g.fails(abi.ENOTDIR, unix.SYS_CHDIR, g.str("null"))
		g.fails(abi.EBADF, unix.SYS_FCHDIR, 60)
		f := g.call(unix.SYS_OPEN, g.str("null"), unix.O_RDONLY)
		g.fails(abi.ENOTDIR, unix.SYS_FCHDIR, uint64(f))
		g.fails(abi.ENOTDIR, unix.SYS_MKDIRAT, uint64(f), g.str("x"), 0o777)
		g.fails(abi.EBADF, unix.SYS_MKDIRAT, 60, g.str("x"), 0o777)
		g.must(0, unix.SYS_MKDIRAT, 60, g.str("/tmp/abs"), 0o777)
	})
}
