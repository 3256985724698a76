// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

// dents reads a directory with buffers of the given size.
func (g *guest) dents(nr, dir uint64, size int) []string {
	g.t.Helper()
	buf := g.alloc(size)
	var out []string
	for {
		n := g.call(nr, dir, buf, uint64(size))
		if n < 0 {
			g.t.Errorf("getdents: %s", result(n))
		}
		if n <= 0 {
			return out
		}
		for b := g.get(buf, int(n)); len(b) > 0; {
			size := binary.LittleEndian.Uint16(b[16:])
			if size%8 != 0 || int(size) > len(b) {
				g.t.Fatalf("record of %d bytes", size)
			}
			name, typ := b[19:size], b[18]
			if nr == unix.SYS_GETDENTS {
				name, typ = b[18:size-1], b[size-1]
			}
			name, _, _ = bytes.Cut(name, []byte{0})
			out = append(out, string(rune('0'+typ))+string(name))
			b = b[size:]
		}
	}
}

func TestGetdents(t *testing.T) {
	fileScript(t, func(g *guest) {
		long := strings.Repeat("n", 255)
		g.touch("f")
		g.touch(long)
		g.call(unix.SYS_MKDIR, g.str("d"), 0o777)
		g.call(unix.SYS_SYMLINK, g.str("f"), g.str("l"))
		want := []string{"4.", "4..", "4d", "8f", ":l", "8" + long}
		dir := uint64(g.call(unix.SYS_OPEN, g.str("."), unix.O_RDONLY|unix.O_DIRECTORY))
		for _, nr := range []uint64{unix.SYS_GETDENTS, unix.SYS_GETDENTS64} {
			for _, size := range []int{288, 4096} {
				if got := g.dents(nr, dir, size); !slices.Equal(got, want) {
					g.t.Errorf("call %d with %d bytes: %q", nr, size, got)
				}
				g.must(0, unix.SYS_LSEEK, dir, 0, unix.SEEK_SET)
			}
		}
		g.fails(abi.EINVAL, unix.SYS_GETDENTS64, dir, g.alloc(16), 16)
		g.fails(abi.EFAULT, unix.SYS_GETDENTS64, dir, scriptBadAddr, 4096)
		if got := g.dents(unix.SYS_GETDENTS64, dir, 4096); !slices.Equal(got, want) {
			g.t.Errorf("after EFAULT: %q", got)
		}
		g.fails(abi.ENOTDIR, unix.SYS_GETDENTS64, 0, g.alloc(64), 64)
		g.fails(abi.EBADF, unix.SYS_GETDENTS64, 60, g.alloc(64), 64)
		g.fails(abi.EISDIR, unix.SYS_READ, dir, g.alloc(16), 16)
	})
}
