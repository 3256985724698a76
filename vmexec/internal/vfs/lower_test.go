// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

const secret = "of the host"

// hostTree makes a folder with ways out of it, beside a file that must stay
// unseen, and shows it.
func hostTree(t testing.TB) (*HostDir, string) {
	t.Helper()
	top := t.TempDir()
	dir := filepath.Join(top, "root")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(top, "secret"), []byte(secret), 0o600))
	must(os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "usr/bin/sh"), []byte("#!"), 0o755))
	must(os.WriteFile(filepath.Join(dir, "data"), []byte(strings.Repeat("0123456789", 1000)), 0o644))
	must(os.Symlink("usr/bin", filepath.Join(dir, "bin")))
	must(os.Symlink("../secret", filepath.Join(dir, "up")))
	must(os.Symlink("../../../../../../../../..", filepath.Join(dir, "usr/far")))
	must(os.Symlink(filepath.Join(top, "secret"), filepath.Join(dir, "abs")))
	must(os.Symlink("/proc/self/root", filepath.Join(dir, "magic")))
	must(os.Symlink("loop", filepath.Join(dir, "loop")))
	must(unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	h, err := NewHostDir(dir)
	must(err)
	t.Cleanup(func() { h.Close() })
	return h, top
}

func TestHostDir(t *testing.T) {
	h, top := hostTree(t)
	fs := newFS(t, h)
	wantNames := []string{"abs", "bin", "data", "dev", "etc", "loop", "magic", "proc", "run", "sys", "tmp", "up", "usr"}
	if got := names(t, fs, "/"); !slices.Equal(got, wantNames) {
		t.Errorf("/: %q, want %q", got, wantNames)
	}
	for path, want := range map[string]string{
		"/bin/sh":                    "#!",
		"/usr/far/bin/sh":            "#!",
		"/../../usr/bin/../bin/sh":   "#!",
		"/up":                        "!ENOENT",
		"/abs":                       "!ENOENT",
		"/usr/far/secret":            "!ENOENT",
		"/magic/secret":              "!ENOENT",
		"/loop":                      "!ELOOP",
		"/pipe":                      "!ENOENT",
		"/data/":                     "!ENOTDIR",
		"/data/x":                    "!ENOTDIR",
		filepath.Join(top, "secret"): "!ENOENT",
	} {
		if got := get(t, fs, path); got != want {
			t.Errorf("%s: %.40q, want %q", path, got, want)
		}
	}
}

func TestCopyUp(t *testing.T) {
	h, top := hostTree(t)
	fs, other := newFS(t, h), newFS(t, h)
	f, errno := fs.Open(fs.Root(), "/data", unix.O_RDWR, 0, 0)
	want(t, "open", errno, 0)
	if n, errno := f.Write(fd.Buffers{[]byte("XY")}, 5000); n != 2 || errno != 0 {
		t.Errorf("write: %d, %s", n, errno)
	}
	f.Release()
	lower := strings.Repeat("0123456789", 1000)
	if got := get(t, fs, "/data"); got != lower[:5000]+"XY"+lower[5002:] {
		t.Errorf("after the write: %.60q", got[4990:])
	}
	if fs.pages > 6 {
		t.Errorf("%d pages for one that changed", fs.pages)
	}
	p, _ := fs.Resolve(fs.Root(), "/bin", NoFollow)
	want(t, "rename", fs.Rename(fs.Root(), "/usr/bin", fs.Root(), "/tmp/b", 0), 0)
	want(t, "chown", fs.Chown(p, 5, 6), 0)
	want(t, "unlink", fs.Unlink(fs.Root(), "/data"), 0)
	want(t, "mkdir over a whiteout", fs.Mkdir(fs.Root(), "/data", 0o755), 0)
	want(t, "mkdir over a whiteout", fs.Mkdir(fs.Root(), "/usr/bin", 0o755), 0)
	if got := names(t, fs, "/usr/bin"); len(got) != 0 {
		t.Errorf("a new directory shows the old one's %q", got)
	}
	if got := get(t, fs, "/tmp/b/sh"); got != "#!" {
		t.Errorf("moved directory: %q", got)
	}
	if got := get(t, other, "/data"); got != lower {
		t.Errorf("another VM sees %.20q", got)
	}
	if got, err := os.ReadFile(filepath.Join(top, "root/data")); err != nil || string(got) != lower {
		t.Errorf("the host's file changed: %.20q, %v", got, err)
	}
}

// TestHostRoot shows this machine's own root, as many programs will be run.
func TestHostRoot(t *testing.T) {
	h, err := NewHostDir("/")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, path := range []string{"proc", "sys", "dev", "run", "proc/self", "dev/null"} {
		if _, errno := h.Stat(path); errno != abi.ENOENT {
			t.Errorf("host's /%s: %s, want ENOENT", path, errno)
		}
		if _, errno := h.ReadDir(path); errno != abi.ENOENT {
			t.Errorf("list of host's /%s: %s, want ENOENT", path, errno)
		}
	}
	fs := newFS(t, h)
	if got := get(t, fs, "/proc/sys/kernel/ostype"); got != "Linux\n" {
		t.Errorf("/proc is not our own: %q", got)
	}
	if _, err := NewHostDir("/proc"); err == nil {
		t.Error("the host's /proc can be shown")
	}
	if _, err := NewHostDir("/etc/passwd"); err == nil {
		t.Error("a file can be shown as a folder")
	}
}

func TestMemory(t *testing.T) {
	m := NewMemory(42)
	for _, err := range []error{
		m.AddBytes("/opt/app/run", 0o755, []byte("ELF")),
		m.AddDir("/srv", 0o700),
		m.AddSymlink("/srv/app", "/opt/app"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, err := range map[string]error{
		"twice":     m.AddBytes("opt/app/run", 0o755, nil),
		"root":      m.AddDir("/", 0o755),
		"dots":      m.AddDir("/opt/../x", 0o755),
		"long":      m.AddDir("/"+strings.Repeat("n", 256), 0o755),
		"below":     m.AddDir("/opt/app/run/x", 0o755),
		"size":      m.AddFile("/neg", 0o644, strings.NewReader(""), -1),
		"no target": m.AddSymlink("/l", ""),
	} {
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	var wg sync.WaitGroup
	for range 4 { // as several VMs do
		wg.Go(func() {
			fs, err := New(Config{Lower: m})
			if err != nil {
				t.Error(err)
				return
			}
			defer fs.Close()
			if got := get(t, fs, "/srv/app/run"); got != "ELF" {
				t.Errorf("/srv/app/run: %q", got)
			}
			want(t, "unlink", fs.Unlink(fs.Root(), "/opt/app/run"), 0)
		})
	}
	wg.Wait()
	fs := newFS(t, m)
	p, errno := fs.Resolve(fs.Root(), "/opt/app/run", 0)
	want(t, "resolve", errno, 0)
	a, _ := p.Attr()
	if a.Stat.Size != 3 || a.Stat.Mode != unix.S_IFREG|0o755 || a.Stat.Mtim.Nsec != 42 {
		t.Errorf("attributes: %+v", a.Stat)
	}
	want(t, "X_OK", fs.Access(p, unix.X_OK), 0)
	fs.Chmod(p, 0o644)
	want(t, "X_OK without x", fs.Access(p, unix.X_OK), abi.EACCES)
}

// FuzzResolve: no path leads out of the root, whatever links there are.
func FuzzResolve(f *testing.F) {
	for _, s := range [][2]string{{"/a/b", "x"}, {"../../secret", "../.."}, {"l/secret", "/usr/far/../../.."}, {"proc/self/root/../..", "/"}, {"magic/../secret", "//..//"}, {"loop/x", "l"}} {
		f.Add(s[0], s[1])
	}
	h, _ := hostTree(f)
	f.Fuzz(func(t *testing.T, path, target string) {
		fs := newFS(t, h)
		fs.Symlink(target, fs.Root(), "/l")
		base, _ := fs.Resolve(fs.Root(), "/usr/bin", 0)
		for _, fl := range []Flag{0, NoFollow, parentOnly, Beneath, InRoot, NoXDev, NoSymlinks, EmptyPath} {
			l, errno := fs.walk(base, path, fl)
			if errno != 0 || l.d == nil {
				continue
			}
			if !fs.contains(fs.root, l.d) {
				t.Fatalf("%q leads out of the tree to %q", path, Path{fs, l.d})
			}
			if fl&(Beneath|InRoot) != 0 && !fs.contains(base.d, l.d) {
				t.Fatalf("%q leads out of the base to %q", path, Path{fs, l.d})
			}
			if l.d.inode.isReg() && l.d.inode.gen == nil {
				if got := get(t, fs, Path{fs, l.d}.String()); strings.Contains(got, secret) {
					t.Fatalf("%q leads to the host's file", path)
				}
			}
		}
	})
}

func BenchmarkFSNew(b *testing.B) {
	h, _ := hostTree(b)
	for name, lower := range map[string]Lower{"empty": nil, "memory": NewMemory(0), "hostdir": h} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				fs, err := New(Config{Lower: lower})
				if err != nil {
					b.Fatal(err)
				}
				fs.Close()
			}
		})
	}
}

func BenchmarkFileRead(b *testing.B) {
	h, _ := hostTree(b)
	fs := newFS(b, h)
	buf := make([]byte, pageSize)
	f, errno := fs.Open(fs.Root(), "/data", unix.O_RDONLY, 0, 0)
	if errno != 0 {
		b.Fatal(errno)
	}
	defer f.Release()
	b.SetBytes(pageSize)
	for b.Loop() {
		f.Read(fd.Buffers{buf}, 0)
	}
}
