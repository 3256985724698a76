// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// newFS makes an FS and checks at the end that its budget comes back.
func newFS(t testing.TB, lower Lower) *FS {
	t.Helper()
	b := &fixedBudget{total: 1024, free: 1024}
	fs, err := New(Config{Lower: lower, Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if fs.Close(); b.free != b.total {
			t.Errorf("budget after Close: %d of %d pages", b.free, b.total)
		}
	})
	return fs
}

// put writes a file.
func put(t testing.TB, fs *FS, path, data string) {
	t.Helper()
	f, errno := fs.Open(fs.Root(), path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC, 0o644, 0)
	if errno != 0 {
		t.Fatalf("create %s: %s", path, errno)
	}
	defer f.Release()
	if n, errno := f.Write(fd.Buffers{[]byte(data)}, fd.CurrentOffset); errno != 0 || n != len(data) {
		t.Fatalf("write %s: %d, %s", path, n, errno)
	}
}

// get reads a file.
func get(t testing.TB, fs *FS, path string) string {
	t.Helper()
	f, errno := fs.Open(fs.Root(), path, unix.O_RDONLY, 0, 0)
	if errno != 0 {
		return "!" + errno.String()
	}
	defer f.Release()
	var out []byte
	buf := make([]byte, 3000)
	for {
		n, errno := f.Read(fd.Buffers{buf[:7], buf[7:]}, fd.CurrentOffset)
		if errno != 0 {
			return "!" + errno.String()
		}
		if n == 0 {
			return string(out)
		}
		out = append(out, buf[:n]...)
	}
}

// names lists a directory.
func names(t testing.TB, fs *FS, path string) []string {
	t.Helper()
	f, errno := fs.Open(fs.Root(), path, unix.O_RDONLY|unix.O_DIRECTORY, 0, 0)
	if errno != 0 {
		return []string{"!" + errno.String()}
	}
	defer f.Release()
	out := []string{}
	if errno := f.(Dir).ReadDir(func(e Dirent) bool {
		if e.Name != "." && e.Name != ".." {
			out = append(out, e.Name)
		}
		return true
	}); errno != 0 {
		return []string{"!" + errno.String()}
	}
	slices.Sort(out)
	return out
}

func want(t *testing.T, what string, got, want abi.Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestEmptyRoot(t *testing.T) {
	fs := newFS(t, nil)
	for path, wantNames := range map[string][]string{
		"/":        {"dev", "etc", "proc", "sys", "tmp"},
		"/dev":     {"fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"},
		"/etc":     {"group", "hosts", "nsswitch.conf", "passwd", "resolv.conf"},
		"/tmp":     {},
		"/sys":     {"devices", "fs", "kernel"},
		"/dev/shm": {},
	} {
		if got := names(t, fs, path); !slices.Equal(got, wantNames) {
			t.Errorf("%s: %q, want %q", path, got, wantNames)
		}
	}
	put(t, fs, "/tmp/a", "hello")
	if got := get(t, fs, "/tmp/../tmp//a"); got != "hello" {
		t.Errorf("/tmp/a: %q", got)
	}
	if got := get(t, fs, "/sys/devices/system/cpu/online"); got != "0\n" {
		t.Errorf("cpu/online: %q", got)
	}
	want(t, "unlink", fs.Unlink(fs.Root(), "/tmp/a"), 0)
	want(t, "rmdir /dev/shm", fs.Rmdir(fs.Root(), "/dev/shm"), abi.EBUSY)
}
