// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"encoding/binary"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// how places a struct open_how.
func (g *guest) how(vs ...uint64) uint64 { return g.put(appendU64(nil, vs...)) }

func TestOpenCalls(t *testing.T) {
	fileScript(t, func(g *guest) {
		g.must(0, unix.SYS_OPEN, g.str("f"), unix.O_RDWR|unix.O_CREAT, 0o666)
		g.must(1, unix.SYS_OPENAT, cwdFD, g.str("f"), unix.O_RDONLY|unix.O_CLOEXEC|1<<40)
		if on, _ := g.k.Init.FDs.Cloexec(1); !on {
			g.t.Error("O_CLOEXEC was lost")
		}
		g.must(5, unix.SYS_WRITE, 0, g.str("12345"), 5)
		g.must(0, unix.SYS_FTRUNCATE, 0, 3)
		g.fails(abi.EINVAL, unix.SYS_FTRUNCATE, 1, 3)
		g.fails(abi.EINVAL, unix.SYS_FTRUNCATE, 0, 1<<63)
		g.must(0, unix.SYS_FALLOCATE, 0, 0, 0, 8)
		g.fails(abi.EOPNOTSUPP, unix.SYS_FALLOCATE, 0, 0x8, 0, 8)
		g.fails(abi.EBADF, unix.SYS_FALLOCATE, 1, 0, 0, 8)
		buf := g.alloc(16)
		g.must(8, unix.SYS_READ, 1, buf, 16)
		if s := string(g.get(buf, 8)); s != "123\x00\x00\x00\x00\x00" {
			g.t.Errorf("contents: %q", s)
		}
		g.must(0, unix.SYS_TRUNCATE, g.str("f"), 1)
		g.fails(abi.EINVAL, unix.SYS_TRUNCATE, g.str("f"), 1<<63)
		g.fails(abi.EISDIR, unix.SYS_TRUNCATE, g.str("/tmp"), 1)
		for _, nr := range []uint64{unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNCFS} {
			g.must(0, nr, 0)
			g.fails(abi.EBADF, nr, 60)
		}
		g.must(2, unix.SYS_MEMFD_CREATE, g.str("m"), unix.MFD_CLOEXEC)
		g.fails(abi.EINVAL, unix.SYS_MEMFD_CREATE, g.str("m"), 4)
		g.fails(abi.EINVAL, unix.SYS_MEMFD_CREATE, g.put(make4096()), 0)
		for n := 3; n < 64; n++ {
			g.must(int64(n), unix.SYS_OPEN, g.str("f"), unix.O_RDONLY)
		}
		g.fails(abi.EMFILE, unix.SYS_OPEN, g.str("f"), unix.O_RDONLY)
	})
}

func TestOpenat2(t *testing.T) {
	fileScript(t, func(g *guest) {
		g.touch("f") // descriptor 0
		dir := g.call(unix.SYS_OPEN, g.str("/tmp"), unix.O_PATH)
		for _, c := range []struct {
			path string
			how  []uint64
			size uint64
			want abi.Errno
		}{
			{"f", []uint64{unix.O_RDONLY, 0, 0}, 24, 0},
			{"f", []uint64{unix.O_RDONLY, 0, 0, 0}, 32, 0},
			{"f", []uint64{unix.O_RDONLY, 0, 0, 1}, 32, abi.E2BIG},
			{"f", []uint64{unix.O_RDONLY, 0, 0}, 16, abi.EINVAL},
			{"f", []uint64{unix.O_RDONLY, 0, 0}, 1 << 40, abi.E2BIG},
			{"f", []uint64{1 << 40, 0, 0}, 24, abi.EINVAL},
			{"f", []uint64{unix.O_RDONLY, 0o644, 0}, 24, abi.EINVAL},
			{"f", []uint64{unix.O_RDONLY, 0, 1 << 40}, 24, abi.EINVAL},
			{"f", []uint64{unix.O_RDONLY, 0, unix.RESOLVE_BENEATH | unix.RESOLVE_IN_ROOT}, 24, abi.EINVAL},
			{"f", []uint64{unix.O_PATH | unix.O_CREAT, 0, 0}, 24, abi.EINVAL},
			{"../tmp/f", []uint64{unix.O_RDONLY, 0, unix.RESOLVE_BENEATH}, 24, abi.EXDEV},
			{"/tmp/f", []uint64{unix.O_RDONLY, 0, unix.RESOLVE_BENEATH}, 24, abi.EXDEV},
			{"/f", []uint64{unix.O_RDONLY, 0, unix.RESOLVE_IN_ROOT}, 24, 0},
		} {
			got := g.call(unix.SYS_OPENAT2, uint64(dir), g.str(c.path), g.how(c.how...), c.size)
			if c.want == 0 && got < 0 || c.want != 0 && got != -int64(c.want) {
				g.t.Errorf("openat2 %s %#x: %s, want %s", c.path, c.how, result(got), c.want)
			}
		}
		g.fails(abi.EFAULT, unix.SYS_OPENAT2, uint64(dir), g.str("f"), scriptBadAddr, 24)
	})
}

func FuzzOpenHow(f *testing.F) {
	f.Add(make([]byte, 24))
	f.Add(appendU64(nil, unix.O_CREAT, 0o644, unix.RESOLVE_BENEATH, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < sizeOpenHow {
			return
		}
		flags, mode, _, errno := decodeOpenHow(b)
		if errno == 0 && (uint64(flags) != binary.LittleEndian.Uint64(b) || mode > 0o7777) {
			t.Errorf("flags %#x, mode %o", flags, mode)
		}
	})
}
