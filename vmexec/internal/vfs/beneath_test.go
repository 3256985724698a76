// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"testing"

	"golang.org/x/sys/unix"
)

// No path leaves the base under RESOLVE_BENEATH and RESOLVE_IN_ROOT, whatever ".."
// and links it goes through.
func FuzzResolveBeneath(f *testing.F) {
	for _, s := range []string{"../x", "a/../..", "/etc/passwd", "up/x", "in/up/up", "abs", "magic/etc", "a/../up/../../proc/self/root", "../../base/../tmp"} {
		f.Add(s, "in/../..")
	}
	f.Fuzz(func(t *testing.T, path, target string) {
		fs := newFS(t, nil)
		for _, d := range []string{"/base", "/base/in", "/base/in/deep"} {
			want(t, d, fs.Mkdir(fs.Root(), d, 0o755), 0)
		}
		for name, to := range map[string]string{"up": "..", "in/up": "../..", "abs": "/", "magic": "/proc/self/root", "far": "../../../tmp"} {
			want(t, name, fs.Symlink(to, fs.Root(), "/base/"+name), 0)
		}
		_ = fs.Symlink(target, fs.Root(), "/base/given") // it may be no target
		base, errno := fs.Resolve(fs.Root(), "/base", Directory)
		want(t, "base", errno, 0)
		for _, fl := range []Flag{Beneath, InRoot} {
			if p, errno := fs.Resolve(base, path, fl); errno == 0 && !fs.contains(base.d, p.d) {
				t.Errorf("flags %#x: %q led to %s", fl, path, p)
			}
			if f, errno := fs.Open(base, path, unix.O_RDWR|unix.O_CREAT, 0o600, fl); errno == 0 {
				if p := f.(Located).Path(); !fs.contains(base.d, p.d) {
					t.Errorf("flags %#x: %q made %s", fl, path, p)
				}
				f.Release()
			}
		}
	})
}
