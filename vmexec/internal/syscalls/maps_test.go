// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A mapping shows the path that its file has now, not the one of then; so many
// mappings of a file with a long path hold no copies of it.
func TestMapsShowPathOfNow(t *testing.T) {
	fileScript(t, func(g *guest) {
		maps := func() string {
			return string(g.k.ProcInfo().Process(g.k.Init.PID).Maps())
		}
		g.touch("old")
		file := uint64(g.call(unix.SYS_OPEN, g.str("old"), unix.O_RDWR))
		at := uint64(g.call(unix.SYS_MMAP, 0, 2*pageSize, unix.PROT_READ, unix.MAP_PRIVATE, file, 0))
		if s := maps(); strings.Count(s, " /tmp/old\n") != 1 {
			g.t.Errorf("after mmap:\n%s", s)
		}
		g.must(0, unix.SYS_MPROTECT, at, pageSize, unix.PROT_READ|unix.PROT_WRITE)
		g.must(0, unix.SYS_RENAME, g.str("old"), g.str("new"))
		if s := maps(); strings.Count(s, " /tmp/new\n") != 2 || strings.Contains(s, "old") {
			g.t.Errorf("after mprotect of a half and rename:\n%s", s)
		}
		g.must(0, unix.SYS_UNLINK, g.str("new"))
		if s := maps(); strings.Count(s, " /tmp/new (deleted)\n") != 2 {
			g.t.Errorf("after unlink:\n%s", s)
		}
	})
}
