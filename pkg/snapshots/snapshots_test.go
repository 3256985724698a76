// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package snapshots

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// program is what snapshots are made of: a C program that waits on stdin.
const program = `
#include <stdio.h>
#include <string.h>
static char pad[1 << 20];
int main(void) { char b[64] = {0}; memset(pad, 7, sizeof pad); size_t n = fread(b, 1, sizeof b, stdin); fwrite(b, 1, n, stdout); return 0; }
`

type setting struct {
	host     *vmexec.Host
	program  *vmexec.Program
	snapshot *vmexec.Snapshot
	key      string
}

// setUp builds the program at path, unless it is there, and freezes it.
func setUp(t *testing.T, path string) *setting {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		src := path + ".c"
		if err := os.WriteFile(src, []byte(program), 0o600); err != nil {
			t.Fatal(err)
		}
		if said, err := exec.Command("gcc", "-O1", "-static", "-o", path, src).CombinedOutput(); err != nil {
			if os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1" {
				t.Fatalf("%v\n%s", err, said)
			}
			t.Skipf("no C programs: %v", err)
		}
	}
	host, err := vmexec.Open(vmexec.Ptrace)
	if err != nil {
		if os.Getenv("VMEXEC_REQUIRE_PTRACE") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	root, err := vmexec.ProgramRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: path})
	if err != nil {
		t.Fatal(err)
	}
	s, err := host.NewSnapshot(t.Context(), p, vmexec.Limits{Wall: time.Minute}, vmexec.Wait{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := host.SnapshotKey(p, vmexec.Limits{}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), p.Close(), root.Close(), host.Close()); err != nil {
			t.Error(err)
		}
	})
	return &setting{host, p, s, key}
}

func (x *setting) load(t *testing.T, path string) *vmexec.Snapshot {
	t.Helper()
	s, err := x.host.LoadSnapshot(x.program, vmexec.Limits{}, path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// works runs an event in a clone of the file.
func (x *setting) works(t *testing.T, path string) {
	t.Helper()
	s := x.load(t, path)
	defer s.Close()
	vm, err := x.host.Clone(s, vmexec.Limits{Wall: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	if err := vm.Verify(); err != nil {
		t.Error(err)
	}
	if r, err := vm.Run(context.Background(), vmexec.IO{Event: []byte("hello")}); err != nil || string(r.Stdout) != "hello" {
		t.Errorf("%+v %v", r, err)
	}
}

func store(t *testing.T, dir string, size int64) *Store {
	t.Helper()
	s, err := Open(dir, size)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	if s := store(t, dir, 1); s.Dir() != dir {
		t.Errorf("%s", s.Dir())
	}
	if st, err := os.Stat(dir); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if _, err := Open(dir, 0); err == nil {
		t.Error("a store without room")
	}
	if err := os.Chmod(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, 1); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("%v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, 1); err == nil {
		t.Error("a file was taken for a folder")
	}
	t.Setenv(DirVariable, "/x/y")
	if dir, err := DefaultDir(); dir != "/x/y" || err != nil {
		t.Errorf("%s %v", dir, err)
	}
}

// Whatever the moment at which a writer dies, there is a whole snapshot or none, and
// what is left over is removed; what is in use is not.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "program")
	x := setUp(t, path)
	st := store(t, filepath.Join(dir, "store"), DefaultSize)
	for i := range 12 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
		cmd.Env = append(os.Environ(), "SNAPSHOTS_PROGRAM="+path, "SNAPSHOTS_STORE="+st.Dir())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil { // it begins to write
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * 700 * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // killed
		if _, err := os.Stat(st.Path(x.key)); err == nil {
			x.works(t, st.Path(x.key))
		}
	}
	left, err := st.List()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.GC(); err != nil {
		t.Fatal(err)
	}
	after, err := st.List()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files before, %d after", len(left), len(after))
	for _, e := range after {
		if e.Key == "" || e.Err != nil {
			t.Errorf("%s is left: %v", e.Path, e.Err)
		}
	}
}

// TestCrashChild is the writer that dies.
func TestCrashChild(t *testing.T) {
	path := os.Getenv("SNAPSHOTS_PROGRAM")
	if path == "" {
		t.Skip("it is run by TestCrash")
	}
	x := setUp(t, path)
	st := store(t, os.Getenv("SNAPSHOTS_STORE"), DefaultSize)
	fmt.Println("writing")
	for {
		if err := x.snapshot.Save(st.Path(x.key), ""); err != nil {
			t.Fatal(err)
		}
	}
}

func TestGC(t *testing.T) {
	dir := t.TempDir()
	x := setUp(t, filepath.Join(dir, "program"))
	st := store(t, filepath.Join(dir, "store"), DefaultSize)
	key := func(i int) string { return fmt.Sprintf("%064x", i) }
	save := func(i int, age time.Duration) {
		t.Helper()
		if err := x.snapshot.Save(st.Path(key(i)), ""); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		if err := os.Chtimes(st.Path(key(i)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	there := func(i int) bool { _, err := os.Stat(st.Path(key(i))); return err == nil }
	check := func(what string, want ...int) {
		t.Helper()
		for i := range 6 {
			wanted := false
			for _, w := range want {
				wanted = wanted || w == i
			}
			if there(i) != wanted {
				t.Errorf("%s: snapshot %d is there: %v", what, i, !wanted)
			}
		}
	}
	for i := range 4 {
		save(i, time.Duration(i)*time.Hour)
	}
	save(4, maxUnused+time.Hour)
	other := filepath.Join(st.Dir(), "notes.txt")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(st.Dir(), ".snapshot-1.tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(st.Path(key(5)), []byte("no snapshot"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := st.GC()
	if err != nil || len(r.Removed) != 3 || r.Files != 4 {
		t.Errorf("%+v %v", r, err)
	}
	check("unused, damaged and left over ones go", 0, 1, 2, 3)
	if _, err := os.Stat(other); err != nil {
		t.Error("a file that is not ours was removed")
	}

	size := r.Kept / 4
	used := x.load(t, st.Path(key(3))) // it is the one used last now, and in use
	at := time.Now().Add(-4 * time.Hour)
	if err := os.Chtimes(st.Path(key(3)), at, at); err != nil {
		t.Fatal(err)
	}
	if r, err = store(t, st.Dir(), 2*size+size/2).GC(); err != nil || len(r.Removed) != 1 {
		t.Errorf("%+v %v", r, err)
	}
	check("beyond the size, those used longest ago go, but for one in use", 0, 1, 3)
	if _, err := st.Remove(key(3)); !errors.Is(err, ErrBusy) {
		t.Errorf("one in use was removed: %v", err)
	}
	if r, err = st.Clear(); err != nil || r.Files != 1 {
		t.Errorf("%+v %v", r, err)
	}
	check("all go but one in use", 3)
	if err := used.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Remove("zz"); err == nil {
		t.Error("removed what is not there")
	}
	if e, err := st.Remove(key(3)[:60]); err != nil || e.Key != key(3) {
		t.Errorf("%+v %v", e, err)
	}
	check("nothing is left")
}

// Two processes, here two goroutines with descriptors of their own, write one key.
func TestConcurrent(t *testing.T) {
	dir := t.TempDir()
	x := setUp(t, filepath.Join(dir, "program"))
	st := store(t, filepath.Join(dir, "store"), DefaultSize)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				if err := st.Save(x.snapshot, x.key, ""); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	x.works(t, st.Path(x.key))
	if files, err := os.ReadDir(st.Dir()); err != nil || len(files) != 1 {
		t.Errorf("%v %v", files, err)
	}
}

// A full disk is told as such, and leaves nothing behind.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	x := setUp(t, filepath.Join(dir, "program"))
	small := filepath.Join(dir, "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=256k,mode=700"); err != nil {
		t.Skipf("no file system can be mounted: %v", err)
	}
	defer func() {
		if err := unix.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	}()
	st := store(t, small, DefaultSize)
	var e *vmexec.SnapshotError
	if err := st.Save(x.snapshot, x.key, ""); !errors.As(err, &e) || e.Reason != vmexec.SnapshotFull || !strings.Contains(err.Error(), "no room") {
		t.Errorf("%v", err)
	}
	if files, err := os.ReadDir(small); err != nil || len(files) > 0 {
		t.Errorf("%v %v", files, err)
	}
}
