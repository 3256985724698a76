// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/test/guests/build"
	"kontain.dev/eventing/vmexec"
)

// savedSnapshot makes a snapshot of a golden guest, writes it to a file, and
// returns the program and the file.
func savedSnapshot(t testing.TB, h *vmexec.Host, p *vmexec.Program) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "snapshot")
	if err := snapshotOf(t, h, p).Save(file, "tag"); err != nil {
		t.Fatal(err)
	}
	return file
}

// refused checks that a file is not used, and why.
func refused(t *testing.T, h *vmexec.Host, p *vmexec.Program, l vmexec.Limits, file string, want vmexec.SnapshotReason, detail string) {
	t.Helper()
	s, err := h.LoadSnapshot(p, l, file)
	if err == nil {
		_ = s.Close()
		t.Errorf("%s: it was loaded", want)
		return
	}
	var e *vmexec.SnapshotError
	if !errors.As(err, &e) || e.Reason != want || !strings.Contains(err.Error(), detail) || !strings.Contains(err.Error(), file) {
		t.Errorf("%s, %q: %v", want, detail, err)
	}
}

func TestSnapshotFileRefused(t *testing.T) {
	elf := buildGuest(t, "event_mix", build.Glibc)
	h := openHost(t, vmexec.Ptrace) // what is checked does not depend on the platform
	p := programOf(t, elf, nil)
	file := savedSnapshot(t, h, p)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var none vmexec.Limits
	s, err := h.LoadSnapshot(p, none, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	n := 0
	with := func(b []byte) string {
		n++
		name := filepath.Join(dir, fmt.Sprint(n))
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	refused(t, h, p, none, filepath.Join(dir, "none"), vmexec.SnapshotMissing, "no such file")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	refused(t, h, p, none, link, vmexec.SnapshotUnsafe, "symbolic link")
	refused(t, h, p, none, dir, vmexec.SnapshotUnsafe, "not a regular file")
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, h, p, none, pipe, vmexec.SnapshotUnsafe, "not a regular file")
	open := with(good)
	if err := os.Chmod(open, 0o640); err != nil {
		t.Fatal(err)
	}
	refused(t, h, p, none, open, vmexec.SnapshotUnsafe, "others may use it")
	if os.Geteuid() == 0 {
		foreign := with(good)
		if err := os.Chown(foreign, 12345, 0); err != nil {
			t.Fatal(err)
		}
		refused(t, h, p, none, foreign, vmexec.SnapshotUnsafe, "belongs to user 12345")
	}
	lock, err := os.Open(with(good))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	refused(t, h, p, none, lock.Name(), vmexec.SnapshotBusy, "removed")

	refused(t, h, p, none, with(nil), vmexec.SnapshotDamaged, "no snapshot")
	refused(t, h, p, none, with(elf), vmexec.SnapshotDamaged, "no snapshot")
	older := slices.Clone(good)
	older[8]++
	refused(t, h, p, none, with(older), vmexec.SnapshotFormat, "format")
	for _, cut := range []int{1, 20, 60, 500, 4096, len(good) / 2, len(good) - 1} {
		refused(t, h, p, none, with(good[:cut]), vmexec.SnapshotDamaged, "")
	}
	refused(t, h, p, none, with(append(slices.Clone(good), 0)), vmexec.SnapshotDamaged, "bytes")
	for at := 12; at < len(good); at += max(1, len(good)/97) {
		bad := slices.Clone(good)
		bad[at] ^= 1 << (at % 8)
		refused(t, h, p, none, with(bad), vmexec.SnapshotDamaged, "")
	}

	refused(t, h, programOf(t, buildGuest(t, "stdin_copy", build.Glibc), nil), none, file, vmexec.SnapshotProgram, "it is of the program")
	refused(t, h, p, vmexec.Limits{Memory: 64 << 20}, file, vmexec.SnapshotProgram, "limits")
	other := func(change func(*vmexec.ProgramSpec)) *vmexec.Program {
		root, err := vmexec.ProgramRoot(p.Path())
		if err != nil {
			t.Fatal(err)
		}
		spec := vmexec.ProgramSpec{Root: root, Path: p.Path()}
		change(&spec)
		q, err := vmexec.NewProgram(spec)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = errors.Join(q.Close(), root.Close()) })
		return q
	}
	refused(t, h, other(func(s *vmexec.ProgramSpec) { s.Args = []string{"a", "b"} }), none, file, vmexec.SnapshotProgram, "arguments")
	refused(t, h, other(func(s *vmexec.ProgramSpec) { s.Env = []string{"PASSWORD=hunter2"} }), none, file, vmexec.SnapshotProgram, "environment")
	refused(t, h, other(func(s *vmexec.ProgramSpec) { s.Dir = "/tmp" }), none, file, vmexec.SnapshotProgram, "working directory")
	if _, err := h.LoadSnapshot(other(func(s *vmexec.ProgramSpec) { s.Env = []string{"PASSWORD=hunter2"} }), none, file); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password is in a message: %v", err)
	}
	if err := os.WriteFile(p.Path(), append(slices.Clone(elf), 0), 0o700); err != nil {
		t.Fatal(err)
	}
	refused(t, h, other(func(*vmexec.ProgramSpec) {}), none, file, vmexec.SnapshotProgram, "SHA-256")
}

// A program with a secret is not written to disk.
func TestSnapshotFileSecret(t *testing.T) {
	h := openHost(t, vmexec.Ptrace)
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, buildGuest(t, "event_mix", build.Glibc), 0o700); err != nil {
		t.Fatal(err)
	}
	root, err := vmexec.ProgramRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: path, Env: []string{"PASSWORD=x"}, Secret: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dir := t.TempDir()
	var e *vmexec.SnapshotError
	if err := snapshotOf(t, h, p).Save(filepath.Join(dir, "snapshot"), ""); !errors.As(err, &e) || e.Reason != vmexec.SnapshotSecret {
		t.Errorf("%v", err)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("%v %v", files, err)
	}
}

// Files of the root that the program had read must be what they were.
func TestSnapshotFileRoot(t *testing.T) {
	const cat = "/usr/bin/cat"
	if _, err := os.Stat(cat); err != nil {
		t.Skip(err)
	}
	h := openHost(t, vmexec.Ptrace)
	data := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(data, []byte("before "), 0o600); err != nil {
		t.Fatal(err)
	}
	p := hostProgram(cat, data, "-")(t)
	file := savedSnapshot(t, h, p)
	load := func() *vmexec.Snapshot {
		t.Helper()
		s, err := h.LoadSnapshot(p, vmexec.Limits{}, file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	if out := event(t, cloneOf(t, h, load()), "after"); string(out) != "after" { // what came before is no part of the reply
		t.Errorf("%q", out)
	}
	if err := os.WriteFile(data, []byte("changed"), 0o600); err != nil { // of the same length
		t.Fatal(err)
	}
	refused(t, h, p, vmexec.Limits{}, file, vmexec.SnapshotFiles, data+" was written")
	if err := os.Remove(data); err != nil {
		t.Fatal(err)
	}
	refused(t, h, p, vmexec.Limits{}, file, vmexec.SnapshotFiles, data+" is no longer there")
}

// Clones in several processes of one file are as unique as those in one.
func TestSnapshotFileProcesses(t *testing.T) {
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		path := filepath.Join(t.TempDir(), "program")
		if err := os.WriteFile(path, buildGuest(t, "uniqueness", build.Glibc), 0o700); err != nil {
			t.Fatal(err)
		}
		root, err := vmexec.ProgramRoot(path)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		p, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: path})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		file := savedSnapshot(t, h, p)
		seen := map[string]string{}
		for range 3 {
			cmd := exec.Command(os.Args[0], "-test.run=^TestSnapshotFileChild$", "-test.count=1")
			cmd.Env = append(os.Environ(), "VMEXEC_TEST_SNAPSHOT="+file, "VMEXEC_TEST_PLATFORM="+string(h.Kind()))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			_, text, _ := strings.Cut(string(out), "BEGIN\n")
			text, _, ok := strings.Cut(text, "END\n")
			v := values(t, []byte(text))
			if !ok || len(v) < 10 {
				t.Fatalf("%s", out)
			}
			for _, name := range []string{"getrandom", "urandom", "at_random", "pid", "generation"} {
				if v[name] == "" || v[name] == seen[name] {
					t.Errorf("%s is %q in two processes", name, v[name])
				}
				seen[name] = v[name]
			}
		}
	})
}

// TestSnapshotFileChild is the other process of TestSnapshotFileProcesses.
func TestSnapshotFileChild(t *testing.T) {
	file := os.Getenv("VMEXEC_TEST_SNAPSHOT")
	if file == "" {
		t.Skip("it is run by TestSnapshotFileProcesses")
	}
	h := openHost(t, vmexec.Kind(os.Getenv("VMEXEC_TEST_PLATFORM")))
	info, err := vmexec.ReadSnapshotInfo(file, true)
	if err != nil {
		t.Fatal(err)
	}
	spec, l, err := vmexec.SnapshotProgramSpec(info)
	if err != nil {
		t.Fatal(err)
	}
	defer spec.Root.Close()
	p, err := vmexec.NewProgram(spec)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	s, err := h.LoadSnapshot(p, l, file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	vm, err := h.Clone(s, vmexec.Limits{Wall: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer vm.Close()
	if err := vm.Verify(); err != nil {
		t.Fatal(err)
	}
	r, err := vm.Run(context.Background(), vmexec.IO{Event: []byte("show")})
	if err != nil || r.Reason != vmexec.Exited || r.Status != 0 {
		t.Fatalf("%+v %v", r, err)
	}
	fmt.Printf("BEGIN\n%sEND\n", r.Stdout)
}

// A snapshot is saved while clones are made and run, and by several at once.
func TestSnapshotFileConcurrent(t *testing.T) {
	elf := buildGuest(t, "event_mix", build.Glibc)
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		p := programOf(t, elf, nil)
		s := snapshotOf(t, h, p)
		file := filepath.Join(t.TempDir(), "snapshot")
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for range 5 {
					if err := s.Save(file, ""); err != nil {
						t.Error(err)
						return
					}
					loaded, err := h.LoadSnapshot(p, vmexec.Limits{}, file)
					if err != nil {
						t.Error(err)
						return
					}
					vm, err := h.Clone(loaded, vmexec.Limits{Wall: time.Minute})
					if err != nil {
						t.Error(err)
						return
					}
					if err := errors.Join(vm.Verify(), vm.Close(), loaded.Close()); err != nil {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				for range 5 {
					vm, err := h.Clone(s, vmexec.Limits{Wall: time.Minute})
					if err != nil {
						t.Error(err)
						return
					}
					if _, err := vm.Run(context.Background(), vmexec.IO{Event: []byte("x")}); err != nil {
						t.Error(err)
					}
					if err := vm.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if files, err := os.ReadDir(filepath.Dir(file)); err != nil || len(files) != 1 {
			t.Errorf("files are left over: %v %v", files, err)
		}
	})
}
