// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// unbounded is a budget that nothing shows of.
type unbounded struct{}

func (unbounded) Charge(int64) bool { return true }
func (unbounded) Release(int64)     {}

// cwdOnly is a ProcInfo of one process, of which only the directory is asked.
type cwdOnly struct{ a *actor }

func (cwdOnly) Self() (pid, tid int)  { return 1, 1 }
func (cwdOnly) PIDs() []int           { return []int{1} }
func (cwdOnly) System() System        { return System{} }
func (c cwdOnly) Process(int) Process { return cwdProcess{a: c.a} }

type cwdProcess struct {
	Process
	a *actor
}

func (c cwdProcess) Cwd() Path { return c.a.cwd }

// A tree that forgets what it found after each operation shows the same as one that
// remembers everything, in clones too.
func TestForgetDifferential(t *testing.T) {
	lower := seededLower(t)
	forgotten := 0
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			plain, sweeping := newActor(t, lower, 1<<20), newActor(t, lower, 1<<20)
			plain.fs.budget, sweeping.fs.budget = unbounded{}, unbounded{}
			for part := range uint64(3) {
				a, b := &script{randomScript(3*seed+part, 700)}, &script{randomScript(3*seed+part, 700)}
				for n := 0; len(a.data) > 0; n++ {
					w, g := plain.step(a), sweeping.step(b)
					if w != g {
						t.Fatalf("part %d, step %d:\nwant %.600s\ngot  %.600s", part, n, w, g)
					}
					sweeping.fs.proc = cwdOnly{sweeping}
					before := len(sweeping.fs.found)
					sweeping.fs.sweep()
					forgotten += before - len(sweeping.fs.found)
					sweeping.fs.proc = nil
				}
				diffStates(t, fmt.Sprint("after part ", part), plain.state(t)[1:], sweeping.state(t)[1:])
				plain, sweeping = plain.clone(t, plain.fs.Freeze()), sweeping.clone(t, sweeping.fs.Freeze())
				plain.fs.budget, sweeping.fs.budget = unbounded{}, unbounded{}
			}
		})
	}
	if forgotten < 1000 {
		t.Errorf("only %d names were forgotten", forgotten)
	}
}

// A walk through a large tree is charged for no more than a part of it, and gives
// everything back.
func TestForgetBounded(t *testing.T) {
	m := NewMemory(0)
	const dirs, files = 50, 200
	for i := range dirs {
		for j := range files {
			if err := m.AddBytes(fmt.Sprintf("d%d/f%d", i, j), 0o644, []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
	}
	fs := newFS(t, m)
	start := fs.meta
	var most int64
	for range 2 {
		for i := range dirs {
			for j := range files {
				if _, errno := fs.Resolve(fs.Root(), fmt.Sprintf("/d%d/f%d", i, j), 0); errno != 0 {
					t.Fatal(errno)
				}
				most = max(most, fs.meta-start)
				fs.Tidy()
			}
		}
	}
	if limit := int64(3 * minSweep * (metaCost + 40)); most > limit {
		t.Errorf("%d bytes were charged, want at most %d", most, limit)
	}
	// What is open stays what it is.
	f, errno := fs.Open(fs.Root(), "/d1/f1", unix.O_RDONLY, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	fs.sweep()
	fs.sweep()
	if errno := fs.Rename(fs.Root(), "/d1/f1", fs.Root(), "/moved", 0); errno != 0 {
		t.Fatal(errno)
	}
	if p := f.(Located).Path().String(); p != "/moved" {
		t.Errorf("an open file that was renamed is at %s", p)
	}
	if got := read(f, 10); got != "x" {
		t.Errorf("read %q", got)
	}
	f.Release()
	if errno := fs.Unlink(fs.Root(), "/moved"); errno != 0 {
		t.Fatal(errno)
	}
	fs.sweep()
	fs.sweep()
	if len(fs.found) != 1 { // d1, which hides a name
		t.Errorf("%d names are remembered", len(fs.found))
	}
}
