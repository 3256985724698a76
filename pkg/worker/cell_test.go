// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/worker/cell"
	"kontain.dev/eventing/pkg/worker/wire"
	"kontain.dev/eventing/vmexec"
)

// openCells opens cells, or skips the test where they are not to be had, unless
// KONTAIN_REQUIRE_CELLS=1 demands it.
func openCells(t testing.TB) *cell.Cells {
	t.Helper()
	cells, err := cell.Open(cell.Config{Worker: built.worker})
	if err != nil {
		if os.Getenv("KONTAIN_REQUIRE_CELLS") == "1" {
			t.Fatalf("KONTAIN_REQUIRE_CELLS=1, but %v", err)
		}
		t.Skip("no cells: ", err)
	}
	t.Cleanup(func() {
		if err := cells.Close(); err != nil {
			t.Error(err)
		}
	})
	return cells
}

func newCell(t testing.TB, cells *cell.Cells) *cell.Cell {
	t.Helper()
	c, err := cells.New(cell.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// A worker in a cell makes snapshots, runs events and is reset as others are.
func TestCell(t *testing.T) {
	cells := openCells(t)
	eachPlatform(t, func(t *testing.T, c Config) {
		c.Cell, c.Tasks, c.Reuse = newCell(t, cells), 2000, wire.Reset
		bare := c
		bare.Program = withoutSnapshot
		o, _, err := Freeze(t.Context(), bare)
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, o)
		c.Program = o
		p := start(t, c)
		jail := p.Ready().Jail
		if jail.Level != 2 || jail.User != c.Cell.User() || !jail.Seccomp || jail.Cgroup != c.Cell.Bounded() {
			t.Errorf("its jail is %+v", jail)
		}
		want := fmt.Sprintf("+user %d+namespaces", c.Cell.User())
		if s := jail.String(); !strings.HasPrefix(s, "level 2: seccomp") || !strings.Contains(s, want) {
			t.Error(s)
		}
		proc := fmt.Sprintf("/proc/%d/", p.PID())
		status, err := os.ReadFile(proc + "status")
		if err != nil {
			t.Fatal(err)
		}
		u := c.Cell.User()
		for _, want := range []string{
			fmt.Sprintf("Uid:\t%d\t%d\t%d\t%d", u, u, u, u), fmt.Sprintf("Gid:\t%d\t%d\t%d\t%d", u, u, u, u), "Groups:\t \n",
			fmt.Sprintf("NSpid:\t%d\t1\n", p.PID()), "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
		} {
			if !strings.Contains(string(status), want) {
				t.Errorf("its status lacks %q:\n%s", want, status)
			}
		}
		for _, ns := range []string{"mnt", "net", "pid", "ipc", "uts", "cgroup"} {
			theirs, err := os.Readlink(proc + "ns/" + ns)
			ours, err2 := os.Readlink("/proc/self/ns/" + ns)
			if err != nil || err2 != nil || theirs == ours {
				t.Errorf("namespace %s and ours %s, %v, %v", theirs, ours, err, err2)
			}
		}
		limits, err := os.ReadFile(proc + "limits")
		if err != nil || !strings.Contains(string(limits), "Max processes             2000 ") {
			t.Errorf("%v\n%s", err, limits)
		}
		root, err := filepath.Glob(proc + "root/*")
		if err != nil || len(root) != 2 {
			t.Errorf("it sees %v, %v", root, err)
		}
		for i := range 5 {
			if r := do(t, p, "hello"); string(r.Stdout) != "1 HELLO A=b" {
				t.Fatalf("event %d: %+v", i, r)
			}
			if err := p.Reset(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// A worker that should be in a cell, and is not, runs nothing.
func TestNoCell(t *testing.T) {
	eachPlatform(t, func(t *testing.T, c Config) {
		p, err := spawn(c)
		if err != nil {
			t.Fatal(err)
		}
		defer closes(t, p)
		if err := p.send(wire.KindSetup, []byte(`{"program":`+string(c.Program.Text)+`,"reuse":"once","user":1900000000}`)); err != nil {
			t.Fatal(err)
		}
		if err := p.awaitReady(&p.ready); err == nil || !strings.Contains(err.Error(), "it is not in a cell: its users are") {
			t.Errorf("%v", err)
		}
	})
}

// The folder of a program's root is shown to it in its cell, with files of every owner,
// and is all of the host that there is.
func TestCellFolder(t *testing.T) {
	cells := openCells(t)
	for _, kind := range []vmexec.Kind{vmexec.KVM, vmexec.Ptrace} {
		t.Run(string(kind), func(t *testing.T) {
			host := open(t, kind)
			defer closes(t, host)
			dir := t.TempDir()
			b, err := os.ReadFile(built.guest)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.WriteFile(filepath.Join(dir, "guest"), b, 0o700), os.WriteFile(filepath.Join(dir, "theirs"), []byte("text"), 0o600), os.Chmod(dir, 0o700),
				os.Chown(filepath.Join(dir, "theirs"), 12345, 12345)); err != nil {
				t.Fatal(err)
			}
			root, err := vmexec.DirRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer closes(t, root)
			program, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: "/guest", Env: []string{"A=b"}})
			if err != nil {
				t.Fatal(err)
			}
			defer closes(t, program)
			o, err := host.HandOver(program, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer closes(t, o)
			c := newCell(t, cells)
			if err := o.ReplaceFolder(c.Folder); err != nil {
				t.Fatal(err)
			}
			p := start(t, Config{Worker: built.worker, Program: o, Reuse: wire.Fresh, Cell: c, Limits: vmexec.Limits{Output: 1 << 20}})
			if r := do(t, p, "read /theirs"); !strings.HasSuffix(string(r.Stdout), ", it begins with text") {
				t.Errorf("%q, %+v", r.Stdout, r)
			}
			// Its only capability is that to read.
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
			if want := fmt.Sprintf("CapEff:\t%016x", 1<<unix.CAP_DAC_READ_SEARCH); err != nil || !strings.Contains(string(status), want) {
				t.Errorf("%v, its status lacks %q:\n%s", err, want, status)
			}
		})
	}
}

// BenchmarkStart starts workers that are ready for an event, and ends them: as any
// process, and in a cell.
func BenchmarkStart(b *testing.B) {
	host, err := vmexec.Open(vmexec.KVM)
	if err != nil {
		b.Skip(err)
	}
	root, err := vmexec.ProgramRoot(built.guest)
	if err != nil {
		b.Fatal(err)
	}
	program, err := vmexec.NewProgram(vmexec.ProgramSpec{Root: root, Path: built.guest})
	if err != nil {
		b.Fatal(err)
	}
	limits := vmexec.Limits{Memory: 32 << 20, Wall: 10 * time.Second}
	s, err := host.NewSnapshot(b.Context(), program, limits, vmexec.Wait{})
	if err != nil {
		b.Fatal(err)
	}
	o, err := host.HandOver(program, s)
	if err != nil {
		b.Fatal(err)
	}
	cells := openCells(b)
	for _, level := range []struct {
		name string
		cell *cell.Cell
	}{{"level1", nil}, {"level2", newCell(b, cells)}} {
		b.Run(level.name, func(b *testing.B) {
			c := Config{Worker: built.worker, Program: o, Limits: limits, Reuse: wire.Once, Cell: level.cell}
			for b.Loop() {
				p, err := Start(b.Context(), c)
				if err != nil {
					b.Fatal(err)
				}
				_ = p.Close()
			}
		})
	}
}
