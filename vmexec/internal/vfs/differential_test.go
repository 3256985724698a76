// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"errors"
	"flag"
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
	mem  [4]bool // made by memfd_create
	// Holes are looked for, which only tmpfs has page by page; then nothing is allocated
	// ahead, since what was allocated is no hole here.
	holes bool
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
		op, host, guest = what, errText(err), guestText(errno)
	}
	switch w.rng.IntN(23) {
	case 20:
		res("mkfifo "+p, unix.Mkfifoat(w.dir, p, 0o644), w.fs.Mknod(w.base, p, unix.S_IFIFO|0o644))
	case 21: // an open file, perhaps one that has no name
		at, ok := w.fls[i].(Located)
		if !ok {
			return "idle", "", ""
		}
		old := fmt.Sprintf("/proc/self/fd/%d", w.fds[i])
		res(fmt.Sprintf("link of %d %s", i, p), unix.Linkat(unix.AT_FDCWD, old, w.dir, p, unix.AT_SYMLINK_FOLLOW), w.fs.Link(at.Path(), w.base, p))
	case 22:
		return w.memfd(i)
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

// shut closes an open file.
func (w *twin) shut(i int) {
	if w.fls[i] != nil {
		unix.Close(w.fds[i])
		w.fls[i].Release()
		w.fls[i], w.mem[i] = nil, false
	}
}

func (w *twin) memfd(i int) (op, host, guest string) {
	w.shut(i)
	n, err := unix.MemfdCreate("m", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	f, errno := w.fs.Memfd("m", 0o777, 0)
	if err == nil && errno == 0 {
		w.fds[i], w.fls[i], w.mem[i] = n, f, true
	}
	return fmt.Sprintf("memfd as %d", i), errText(err), guestText(errno)
}

func (w *twin) open(i int, p string) (op, host, guest string) {
	w.shut(i)
	flags := unix.O_NONBLOCK | []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR}[w.rng.IntN(3)]
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
	op, host, guest = fmt.Sprintf("open %s %#x as %d", p, flags, i), errText(err), guestText(errno)
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
	_, fifo := f.(*FIFO)
	if fifo {
		size /= 100 // how many bytes of larger ones it takes is the pipe's matter
	}
	hb, gb := make([]byte, size), make([]byte, size)
	count := func(a, b int, e error, no abi.Errno) { hn, gn, err, errno = int64(max(a, 0)), int64(b), e, no }
	what := w.rng.IntN(13)
	if what >= 9 {
		return w.more(i, what)
	}
	if fifo && (what == 1 || what == 4) { // which error comes first is for those who call
		return "idle", "", ""
	}
	switch what {
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
		if w.holes {
			whence = w.rng.IntN(5)
		}
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
		if w.holes {
			mode = unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE
		}
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
	return op, fmt.Sprint(errText(err), hn, more[0]), fmt.Sprint(guestText(errno), gn, more[1])
}

// more works on an open file in other ways: locks, seals, the names in a folder.
func (w *twin) more(i, what int) (op, host, guest string) {
	n, f := w.fds[i], w.fls[i]
	idle := func() (string, string, string) { return "idle", "", "" }
	switch what {
	case 9: // of flock(2)
		l, ok := f.(Lockable)
		if !ok || f.StatusFlags()&unix.O_PATH != 0 {
			return idle()
		}
		how := []int{unix.LOCK_SH, unix.LOCK_EX, unix.LOCK_UN}[w.rng.IntN(3)]
		lock := Lock{Owner: l.OpenOwner(), Whole: true, Write: how == unix.LOCK_EX, End: EndOfFile}
		var errno abi.Errno
		if how == unix.LOCK_UN {
			errno = l.Unlock(lock)
		} else {
			errno = l.SetLock(lock)
		}
		return fmt.Sprintf("flock %d of %d", how, i), errText(unix.Flock(n, how|unix.LOCK_NB)), guestText(errno)
	case 10: // of an open file
		l, ok := f.(Lockable)
		if !ok || f.StatusFlags()&unix.O_PATH != 0 || f.StatusFlags()&unix.O_ACCMODE != unix.O_RDWR {
			return idle()
		}
		typ := []int16{unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK}[w.rng.IntN(3)]
		k := unix.Flock_t{Type: typ, Start: int64(w.rng.IntN(40)), Len: int64(w.rng.IntN(30))}
		lock := Lock{Owner: l.OpenOwner(), Write: typ == unix.F_WRLCK, Start: k.Start, End: k.Start + k.Len - 1}
		if k.Len == 0 {
			lock.End = EndOfFile
		}
		op = fmt.Sprintf("lock %d of %d from %d for %d", typ, i, k.Start, k.Len)
		if typ != unix.F_UNLCK && w.rng.IntN(3) == 0 {
			err := unix.FcntlFlock(uintptr(n), unix.F_OFD_GETLK, &k)
			_, taken := l.Conflict(lock)
			return op + "?", fmt.Sprint(errText(err), k.Type != unix.F_UNLCK), fmt.Sprint("ok", taken)
		}
		var errno abi.Errno
		if typ == unix.F_UNLCK {
			errno = l.Unlock(lock)
		} else {
			errno = l.SetLock(lock)
		}
		return op, errText(unix.FcntlFlock(uintptr(n), unix.F_OFD_SETLK, &k)), guestText(errno)
	case 11:
		s, ok := f.(Sealer)
		if !ok || !w.mem[i] {
			return idle()
		}
		seals := 1 << w.rng.IntN(5)
		if seals == unix.F_SEAL_SEAL && w.rng.IntN(4) != 0 {
			return idle()
		}
		_, err := unix.FcntlInt(uintptr(n), unix.F_ADD_SEALS, seals)
		errno := s.AddSeals(uint32(seals))
		have, _ := unix.FcntlInt(uintptr(n), unix.F_GET_SEALS, 0)
		got, _ := s.Seals()
		return fmt.Sprintf("seal %d %#x", i, seals), fmt.Sprint(errText(err), have), fmt.Sprint(guestText(errno), got)
	}
	d, ok := f.(Dir)
	if !ok || f.StatusFlags()&unix.O_PATH != 0 {
		return idle()
	}
	var list [2][]string
	if _, err := unix.Seek(n, 0, unix.SEEK_SET); err != nil {
		return "rewind", err.Error(), "ok"
	}
	if _, errno := f.Lseek(0, unix.SEEK_SET); errno != 0 {
		return "rewind", "ok", errno.String()
	}
	buf := make([]byte, 8192)
	size, err := unix.ReadDirent(n, buf)
	for err == nil && size > 0 {
		_, _, list[0] = unix.ParseDirent(buf[:size], -1, list[0])
		size, err = unix.ReadDirent(n, buf)
	}
	errno := d.ReadDir(func(e Dirent) bool {
		if e.Name != "." && e.Name != ".." {
			list[1] = append(list[1], e.Name)
		}
		return true
	})
	// What the position is after the last name is the file system's own.
	_, _ = unix.Seek(n, 0, unix.SEEK_SET)
	_, _ = f.Lseek(0, unix.SEEK_SET)
	slices.Sort(list[0])
	slices.Sort(list[1])
	return fmt.Sprintf("list %d", i), fmt.Sprint(errText(err), list[0]), fmt.Sprint(guestText(errno), list[1])
}

// guestText is what errText is for the FS.
func guestText(errno abi.Errno) string {
	if errno == 0 {
		return "ok"
	}
	return errno.String()
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
		for seed := range uint64(*differentialSeeds) {
			t.Run(fmt.Sprintf("lower=%t/%d", lower, seed), func(t *testing.T) { differential(t, seed, lower) })
		}
	}
}

var differentialSeeds = flag.Int("differential-seeds", 40, "random series of operations of TestDifferential, without a lower root and with one")

// hostFolder makes an empty folder of the host: mostly on a tmpfs, as which the FS is
// meant to behave, else on whatever tests work on.
func hostFolder(t *testing.T, seed uint64) (dir string, tmpfs bool) {
	t.Helper()
	const shm = "/dev/shm"
	var fs unix.Statfs_t
	if seed%4 == 3 || unix.Statfs(shm, &fs) != nil || fs.Type != unix.TMPFS_MAGIC {
		return t.TempDir(), false
	}
	dir, err := os.MkdirTemp(shm, "vfs-")
	if err != nil {
		return t.TempDir(), false
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir, true
}

func differential(t *testing.T, seed uint64, lower bool) {
	dir, tmpfs := hostFolder(t, seed)
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
	w := &twin{rng: rand.New(rand.NewPCG(seed, 1)), dir: n, fs: fs, base: base, holes: tmpfs && seed%3 == 0}
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
	for i := range w.fls {
		w.shut(i)
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
