// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func newShared(t *testing.T, pages uint64) *Memory {
	t.Helper()
	m, err := NewShared(pages * PageSize)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// What one mapping of the file writes every other sees, and what is dropped is
// dropped for all.
func TestShared(t *testing.T) {
	m := newShared(t, 64)
	var forgotten []Run
	m.OnForget(func(r Run) { forgotten = append(forgotten, r) })
	other, err := unix.Mmap(m.FD(), 0, 64*PageSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(other) }()
	gpa, err := m.MapFile(newFile(t, 3), PageSize, 4)
	if err != nil {
		t.Fatal(err)
	}
	page := func(i uint64) []byte { return other[gpa+i*PageSize : gpa+(i+1)*PageSize] }
	for i, want := range []byte{2, 3, 0, 0} {
		if !isAll(page(uint64(i)), want) {
			t.Errorf("page %d holds %d, want %d", i, page(uint64(i))[0], want)
		}
	}
	page(3)[0] = 9
	if m.Page(gpa + 3*PageSize)[0] != 9 {
		t.Error("a write of the other mapping is not seen")
	}
	there, err := m.Resident(Run{gpa, gpa + 8*PageSize})
	if err != nil {
		t.Fatal(err)
	}
	there[2] = false // a read of a hole may fill it
	if d := cmp.Diff([]bool{true, true, false, true, false, false, false, false}, there); d != "" {
		t.Errorf("resident (-want +got):\n%s", d)
	}
	if err := m.Zero([]Run{{gpa, gpa + PageSize}}); err != nil || len(forgotten) != 0 {
		t.Errorf("%v, forgotten %v", err, forgotten)
	}
	if err := m.Invalidate([]Run{{gpa + PageSize, gpa + 2*PageSize}}); err != nil {
		t.Fatal(err)
	}
	if err := m.Free([]Run{{gpa + 3*PageSize, gpa + 4*PageSize}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []byte{0, 3, 0, 0} {
		if !isAll(page(uint64(i)), want) {
			t.Errorf("page %d holds %d, want %d", i, page(uint64(i))[0], want)
		}
	}
	if d := cmp.Diff([]Run{{gpa + PageSize, gpa + 2*PageSize}, {gpa + 3*PageSize, gpa + 4*PageSize}}, forgotten); d != "" {
		t.Errorf("forgotten (-want +got):\n%s", d)
	}
	if _, err := m.MapFile(-1, 0, 2); err == nil || m.Used() != 3 {
		t.Errorf("a bad descriptor: %v, %d pages used", err, m.Used())
	}
}

func TestCloneShared(t *testing.T) {
	m := newShared(t, 64)
	gpa, err := m.AllocRun(8)
	if err != nil {
		t.Fatal(err)
	}
	m.Page(gpa)[0], m.Page(gpa + 2*PageSize)[5] = 1, 2
	img, err := m.Freeze()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = img.Close() }()
	c, err := img.CloneShared()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	none := func(uint64) bool { return false }
	if d := c.Differences(none); len(d) != 0 || c.FD() < 0 {
		t.Fatalf("differs at %#x, or is not shared", d)
	}
	var forgotten []Run
	c.OnForget(func(r Run) { forgotten = append(forgotten, r) })
	for range 3 {
		c.Page(gpa)[0], c.Page(gpa + 5*PageSize)[7] = 9, 9
		born, err := c.AllocRun(2)
		if err != nil {
			t.Fatal(err)
		}
		c.Page(born)[1] = 9
		forgotten = nil
		st, err := c.Reset(none)
		if err != nil || st.Dirty != 2 || st.Dropped != 2 {
			t.Fatalf("%+v, %v", st, err)
		}
		if d := c.Differences(none); len(d) != 0 || c.Page(born)[1] != 0 {
			t.Fatalf("differs at %#x, or what was born lives", d)
		}
		if d := cmp.Diff([]Run{{born, born + 2*PageSize}}, forgotten); d != "" {
			t.Errorf("forgotten (-want +got):\n%s", d)
		}
	}
}
