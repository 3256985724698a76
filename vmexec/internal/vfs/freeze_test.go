// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// script gives the choices of a run of operations.
type script struct{ data []byte }

func (s *script) pick(n int) int {
	if len(s.data) == 0 {
		return 0
	}
	b := s.data[0]
	s.data = s.data[1:]
	return int(b) % n
}

func (s *script) path() string {
	names := []string{"a", "b", "c", "d", "a", "b", ".", ".."}
	p := names[s.pick(len(names))]
	for range s.pick(3) {
		p += "/" + names[s.pick(len(names))]
	}
	switch s.pick(16) {
	case 0:
		return "/" + p
	case 1:
		return "/tmp/" + p
	case 2:
		return "/x/" + p
	}
	return p
}

// actor works on an FS. What it does and sees depends on its script only.
type actor struct {
	fs    *FS
	cwd   Path
	files [4]fd.File
	maps  [2]Mapper
	time  int64
	b     *fixedBudget
}

func (a *actor) now() int64 {
	a.time++
	return a.time
}

// Read is the actor's source of random bytes.
func (a *actor) Read(p []byte) (int, error) {
	for i := range p {
		a.time++
		p[i] = byte(a.time)
	}
	return len(p), nil
}

func newActor(t testing.TB, lower Lower, pages int64) *actor {
	t.Helper()
	a := &actor{b: &fixedBudget{total: pages, free: pages}}
	fs, err := New(Config{Lower: lower, Budget: a.b, Now: a.now, Rand: a})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fs.Close() })
	a.fs = fs
	dir := "/"
	for name := range strings.SplitSeq(nest, "/") {
		dir += name + "/"
		fs.Mkdir(fs.Root(), dir, 0o755) // the lower root may have it
	}
	var errno abi.Errno
	if a.cwd, errno = fs.Resolve(fs.Root(), nest, Directory); errno != 0 {
		t.Fatal(errno)
	}
	return a
}

// clone makes an actor that goes on in a clone of z, where a was frozen.
func (a *actor) clone(t testing.TB, z *Frozen) *actor {
	t.Helper()
	n := &actor{time: a.time, b: &fixedBudget{total: a.b.total, free: a.b.free}}
	n.fs = z.Clone(CloneConfig{Budget: n.b, Now: n.now, Rand: n})
	t.Cleanup(n.fs.Close)
	n.carry(t, a)
	return n
}

// carry gives a the open files and places of the frozen actor.
func (a *actor) carry(t testing.TB, from *actor) {
	t.Helper()
	a.time = from.time
	c := &fd.CloneContext{Owner: a.fs}
	if a.cwd = a.fs.ClonePath(from.cwd); !a.cwd.Valid() {
		t.Fatal("the working directory cannot be cloned")
	}
	for i, f := range from.files {
		a.files[i] = nil
		if f != nil {
			if a.files[i] = f.(fd.Cloner).CloneFile(c); a.files[i] == nil {
				t.Fatalf("a %T cannot be cloned", f)
			}
		}
	}
	for i, m := range from.maps {
		a.maps[i] = nil
		if m != nil {
			if a.maps[i] = a.fs.CloneMapper(m); a.maps[i] == nil {
				t.Fatalf("a mapping of %T cannot be cloned", m)
			}
		}
	}
}

var openFlags = []int{
	unix.O_RDONLY, unix.O_RDWR, unix.O_RDWR | unix.O_CREAT, unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC,
	unix.O_WRONLY | unix.O_APPEND | unix.O_CREAT, unix.O_RDWR | unix.O_TMPFILE, unix.O_PATH, unix.O_RDONLY | unix.O_DIRECTORY,
	unix.O_RDWR | unix.O_CREAT | unix.O_EXCL, unix.O_PATH | unix.O_NOFOLLOW,
}

// step performs one operation and returns all that can be seen of it.
func (a *actor) step(s *script) string {
	fs := a.fs
	op, i := s.pick(48), s.pick(len(a.files))
	if op >= 24 {
		op = []int{19, 20, 22, 22, 23, 20}[op%6]
	}
	f := a.files[i]
	switch op {
	case 0, 1:
		p := s.path()
		return fmt.Sprint("mkdir ", p, fs.Mkdir(a.cwd, p, 0o755|uint32(s.pick(2))<<10))
	case 2:
		p := s.path()
		return fmt.Sprint("rmdir ", p, fs.Rmdir(a.cwd, p))
	case 3, 4:
		p := s.path()
		return fmt.Sprint("unlink ", p, fs.Unlink(a.cwd, p))
	case 5, 6:
		p, q := s.path(), s.path()
		fl := []uint{0, 0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[s.pick(4)]
		return fmt.Sprint("rename ", p, q, fl, fs.Rename(a.cwd, p, a.cwd, q, fl))
	case 7:
		p, q := s.path(), s.path()
		old, errno := fs.Resolve(a.cwd, p, 0)
		if errno == 0 {
			errno = fs.Link(old, a.cwd, q)
		}
		return fmt.Sprint("link ", p, q, errno)
	case 8:
		p, q := s.path(), s.path()
		return fmt.Sprint("symlink ", p, q, fs.Symlink(p, a.cwd, q))
	case 9, 10, 11:
		p, flags := s.path(), openFlags[s.pick(len(openFlags))]
		if s.pick(8) == 0 {
			p = []string{"/dev/urandom", "/dev/zero", "/proc/mounts", "/run/kontain/generation"}[s.pick(4)]
		}
		a.close(i)
		f, errno := fs.Open(a.cwd, p, flags, 0o644, 0)
		if errno == 0 {
			a.files[i] = f
		}
		return fmt.Sprintf("open %s %#x as %d: %s", p, flags, i, errno)
	case 12:
		a.close(i)
		f, errno := fs.Memfd("m", 0o777, 0)
		if errno == 0 {
			a.files[i] = f
		}
		return fmt.Sprint("memfd ", errno)
	case 13:
		a.close(i)
		return "close"
	case 14:
		p := s.path()
		to, errno := fs.Resolve(a.cwd, p, Directory)
		if errno == 0 {
			a.cwd = to
		}
		return fmt.Sprint("chdir ", p, errno, a.cwd, a.cwd.Deleted())
	case 15:
		p := s.path()
		to, errno := fs.Resolve(a.cwd, p, Flag(s.pick(2)))
		if errno != 0 {
			return fmt.Sprint("stat ", p, errno)
		}
		at, _ := to.Attr()
		link, _ := fs.Readlink(to)
		sf, _ := fs.Statfs(to)
		return fmt.Sprint("stat ", p, at, link, sf)
	case 16:
		p := s.path()
		to, errno := fs.Resolve(a.cwd, p, 0)
		if errno != 0 {
			return fmt.Sprint("change ", p, errno)
		}
		switch s.pick(4) {
		case 0:
			errno = fs.Chmod(to, uint32(s.pick(256))<<3)
		case 1:
			errno = fs.Chown(to, uint32(s.pick(8)), uint32(s.pick(8)))
		case 2:
			errno = fs.Utimes(to, TimeNow, int64(s.pick(100)))
		default:
			errno = fs.Truncate(to, int64(s.pick(256))*100)
		}
		return fmt.Sprint("change ", p, errno)
	case 17:
		m, ok := f.(Mapper)
		if j := s.pick(2); ok {
			if a.maps[j] != nil {
				a.maps[j].MapDrop()
			}
			m.MapHold()
			a.maps[j] = m
			return fmt.Sprint("map ", m.MapID(), m.MapSize())
		}
		return "map nothing"
	case 18:
		m := a.maps[s.pick(2)]
		if m == nil {
			return "no mapping"
		}
		buf := make([]byte, 64)
		off := int64(s.pick(256)) * 64
		w := m.MapWrite(off, []byte{byte(s.pick(256))})
		n, errno := m.MapRead(off, buf)
		return fmt.Sprint("mapped ", w, n, errno, buf, m.MapSize(), m.Path())
	}
	if f == nil {
		return "idle"
	}
	return a.io(f, op, s)
}

func (a *actor) io(f fd.File, op int, s *script) string {
	off := int64(s.pick(200)) * 100
	if s.pick(2) == 0 {
		off = fd.CurrentOffset
	}
	buf := make([]byte, 1+s.pick(90)*100)
	switch op {
	case 19:
		n, errno := f.Read(fd.Buffers{buf}, off)
		return fmt.Sprint("read ", n, errno, buf[:max(n, 0)])
	case 20, 21:
		fill := byte(s.pick(256))
		for i := range buf {
			buf[i] = fill + byte(i>>6)
		}
		n, errno := f.Write(fd.Buffers{buf}, off)
		return fmt.Sprint("write ", n, errno)
	case 22:
		tr, ok := f.(Truncater)
		if !ok {
			return "idle"
		}
		off = max(off, 0)
		mode := []uint32{99, 99, 0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_KEEP_SIZE | unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE}[s.pick(6)]
		if mode == 99 {
			return fmt.Sprint("ftruncate ", tr.Truncate(off))
		}
		return fmt.Sprint("fallocate ", mode, tr.Fallocate(mode, off, int64(len(buf))))
	}
	if d, ok := f.(Dir); ok {
		var l []Dirent
		left := s.pick(6)
		errno := d.ReadDir(func(e Dirent) bool {
			if len(l) == left {
				return false
			}
			l = append(l, e)
			return true
		})
		if s.pick(4) == 0 {
			d.Lseek(0, unix.SEEK_SET)
		}
		return fmt.Sprint("readdir ", l, errno)
	}
	pos, errno := f.Lseek(off, s.pick(3))
	st, e := f.Stat()
	p := f.(Located).Path()
	return fmt.Sprint("fstat ", pos, errno, st, e, p, p.Deleted(), f.StatusFlags())
}

func (a *actor) close(i int) {
	if a.files[i] != nil {
		a.files[i].Release()
		a.files[i] = nil
	}
}

// counts are the numbers that a guest sees by way of its limits.
func (a *actor) counts() string {
	fs := a.fs
	return fmt.Sprint("pages ", fs.pages, " descriptions ", fs.meta, " in ", fs.metaPgs, ", free ", a.b.free, ", next ", fs.nextIno)
}

// state is everything that can be seen in the tree. Looking changes what is known
// of the lower root.
func (a *actor) state(t testing.TB) []string {
	t.Helper()
	out := []string{a.counts(), "cwd " + a.cwd.String()}
	const look = 1000 // pages, should the script have left none
	a.b.free += look
	defer func() { a.b.free -= look }()
	for i, f := range a.files {
		if f != nil {
			st, errno := f.Stat()
			pos, _ := f.Lseek(0, unix.SEEK_CUR)
			out = append(out, fmt.Sprint(i, f.(Located).Path(), st, errno, pos, f.StatusFlags()))
		}
	}
	for _, m := range a.maps {
		if m == nil {
			continue
		}
		buf := make([]byte, 5000)
		n, errno := m.MapRead(0, buf)
		out = append(out, fmt.Sprint(m.MapID(), m.MapSize(), m.Path(), errno, buf[:n]))
	}
	var walk func(path string)
	walk = func(path string) {
		p, errno := a.fs.Resolve(a.fs.Root(), path, NoFollow)
		if errno != 0 {
			t.Fatalf("%s: %s", path, errno)
		}
		a.time = 1 << 40 // files of /proc bear the time of the look
		at, _ := p.Attr()
		link, _ := a.fs.Readlink(p)
		line := fmt.Sprint(path, " ", at, link)
		switch {
		case p.IsRegular():
			line += fmt.Sprintf(" %x", get(t, a.fs, path))
		case p.IsDir():
			for _, n := range names(t, a.fs, path) {
				walk(strings.TrimSuffix(path, "/") + "/" + n)
			}
		}
		out = append(out, line)
	}
	walk("/")
	return out
}

func diffStates(t *testing.T, what string, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		var w, g string
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			t.Fatalf("%s:\nwant %.400s\ngot  %.400s", what, w, g)
		}
	}
}

func randomScript(seed uint64, n int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// seededLower is a lower root with hard links and symbolic ones.
func seededLower(t testing.TB) Lower {
	t.Helper()
	dir := t.TempDir()
	seedTree(t, dir)
	// The host updates access times that are not later than the other ones.
	later := time.Now().Add(time.Hour).UnixNano()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		ts := []unix.Timespec{unix.NsecToTimespec(later), unix.NsecToTimespec(1e9)}
		return unix.UtimesNanoAt(unix.AT_FDCWD, path, ts, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewHostDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// lockstep performs a script on two actors until it ends or a choice of it says
// stop; both must see the same.
func lockstep(t *testing.T, want, got *actor, data []byte) {
	t.Helper()
	a, b := &script{data}, &script{data}
	for n := 0; len(a.data) > 0; n++ {
		w, g := want.step(a), got.step(b)
		w, g = w+want.counts(), g+got.counts()
		if w != g {
			t.Fatalf("step %d:\nwant %.600s\ngot  %.600s", n, w, g)
		}
	}
}

// checkFreeze is the differential test: parts of a script are performed on an FS
// that is never frozen, and on one that is frozen between them and goes on in a
// clone, in a clone of a clone, or itself. The last part is also performed again
// after a reset.
func checkFreeze(t *testing.T, lower Lower, data []byte, parts int) {
	pages := int64(30 + len(data)%100) // some runs use it up
	plain, frozen := newActor(t, lower, pages), newActor(t, lower, pages)
	size := len(data) / parts
	for i := range parts - 1 {
		part := data[i*size : (i+1)*size]
		lockstep(t, plain, frozen, part)
		z := frozen.fs.Freeze()
		if frozen.fs.Changed() {
			t.Fatal("changed right after the freeze")
		}
		if len(part) == 0 || part[0]%4 != 0 {
			frozen = frozen.clone(t, z)
		}
	}
	last := data[(parts-1)*size:]
	source := *frozen // the open files as they are in the image
	for i := range source.files {
		if f := source.files[i]; f != nil { // positions move
			source.files[i] = f.(fd.Cloner).CloneFile(&fd.CloneContext{Owner: frozen.fs})
		}
	}
	z := frozen.fs.Freeze()
	before := source.clone(t, z)
	used := source.clone(t, z)
	for s := (&script{last}); len(s.data) > 0; {
		used.step(s)
	}
	used.fs.Reset()
	used.carry(t, &source)
	if used.fs.Changed() {
		t.Fatal("changed right after the reset")
	}
	diffStates(t, "after a reset", before.state(t), used.state(t))
	used.fs.Reset()
	used.carry(t, &source)
	lockstep(t, plain, used, last)
	plainState := plain.state(t)
	diffStates(t, "at the end", plainState, used.state(t))
}

func TestFreezeDifferential(t *testing.T) {
	lower := seededLower(t)
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			l := lower
			if seed%3 == 0 {
				l = nil
			}
			checkFreeze(t, l, randomScript(seed, 4000+int(seed)), 2+int(seed%3))
		})
	}
}

func FuzzFreeze(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomScript(seed, 300))
	}
	lower := seededLower(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		checkFreeze(t, lower, data, 3)
	})
}

// TestClonesApart runs clones and the frozen FS at the same time. Each must see
// what it sees alone.
func TestClonesApart(t *testing.T) {
	a := newActor(t, seededLower(t), 200)
	for s := (&script{randomScript(1, 3000)}); len(s.data) > 0; {
		a.step(s)
	}
	z := a.fs.Freeze()
	start, budget := *a, *a.b // a goes on and changes its own
	start.b = &budget
	for i := range start.files {
		if f := start.files[i]; f != nil {
			start.files[i] = f.(fd.Cloner).CloneFile(&fd.CloneContext{Owner: a.fs})
		}
	}
	run := func(x *actor, seed uint64) string {
		var b strings.Builder
		for s := (&script{randomScript(seed, 3000)}); len(s.data) > 0; {
			b.WriteString(x.step(s))
		}
		return b.String()
	}
	const clones = 6
	var want [clones]string
	for i := range want {
		want[i] = run(start.clone(t, z), uint64(i))
	}
	var got [clones]string
	var wg sync.WaitGroup
	for i := range got {
		x := a
		if i > 0 {
			x = start.clone(t, z)
		}
		wg.Go(func() {
			got[i] = run(x, uint64(i))
			if i > 0 {
				x.fs.Reset()
				x.carry(t, &start)
				got[i] = run(x, uint64(i))
			}
		})
	}
	wg.Wait()
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("clone %d saw something else than alone", i)
		}
	}
	fresh, again := start.clone(t, z).state(t), start.clone(t, z).state(t)
	diffStates(t, "the image", fresh, again)
}

// fixedRand is a source of one byte.
type fixedRand byte

func (r fixedRand) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r)
	}
	return len(p), nil
}

func mustOpen(t *testing.T, fs *FS, path string, flags int) fd.File {
	t.Helper()
	f, errno := fs.Open(fs.Root(), path, flags, 0o644, 0)
	if errno != 0 {
		t.Fatalf("open %s: %s", path, errno)
	}
	return f
}

func read(f fd.File, n int) string {
	b := make([]byte, n)
	n, errno := f.Read(fd.Buffers{b}, fd.CurrentOffset)
	if errno != 0 {
		return "!" + errno.String()
	}
	return string(b[:n])
}

func TestCloneOpenFiles(t *testing.T) {
	fs, info := procFS(t)
	put(t, fs, "/tmp/f", "0123456789")
	table := info.table
	add := func(f fd.File) int32 {
		n, errno := table.Install(f, false, 0)
		want(t, "install", errno, 0)
		return n
	}
	file := add(mustOpen(t, fs, "/tmp/f", unix.O_RDWR))
	status := add(mustOpen(t, fs, "/proc/self/comm", unix.O_RDWR))
	random := add(mustOpen(t, fs, "/dev/urandom", unix.O_RDONLY))
	cmd := add(mustOpen(t, fs, "/proc/self/cmdline", unix.O_RDONLY))
	fdDir := add(mustOpen(t, fs, "/proc/self/fd", unix.O_RDONLY))
	link := add(mustOpen(t, fs, "/proc/self/fd/0", unix.O_PATH|unix.O_NOFOLLOW))
	open := func(tab *fd.Table, n int32) fd.File {
		f, errno := tab.Get(n)
		want(t, "get", errno, 0)
		return f
	}
	read(open(table, file), 3)
	m := open(table, file).(Mapper)
	m.MapHold()
	want(t, "unlink", fs.Unlink(fs.Root(), "/tmp/f"), 0)
	want(t, "mkdir", fs.Mkdir(fs.Root(), "/tmp/d", 0o755), 0)
	cwd, _ := fs.Resolve(fs.Root(), "/tmp/d", 0)

	z := fs.Freeze()
	late := mustOpen(t, fs, "/tmp/late", unix.O_RDWR|unix.O_CREAT)
	want(t, "rename", fs.Rename(fs.Root(), "/tmp/d", fs.Root(), "/tmp/e", 0), 0)

	other := &facts{comm: "clone"}
	c := z.Clone(CloneConfig{Rand: fixedRand('R'), Proc: other, Generation: func() uint64 { return 42 }})
	defer c.Close()
	ctx := &fd.CloneContext{Owner: c}
	tab, err := table.CloneInto(ctx)
	if err != nil {
		t.Fatal(err)
	}
	other.table, other.cwd = tab, c.ClonePath(cwd)
	if s := other.cwd.String(); s != "/tmp/d" || cwd.String() != "/tmp/e" {
		t.Errorf("working directories %q and %q", s, cwd)
	}
	for what, got := range map[string][2]string{
		"offset":            {read(open(tab, file), 3), "345"},
		"offset before":     {read(open(table, file), 4), "3456"},
		"random":            {read(open(tab, random), 3), "RRR"},
		"comm":              {read(open(tab, status), 9), "clone\n"},
		"cmdline":           {read(open(tab, cmd), 4), "app\x00"},
		"generation":        {get(t, c, "/run/kontain/generation"), "42\n"},
		"generation before": {get(t, fs, "/run/kontain/generation"), "0\n"},
		"removed":           {get(t, c, "/tmp/f"), "!ENOENT"},
		"later":             {get(t, c, "/tmp/late"), "!ENOENT"},
		"removed, by link":  {get(t, c, "/proc/self/fd/0"), "0123456789"},
		"no cwd of a later": {c.ClonePath(late.(Located).Path()).String(), ""},
		"by O_PATH of link": {open(tab, link).(Located).Path().String(), "/proc/7/fd/0"},
		"cwd by /proc":      {fmt.Sprint(names(t, c, "/proc/self/cwd")), "[]"},
		"root, by /proc":    {fmt.Sprint(names(t, c, "/proc/self/root/tmp")), "[d]"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %q, want %q", what, got[0], got[1])
		}
	}
	var fds []string
	open(tab, fdDir).(Dir).ReadDir(func(e Dirent) bool { fds = append(fds, e.Name); return true })
	if len(fds) != 8 {
		t.Errorf("descriptors of the clone: %q", fds)
	}
	if late.(fd.Cloner).CloneFile(ctx) != nil || c.CloneMapper(late.(Mapper)) != nil {
		t.Error("a file that was opened after the freeze was cloned")
	}
	if open(table, file).(fd.Cloner).CloneFile(&fd.CloneContext{}) != nil {
		t.Error("a file was cloned into no FS")
	}

	// The removed file lives as long as each VM's mapping of it.
	cm := c.CloneMapper(m)
	want(t, "write", cm.MapWrite(0, []byte("XX")), 0)
	held := c.pages
	tab.CloseAll()
	if b := make([]byte, 4); true {
		cm.MapRead(0, b)
		if string(b) != "XX23" || c.pages != held {
			t.Errorf("mapped %q, %d pages of %d", b, c.pages, held)
		}
	}
	cm.MapDrop()
	if c.pages != held-1 {
		t.Errorf("%d pages after the last use, want %d", c.pages, held-1)
	}
	if b := make([]byte, 4); true {
		m.MapRead(0, b)
		if string(b) != "0123" {
			t.Errorf("the frozen FS maps %q", b)
		}
	}
	m.MapDrop()
	table.CloseAll()
	late.Release()
}

// TestCloneGone reads files of a process that a clone does not have.
func TestCloneGone(t *testing.T) {
	fs, info := procFS(t)
	f := mustOpen(t, fs, "/proc/7/comm", unix.O_RDWR)
	dir := mustOpen(t, fs, "/proc/7/fd", unix.O_RDONLY)
	task := mustOpen(t, fs, "/proc/7/task", unix.O_RDONLY)
	exe := mustOpen(t, fs, "/proc/7/exe", unix.O_PATH|unix.O_NOFOLLOW)
	anon := &null{fd.Base{Flags: unix.O_RDONLY}}
	info.table.Install(anon, false, 0)
	pipe := mustOpen(t, fs, "/proc/7/fd/0", unix.O_PATH)
	c := fs.Freeze().Clone(CloneConfig{})
	defer c.Close()
	ctx := &fd.CloneContext{Owner: c}
	if pipe.(fd.Cloner).CloneFile(ctx) != nil {
		t.Error("a place of a pipe was cloned")
	}
	comm := f.(fd.Cloner).CloneFile(ctx)
	if got := read(comm, 10); got != "!ESRCH" {
		t.Errorf("comm: %q", got)
	}
	_, errno := comm.Write(fd.Buffers{[]byte("x")}, fd.CurrentOffset)
	want(t, "write", errno, abi.ESRCH)
	for _, d := range []fd.File{dir, task} {
		n := 0
		d.(fd.Cloner).CloneFile(ctx).(Dir).ReadDir(func(Dirent) bool { n++; return true })
		if n != 2 {
			t.Errorf("%d entries of a process that is gone", n)
		}
	}
	_, errno = c.Readlink(exe.(fd.Cloner).CloneFile(ctx).(Located).Path())
	want(t, "readlink", errno, abi.ENOENT)
}

// TestReset changes a little many times.
func TestReset(t *testing.T) {
	h := seededLower(t)
	fs := newFS(t, h)
	put(t, fs, "/tmp/big", strings.Repeat("0123456789abcdef", 3*pageSize/16))
	f := mustOpen(t, fs, "/tmp/big", unix.O_RDWR)
	z := fs.Freeze()
	b := &fixedBudget{total: 100, free: 100 - z.Pages()}
	c := z.Clone(CloneConfig{Budget: b})
	defer c.Close()
	kept := f.(fd.Cloner).CloneFile(&fd.CloneContext{Owner: c})
	free := b.free
	for _, s := range []struct {
		name    string
		change  func()
		changed bool
	}{
		{"nothing", func() {}, false},
		{"reading", func() { get(t, c, "/tmp/big"); get(t, c, "/proc/meminfo"); names(t, c, "/tmp") }, false},
		{"refused", func() { c.Unlink(c.Root(), "/tmp/none"); c.Rmdir(c.Root(), "/tmp") }, true}, // it looked at /
		{"mapping", func() { kept.(Mapper).MapHold(); kept.(Mapper).MapDrop() }, false},
		{"unlink", func() { c.Unlink(c.Root(), "/tmp/big") }, true},
		{"truncate", func() { kept.(Truncater).Truncate(5) }, true},
		{"write", func() { kept.Write(fd.Buffers{[]byte("new")}, pageSize-1) }, true},
		{"append", func() { kept.Write(fd.Buffers{make([]byte, 9*pageSize)}, 3*pageSize) }, true},
		{"rename", func() { c.Rename(c.Root(), "/tmp", c.Root(), "/t", 0) }, true},
		{"lower", func() { get(t, c, "/x/x/x/x/b"); c.Unlink(c.Root(), "/x/x/x/x/b") }, true},
		{"open", func() { mustOpen(t, c, "/tmp/new", unix.O_CREAT|unix.O_RDWR) }, true},
		{"temporary", func() { mustOpen(t, c, "/tmp", unix.O_TMPFILE|unix.O_RDWR) }, true},
		{"close", func() { kept.Release() }, true},
		{"many", func() {
			for i := range 70 {
				want(t, "mkdir", c.Mkdir(c.Root(), fmt.Sprint("/tmp/", i), 0o755), 0)
			}
		}, true},
		{"time", func() { p, _ := c.Resolve(c.Root(), "/tmp/big", 0); c.Utimes(p, 1, 2) }, true},
	} {
		t.Run(s.name, func(t *testing.T) {
			s.change()
			if c.Changed() != s.changed && s.name != "refused" {
				t.Errorf("changed: %t", !s.changed)
			}
			c.Reset()
			if c.Changed() || b.free != free {
				t.Errorf("after the reset: changed %t, %d pages free, want %d", c.Changed(), b.free, free)
			}
			for _, slot := range c.open.slots {
				if slot.in != nil && slot.in.owner == c.layer {
					t.Error("a file of the event is still open")
				}
			}
			if got := names(t, c, "/tmp"); !slices.Equal(got, []string{"big"}) {
				t.Errorf("/tmp: %q", got)
			}
			if got := get(t, c, "/tmp/big"); len(got) != 3*pageSize || got[pageSize-1:pageSize+1] != "f0" {
				t.Errorf("/tmp/big has %d bytes", len(got))
			}
			c.Reset()
		})
	}
	f.Release()
}

func TestGeneration(t *testing.T) {
	g := uint64(5)
	for name, lower := range map[string]func(m *Memory) error{
		"none":      func(*Memory) error { return nil },
		"directory": func(m *Memory) error { return m.AddBytes("/run/kontain/generation", 0o644, []byte("no")) },
		"link":      func(m *Memory) error { return errorsOf(m.AddSymlink("/run", "var/run"), m.AddDir("/var/run", 0o755)) },
		"dangling":  func(m *Memory) error { return m.AddSymlink("/run", "nowhere") },
		"loop":      func(m *Memory) error { return m.AddSymlink("/run", "run") },
		"file":      func(m *Memory) error { return m.AddBytes("/run", 0o644, []byte("no")) },
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMemory(0)
			if err := lower(m); err != nil {
				t.Fatal(err)
			}
			fs, err := New(Config{Lower: m, Generation: func() uint64 { return g }})
			if err != nil {
				t.Fatal(err)
			}
			defer fs.Close()
			g = 5
			f := mustOpen(t, fs, "/run/kontain/generation", unix.O_RDONLY)
			if got := read(f, 9); got != "5\n" {
				t.Errorf("%q", got)
			}
			g = 6
			f.Lseek(0, unix.SEEK_SET)
			if got := read(f, 9); got != "6\n" {
				t.Errorf("read again: %q", got)
			}
			f.Release()
			if got := names(t, fs, "/run/kontain"); !slices.Equal(got, []string{"generation"}) {
				t.Errorf("/run/kontain: %q", got)
			}
			_, errno := fs.Open(fs.Root(), "/run/kontain/generation", unix.O_RDWR, 0, 0)
			want(t, "open for writing", errno, abi.EACCES)
			want(t, "remove", fs.Unlink(fs.Root(), "/run/kontain/generation"), abi.EPERM)
			want(t, "make", fs.Mkdir(fs.Root(), "/run/lock", 0o755), 0)
		})
	}
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// benchImage is what a program with some files leaves: 200 files of 8 KiB.
func benchImage(b *testing.B) (*FS, *Frozen) {
	fs := newFS(b, nil)
	for i := range 200 {
		put(b, fs, fmt.Sprint("/tmp/", i), strings.Repeat("x", 8192))
	}
	return fs, fs.Freeze()
}

func BenchmarkFSClone(b *testing.B) {
	_, z := benchImage(b)
	budget := &fixedBudget{}
	now := func() int64 { return 1 }
	b.ReportAllocs()
	for b.Loop() {
		z.Clone(CloneConfig{Budget: budget, Now: now})
	}
}

// BenchmarkFSReset is an event that writes to some files, and the reset after it;
// reset-ns is the reset's part.
func BenchmarkFSReset(b *testing.B) {
	for _, files := range []int{0, 1, 10, 100} {
		b.Run(fmt.Sprint(files), func(b *testing.B) {
			_, z := benchImage(b)
			c := z.Clone(CloneConfig{})
			data := fd.Buffers{bytes.Repeat([]byte("y"), 100)}
			paths := make([]string, files)
			for i := range paths {
				paths[i] = fmt.Sprint("/tmp/", i)
			}
			b.ReportAllocs()
			var reset time.Duration
			for b.Loop() {
				for _, p := range paths {
					f, _ := c.Open(c.Root(), p, unix.O_WRONLY, 0, 0)
					f.Write(data, 0)
					f.Release()
				}
				start := time.Now()
				c.Reset()
				reset += time.Since(start)
			}
			b.ReportMetric(float64(reset)/float64(b.N), "reset-ns/op")
		})
	}
}

// BenchmarkFSEvent is an event that reads a file, and its reset: nothing changed.
func BenchmarkFSEvent(b *testing.B) {
	_, z := benchImage(b)
	c := z.Clone(CloneConfig{})
	data := fd.Buffers{make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		f, _ := c.Open(c.Root(), "/tmp/1", unix.O_RDONLY, 0, 0)
		f.Read(data, fd.CurrentOffset)
		f.Release()
		c.Reset()
	}
}
