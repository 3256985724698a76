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
		"/":        {"dev", "etc", "proc", "run", "sys", "tmp"},
		"/dev":     {"fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero"},
		"/etc":     {"group", "hosts", "nsswitch.conf", "passwd", "resolv.conf"},
		"/tmp":     {},
		"/sys":     {"block", "bus", "class", "dev", "devices", "firmware", "fs", "kernel", "module"},
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

func TestBudget(t *testing.T) {
	b := &fixedBudget{total: 40, free: 40}
	fs, err := New(Config{Budget: b})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	f, errno := fs.Open(fs.Root(), "/tmp/f", unix.O_RDWR|unix.O_CREAT, 0o644, 0)
	want(t, "create", errno, 0)
	n, errno := f.Write(fd.Buffers{make([]byte, 100*pageSize)}, fd.CurrentOffset)
	if errno != 0 || n == 0 || n >= 40*pageSize {
		t.Errorf("write past the budget: %d, %s", n, errno)
	}
	_, errno = f.Write(fd.Buffers{{1}}, int64(n))
	want(t, "write with nothing left", errno, abi.ENOSPC)
	want(t, "truncate", f.(Truncater).Truncate(1<<50), 0)
	want(t, "fallocate of a petabyte", f.(Truncater).Fallocate(0, 0, 1<<50), abi.ENOSPC)
	want(t, "punch a petabyte", f.(Truncater).Fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1<<50), 0)
	if fs.pages > 10 {
		t.Errorf("%d pages after the hole was punched", fs.pages)
	}
	f.Release()
	var made int
	for ; made < 10000; made++ {
		if errno = fs.Mkdir(fs.Root(), "/tmp/"+string(rune('a'+made%26))+string(rune('a'+made/26%26))+string(rune('a'+made/676)), 0o755); errno != 0 {
			break
		}
	}
	if errno != abi.ENOSPC || made > 40*pageSize/metaCost {
		t.Errorf("%d directories, then %s", made, errno)
	}
}

func TestUnlinkedFile(t *testing.T) {
	fs := newFS(t, nil)
	before := fs.pages
	put(t, fs, "/tmp/f", "still here")
	f, errno := fs.Open(fs.Root(), "/tmp/f", unix.O_RDWR, 0, 0)
	want(t, "open", errno, 0)
	m := f.(Mapper)
	m.MapHold()
	want(t, "unlink", fs.Unlink(fs.Root(), "/tmp/f"), 0)
	if p := f.(Located).Path(); p.String() != "/tmp/f (deleted)" || !p.Deleted() {
		t.Errorf("path: %q", p)
	}
	want(t, "link of a removed file", fs.Link(f.(Located).Path(), fs.Root(), "/tmp/g"), abi.ENOENT)
	f.Release()
	buf := make([]byte, 20)
	if n, errno := m.MapRead(6, buf); string(buf[:n]) != "here" || errno != 0 {
		t.Errorf("mapped: %q, %s", buf[:n], errno)
	}
	want(t, "write of a mapping", m.MapWrite(8, []byte("XXXX")), 0)
	if m.MapSize() != 10 {
		t.Errorf("a mapping made the file grow to %d", m.MapSize())
	}
	m.MapDrop()
	if fs.pages != before {
		t.Errorf("%d pages in use, want %d", fs.pages, before)
	}
}

func TestTemporaryFile(t *testing.T) {
	fs := newFS(t, nil)
	for _, c := range []struct {
		name  string
		flags int
		link  abi.Errno
	}{
		{"exclusive", unix.O_TMPFILE | unix.O_RDWR | unix.O_EXCL, abi.ENOENT},
		{"linkable", unix.O_TMPFILE | unix.O_RDWR, 0},
	} {
		f, errno := fs.Open(fs.Root(), "/tmp", c.flags, 0o600, 0)
		want(t, "open", errno, 0)
		f.Write(fd.Buffers{[]byte(c.name)}, fd.CurrentOffset)
		if st, _ := f.Stat(); st.Nlink != 0 {
			t.Errorf("%s: %d links", c.name, st.Nlink)
		}
		want(t, c.name, fs.Link(f.(Located).Path(), fs.Root(), "/tmp/named"), c.link)
		f.Release()
	}
	if got := get(t, fs, "/tmp/named"); got != "linkable" {
		t.Errorf("/tmp/named: %q", got)
	}
	_, errno := fs.Open(fs.Root(), "/tmp", unix.O_TMPFILE, 0o600, 0)
	want(t, "read-only", errno, abi.EINVAL)
	m, errno := fs.Memfd("x", 0o777, 0)
	want(t, "memfd", errno, 0)
	if s := m.(Located).Path().String(); s != "/memfd:x (deleted)" {
		t.Errorf("memfd is %q", s)
	}
	m.Release()
}

// TestListWhileRemoving reads a directory in parts, as rm -r does.
func TestListWhileRemoving(t *testing.T) {
	fs := newFS(t, nil)
	for _, n := range []string{"a", "b", "c", "d"} {
		put(t, fs, "/tmp/"+n, n)
	}
	f, errno := fs.Open(fs.Root(), "/tmp", unix.O_RDONLY, 0, 0)
	want(t, "open", errno, 0)
	defer f.Release()
	var got []string
	next := func(n int) {
		for ; n > 0; n-- {
			once := false
			f.(Dir).ReadDir(func(e Dirent) bool {
				if once {
					return false
				}
				once = true
				got = append(got, e.Name)
				return true
			})
		}
	}
	next(3)
	fs.Unlink(fs.Root(), "/tmp/a")
	fs.Unlink(fs.Root(), "/tmp/c")
	put(t, fs, "/tmp/e", "")
	next(3)
	if want := []string{".", "..", "a", "b", "d"}; !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
	f.Lseek(0, unix.SEEK_SET)
	got = nil
	next(9)
	if want := []string{".", "..", "b", "d", "e"}; !slices.Equal(got, want) {
		t.Errorf("listed again %q, want %q", got, want)
	}
}

func TestResolveFlags(t *testing.T) {
	fs := newFS(t, nil)
	want(t, "mkdir", fs.Mkdir(fs.Root(), "/tmp/d", 0o755), 0)
	put(t, fs, "/tmp/d/f", "")
	fs.Symlink("/tmp/d/f", fs.Root(), "/tmp/d/abs")
	fs.Symlink("../d/f", fs.Root(), "/tmp/d/out")
	fs.Symlink("/f", fs.Root(), "/tmp/d/root")
	name := "/tmp/d/f"
	for i := range 41 { // l0 takes one link, l40 takes 41
		link := "/tmp/d/l" + string(rune('A'+i))
		fs.Symlink(name, fs.Root(), link)
		name = link
	}
	base, _ := fs.Resolve(fs.Root(), "/tmp/d", 0)
	for _, c := range []struct {
		path string
		fl   Flag
		want abi.Errno
	}{
		{"f", Beneath, 0},
		{"./f", Beneath, 0},
		{"..", Beneath, abi.EXDEV},
		{"../d/f", Beneath, abi.EXDEV},
		{"abs", Beneath, abi.EXDEV},
		{"out", Beneath, abi.EXDEV},
		{"/tmp", Beneath, abi.EXDEV},
		{"abs", InRoot, abi.ENOENT},
		{"root", InRoot, 0},
		{"/f", InRoot, 0},
		{"../../../f", InRoot, 0},
		{"abs", NoSymlinks, abi.ELOOP},
		{"abs", NoSymlinks | NoFollow, 0},
		{"abs", NoXDev, 0},
		{"/dev/null", NoXDev, abi.EXDEV},
		{"f", Directory, abi.ENOTDIR},
		{"", EmptyPath, 0},
		{"", 0, abi.ENOENT},
		{"lN", 0, 0},
		{"l" + string(rune('A'+39)), 0, 0},
		{"l" + string(rune('A'+40)), 0, abi.ELOOP},
	} {
		_, errno := fs.Resolve(base, c.path, c.fl)
		want(t, c.path, errno, c.want)
	}
}

func TestDevices(t *testing.T) {
	fs := newFS(t, nil)
	b := []byte("xxxx")
	for _, c := range []struct {
		name  string
		read  int
		write abi.Errno
	}{{"null", 0, 0}, {"zero", 4, 0}, {"full", 4, abi.ENOSPC}, {"urandom", 4, 0}} {
		f, errno := fs.Open(fs.Root(), "/dev/"+c.name, unix.O_RDWR|unix.O_TRUNC, 0, 0)
		want(t, c.name, errno, 0)
		if n, errno := f.Read(fd.Buffers{b}, 3); n != c.read || errno != 0 {
			t.Errorf("read %s: %d, %s", c.name, n, errno)
		}
		if _, errno := f.Write(fd.Buffers{b}, fd.CurrentOffset); errno != c.write {
			t.Errorf("write %s: %s", c.name, errno)
		}
		m, ok := f.(Mapper)
		if ok != (c.name == "zero") {
			t.Errorf("%s can be mapped: %t", c.name, ok)
		}
		if ok {
			n, errno := m.MapRead(1<<40, b)
			if n != 4 || errno != 0 || b[3] != 0 {
				t.Errorf("mapped zeros: %d, %s, %q", n, errno, b)
			}
		}
		f.Release()
	}
}

func TestAttributes(t *testing.T) {
	now := int64(1000)
	fs, err := New(Config{Now: func() int64 { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	put(t, fs, "/tmp/f", "x")
	p, _ := fs.Resolve(fs.Root(), "/tmp/f", 0)
	now = 5e9
	want(t, "chmod", fs.Chmod(p, 0o6755), 0)
	want(t, "chown", fs.Chown(p, 3, ^uint32(0)), 0)
	want(t, "utimes", fs.Utimes(p, TimeOmit, 7e9+1), 0)
	a, _ := p.Attr()
	st := a.Stat
	if st.Mode != unix.S_IFREG|0o755 || st.Uid != 3 || st.Gid != 0 || st.Atim.Nano() != 1000 || st.Mtim.Nano() != 7e9+1 || st.Ctim.Sec != 5 || a.Btime != 1000 {
		t.Errorf("attributes: %+v", st)
	}
	sf, errno := fs.Statfs(p)
	want(t, "statfs", errno, 0)
	if sf.Type != unix.OVERLAYFS_SUPER_MAGIC || sf.Blocks != defaultBudget || sf.Bfree >= sf.Blocks {
		t.Errorf("statfs: %+v", sf)
	}
	for what, got := range map[string][2]abi.Errno{
		"device":  {fs.Mknod(fs.Root(), "/tmp/dev", unix.S_IFCHR|0o666), abi.EPERM},
		"regular": {fs.Mknod(fs.Root(), "/tmp/reg", 0o666), 0},
		"nothing": {fs.Mknod(fs.Root(), "/tmp/x", 0o170000), abi.EINVAL},
	} {
		want(t, "mknod "+what, got[0], got[1])
	}
	s, errno := fs.Bind(fs.Root(), "/tmp/sock", 0o755, "listener")
	want(t, "bind", errno, 0)
	again, _ := fs.Resolve(fs.Root(), "/tmp/sock", 0)
	if again.Socket() != "listener" || s != again {
		t.Errorf("socket leads to %v", again.Socket())
	}
	_, errno = fs.Open(fs.Root(), "/tmp/sock", unix.O_RDWR, 0, 0)
	want(t, "open a socket", errno, abi.ENXIO)
}
