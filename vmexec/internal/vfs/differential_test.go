// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// twin performs the same operations on a folder of the host and on an FS.
type twin struct {
	rng  *rand.Rand
	dir  int // the host's folder
	fs   *FS
	base Path
	fds  [4]int
	fls  [4]fd.File
}

// nest is where both trees work: deep enough that no path of theirs climbs out.
const nest = "x/x/x/x"

// path makes a random path. It climbs at most three times, and symbolic links
// never do, so nothing outside of the trees is reached.
func (w *twin) path() string {
	parts := []string{"a", "b", "c", "d", "a", "b", "c", "d", "a", "b", ".", ".."}
	var p []string
	for range 1 + w.rng.IntN(3) {
		p = append(p, parts[w.rng.IntN(len(parts))])
	}
	sep := "/"
	if w.rng.IntN(12) == 0 {
		sep = "//"
	}
	s := strings.Join(p, sep)
	switch w.rng.IntN(60) {
	case 0, 1, 2:
		s += "/"
	case 3:
		s = ""
	case 4:
		s += "/" + strings.Repeat("n", 254+w.rng.IntN(4))
	}
	return s
}

func (w *twin) target() string {
	return []string{"a", "b", "c", "d", "a/b", "./c", "d/", "b/a/"}[w.rng.IntN(8)]
}

// step performs one operation and returns its name and both results.
func (w *twin) step() (op, host, guest string) {
	p, q := w.path(), w.path()
	i := w.rng.IntN(len(w.fds))
	res := func(what string, err error, errno abi.Errno) {
		op, host, guest = what, errText(err), errno.String()
		if errno == 0 {
			guest = "ok"
		}
	}
	switch w.rng.IntN(20) {
	case 0, 1:
		res("mkdir "+p, unix.Mkdirat(w.dir, p, 0o755), w.fs.Mkdir(w.base, p, 0o755))
	case 2:
		res("rmdir "+p, unix.Unlinkat(w.dir, p, unix.AT_REMOVEDIR), w.fs.Rmdir(w.base, p))
	case 3:
		res("unlink "+p, unix.Unlinkat(w.dir, p, 0), w.fs.Unlink(w.base, p))
	case 4, 5, 6:
		fl := []uint{0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[w.rng.IntN(4)]
		res(fmt.Sprintf("rename %s %s %d", p, q, fl), unix.Renameat2(w.dir, p, w.dir, q, fl), w.fs.Rename(w.base, p, w.base, q, fl))
	case 7:
		at, fl := 0, NoFollow
		if w.rng.IntN(2) == 0 {
			at, fl = unix.AT_SYMLINK_FOLLOW, 0
		}
		old, errno := w.fs.Resolve(w.base, p, fl)
		if errno == 0 {
			errno = w.fs.Link(old, w.base, q)
		}
		res(fmt.Sprintf("link %s %s %#x", p, q, at), unix.Linkat(w.dir, p, w.dir, q, at), errno)
	case 8:
		to := w.target()
		res("symlink "+to+" "+p, unix.Symlinkat(to, w.dir, p), w.fs.Symlink(to, w.base, p))
	case 9, 10, 11:
		return w.open(i, p)
	case 12, 13, 14, 15:
		return w.io(i)
	case 16:
		at, fl := 0, Flag(0)
		if w.rng.IntN(2) == 0 {
			at, fl = unix.AT_SYMLINK_NOFOLLOW, NoFollow
		}
		var st unix.Stat_t
		err := unix.Fstatat(w.dir, p, &st, at)
		res(fmt.Sprintf("stat %s %#x", p, at), err, 0)
		f, errno := w.fs.Resolve(w.base, p, fl)
		if errno != 0 {
			guest = errno.String()
			return op, host, guest
		}
		a, _ := f.Attr()
		return op, host + statText(&st), guest + statText(&a.Stat)
	case 17:
		size := int64(w.rng.IntN(20000))
		f, errno := w.fs.Resolve(w.base, p, 0)
		if errno == 0 {
			errno = w.fs.Truncate(f, size)
		}
		var err error
		if fdn, oerr := unix.Openat(w.dir, p, unix.O_PATH, 0); oerr != nil {
			err = oerr
		} else {
			err = unix.Truncate(fmt.Sprintf("/proc/self/fd/%d", fdn), size)
			unix.Close(fdn)
		}
		res(fmt.Sprintf("truncate %s %d", p, size), err, errno)
	case 18:
		mode := uint32(w.rng.IntN(0o1000))
		if os.Geteuid() != 0 {
			mode |= 0o700 // the guest is root, the host's kernel must not refuse us
		}
		f, errno := w.fs.Resolve(w.base, p, 0)
		if errno == 0 {
			errno = w.fs.Chmod(f, mode)
		}
		res(fmt.Sprintf("chmod %s %o", p, mode), unix.Fchmodat(w.dir, p, mode, 0), errno)
	default:
		buf := make([]byte, 100)
		n, err := unix.Readlinkat(w.dir, p, buf)
		f, errno := w.fs.Resolve(w.base, p, NoFollow)
		to := ""
		if errno == 0 {
			to, errno = w.fs.Readlink(f)
		}
		if p == "" { // readlinkat("") is about the descriptor itself
			return "readlink", "", ""
		}
		res("readlink "+p, err, errno)
		if err == nil {
			host += string(buf[:n])
		}
		guest += to
	}
	return op, host, guest
}

func (w *twin) open(i int, p string) (op, host, guest string) {
	if w.fls[i] != nil {
		unix.Close(w.fds[i])
		w.fls[i].Release()
		w.fls[i] = nil
	}
	flags := []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR}[w.rng.IntN(3)]
	for _, f := range []int{unix.O_CREAT, unix.O_CREAT, unix.O_EXCL, unix.O_TRUNC, unix.O_APPEND, unix.O_DIRECTORY, unix.O_NOFOLLOW, unix.O_PATH} {
		if w.rng.IntN(4) == 0 {
			flags |= f
		}
	}
	if w.rng.IntN(20) == 0 {
		flags |= unix.O_TMPFILE
	}
	if flags&(unix.O_EXCL|unix.O_CREAT) == unix.O_EXCL { // undefined without O_CREAT
		flags &^= unix.O_EXCL
	}
	n, err := unix.Openat(w.dir, p, flags, 0o644)
	if err == unix.EOPNOTSUPP {
		return "idle", "", "" // O_TMPFILE on some file systems
	}
	f, errno := w.fs.Open(w.base, p, flags, 0o644, 0)
	op, host, guest = fmt.Sprintf("open %s %#x as %d", p, flags, i), errText(err), "ok"
	if errno != 0 {
		guest = errno.String()
	}
	switch {
	case err == nil && errno == 0:
		w.fds[i], w.fls[i] = n, f
	case err == nil:
		unix.Close(n)
	case errno == 0:
		f.Release()
	}
	return op, host, guest
}

// io works on an open file.
func (w *twin) io(i int) (op, host, guest string) {
	n, f := w.fds[i], w.fls[i]
	if f == nil {
		return "idle", "", ""
	}
	off := int64(w.rng.IntN(20000))
	size := w.rng.IntN(9000)
	var err error
	var errno abi.Errno
	var hn, gn int64
	var more [2]string
	hb, gb := make([]byte, size), make([]byte, size)
	count := func(a, b int, e error, no abi.Errno) { hn, gn, err, errno = int64(max(a, 0)), int64(b), e, no }
	switch w.rng.IntN(9) {
	case 0:
		op = "read"
		a, e := unix.Read(n, hb)
		b, no := f.Read(fd.Buffers{gb[:size/3], gb[size/3:]}, fd.CurrentOffset)
		count(a, b, e, no)
		more = [2]string{string(hb[:max(a, 0)]), string(gb[:b])}
	case 1:
		op = fmt.Sprintf("pread %d", off)
		a, e := unix.Pread(n, hb, off)
		b, no := f.Read(fd.Buffers{gb}, off)
		count(a, b, e, no)
		more = [2]string{string(hb[:max(a, 0)]), string(gb[:b])}
	case 2, 3:
		for j := range hb {
			hb[j] = byte(w.rng.Uint32())
		}
		op = "write"
		a, e := unix.Write(n, hb)
		b, no := f.Write(fd.Buffers{hb[:size/2], hb[size/2:]}, fd.CurrentOffset)
		count(a, b, e, no)
	case 4:
		for j := range hb {
			hb[j] = byte(w.rng.Uint32())
		}
		op = fmt.Sprintf("pwrite %d", off)
		a, e := unix.Pwrite(n, hb, off)
		b, no := f.Write(fd.Buffers{hb}, off)
		count(a, b, e, no)
	case 5:
		whence := w.rng.IntN(3)
		off -= 5000
		if st, _ := f.Stat(); st.Mode&unix.S_IFMT == unix.S_IFDIR {
			return "idle", "", "" // positions of directories are the file system's own
		}
		op = fmt.Sprintf("lseek %d %d", off, whence)
		hn, err = unix.Seek(n, off, whence)
		gn, errno = f.Lseek(off, whence)
		hn = max(hn, 0)
	case 6:
		op = fmt.Sprintf("ftruncate %d", off)
		err = unix.Ftruncate(n, off)
		if tr, ok := f.(Truncater); ok {
			errno = tr.Truncate(off)
		} else {
			return "idle", "", ""
		}
	case 7:
		tr, ok := f.(Truncater)
		if !ok {
			return "idle", "", ""
		}
		mode := []uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE}[w.rng.IntN(4)]
		op = fmt.Sprintf("fallocate %d %d %d", mode, off, size)
		if err = unix.Fallocate(n, mode, off, int64(size)); err == unix.EOPNOTSUPP {
			return "idle", "", "" // the host's file system lacks it
		}
		errno = tr.Fallocate(mode, off, int64(size))
	default:
		op = "fstat"
		var st unix.Stat_t
		err = unix.Fstat(n, &st)
		g, no := f.Stat()
		errno, more = no, [2]string{statText(&st), statText(&g)}
	}
	op = fmt.Sprintf("%s on %d, %d bytes", op, i, size)
	g := "ok"
	if errno != 0 {
		g = errno.String()
	}
	return op, fmt.Sprint(errText(err), hn, more[0]), fmt.Sprint(g, gn, more[1])
}

func errText(err error) string {
	if err == nil {
		return "ok"
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return err.Error()
	}
	return abi.Errno(errno).String()
}

// dirLinks says that the host counts a directory's subdirectories as its links,
// as the FS does. Some file systems do not.
var dirLinks bool

// statText shows what must agree.
func statText(st *unix.Stat_t) string {
	size, links := st.Size, st.Nlink
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0
		if !dirLinks {
			links = 1
		}
	}
	return fmt.Sprintf(" mode %o nlink %d size %d", st.Mode, links, size)
}

// dumpHost describes a tree of the host.
func dumpHost(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		s := rel + statText(&st)
		switch {
		case e.Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			s += " " + to
		case e.Type().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			s += fmt.Sprintf(" %x", data)
		}
		out = append(out, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// dumpGuest describes a tree of an FS in the same words.
func dumpGuest(t *testing.T, fs *FS, dir string) []string {
	t.Helper()
	var out []string
	var walk func(path, rel string)
	walk = func(path, rel string) {
		p, errno := fs.Resolve(fs.Root(), path, NoFollow)
		if errno != 0 {
			t.Fatalf("%s: %s", path, errno)
		}
		a, _ := p.Attr()
		s := rel + statText(&a.Stat)
		switch a.Stat.Mode & unix.S_IFMT {
		case unix.S_IFLNK:
			to, _ := fs.Readlink(p)
			s += " " + to
		case unix.S_IFREG:
			s += fmt.Sprintf(" %x", get(t, fs, path))
		case unix.S_IFDIR:
			for _, n := range names(t, fs, path) {
				walk(path+"/"+n, filepath.Join(rel, n))
			}
		}
		out = append(out, s)
	}
	walk(dir, ".")
	slices.Sort(out)
	return out
}

func compareTrees(t *testing.T, host, guest []string) {
	t.Helper()
	if slices.Equal(host, guest) {
		return
	}
	short := func(s string) string { return s[:min(len(s), 200)] }
	for _, s := range host {
		if !slices.Contains(guest, s) {
			t.Errorf("only on the host: %s", short(s))
		}
	}
	for _, s := range guest {
		if !slices.Contains(host, s) {
			t.Errorf("only in the FS: %s", short(s))
		}
	}
}

// seedTree makes the files that are there before the first operation.
func seedTree(t testing.TB, dir string) {
	t.Helper()
	base := filepath.Join(dir, nest)
	if err := os.MkdirAll(filepath.Join(base, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []struct {
		name string
		size int
	}{{"b", 10000}, {"a/c", 4096}, {"a/b/d", 5}, {"a/b/a", 0}} {
		if err := os.WriteFile(filepath.Join(base, f.name), []byte(strings.Repeat("lower ", f.size/6+1)[:f.size]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(filepath.Join(base, "b"), filepath.Join(base, "a/d")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a/b", filepath.Join(base, "c")); err != nil {
		t.Fatal(err)
	}
}

// TestDifferential performs random operations on the host's file system and on
// an FS, first in an empty tree, then over a lower root.
func TestDifferential(t *testing.T) {
	old := unix.Umask(0)
	defer unix.Umask(old)
	for _, lower := range []bool{false, true} {
		for seed := range uint64(25) {
			t.Run(fmt.Sprintf("lower=%t/%d", lower, seed), func(t *testing.T) { differential(t, seed, lower) })
		}
	}
}

func differential(t *testing.T, seed uint64, lower bool) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, nest), 0o755); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		t.Fatal(err)
	}
	dirLinks = st.Nlink == 3
	var low Lower
	lowDir := ""
	var before []string
	if lower {
		seedTree(t, dir)
		lowDir = t.TempDir()
		seedTree(t, lowDir)
		before = dumpHost(t, lowDir)
		h, err := NewHostDir(lowDir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		low = h
	}
	fs := newFS(t, low)
	if !lower {
		for _, p := range []string{"/x", "/x/x", "/x/x/x", "/x/x/x/x"} {
			want(t, "mkdir", fs.Mkdir(fs.Root(), p, 0o755), 0)
		}
	}
	base, errno := fs.Resolve(fs.Root(), nest, Directory)
	if errno != 0 {
		t.Fatal(errno)
	}
	n, err := unix.Open(filepath.Join(dir, nest), unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(n)
	w := &twin{rng: rand.New(rand.NewPCG(seed, 1)), dir: n, fs: fs, base: base}
	var log []string
	for i := range 600 {
		if seed%2 == 1 && i%150 == 149 {
			fs.Freeze() // from here on the files are an image's
		}
		op, host, guest := w.step()
		log = append(log, op+": "+host[:min(len(host), 40)])
		if host != guest {
			t.Fatalf("%s: host %.300q, FS %.300q; before it:\n%s", op, host, guest, strings.Join(log[max(0, len(log)-12):], "\n"))
		}
	}
	compareTrees(t, dumpHost(t, dir+"/x"), dumpGuest(t, fs, "/x"))
	for i, f := range w.fls {
		if f != nil {
			unix.Close(w.fds[i])
			f.Release()
		}
	}
	if lower {
		compareTrees(t, before, dumpHost(t, lowDir))
	}
	// Removing everything gives the contents' pages back.
	if !lower {
		removeAll(t, fs, "/x")
		var kept int64 // the generated files of /etc
		for _, n := range names(t, fs, "/etc") {
			p, _ := fs.Resolve(fs.Root(), "/etc/"+n, 0)
			kept += fs.st(p.d.inode).content.n
		}
		if fs.pages != kept {
			t.Errorf("%d pages still in use, want %d", fs.pages, kept)
		}
	}
}

func removeAll(t *testing.T, fs *FS, path string) {
	t.Helper()
	p, errno := fs.Resolve(fs.Root(), path, NoFollow)
	if errno != 0 {
		t.Fatalf("%s: %s", path, errno)
	}
	if !p.IsDir() {
		want(t, "unlink "+path, fs.Unlink(fs.Root(), path), 0)
		return
	}
	for _, n := range names(t, fs, path) {
		removeAll(t, fs, path+"/"+n)
	}
	want(t, "rmdir "+path, fs.Rmdir(fs.Root(), path), 0)
}
