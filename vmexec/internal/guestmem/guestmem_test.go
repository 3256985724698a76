// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guestmem

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func newMemory(t *testing.T, pages uint64) *Memory {
	t.Helper()
	m, err := New(pages * PageSize)
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

// newFile makes a file of n pages, each full of its number from 1.
func newFile(t *testing.T, n int) int {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	for i := range n {
		if _, err := unix.Pwrite(fd, bytes.Repeat([]byte{byte(i%255 + 1)}, PageSize), int64(i)*PageSize); err != nil {
			t.Fatal(err)
		}
	}
	return fd
}

func isAll(b []byte, want byte) bool {
	for _, c := range b {
		if c != want {
			return false
		}
	}
	return true
}

func TestAllocLimit(t *testing.T) {
	m := newMemory(t, 8)
	seen := map[uint64]bool{}
	var runs []Run
	for range 8 {
		gpa, err := m.Alloc()
		if err != nil || seen[gpa] || !isAll(m.Page(gpa), 0) {
			t.Fatalf("page %#x, given before: %v, error %v", gpa, seen[gpa], err)
		}
		seen[gpa] = true
		m.Page(gpa)[7] = 1
		runs = AddPage(runs, gpa)
	}
	if _, err := m.Alloc(); !errors.Is(err, ErrLimit) {
		t.Errorf("beyond the limit: %v", err)
	}
	if _, err := m.AllocRun(1); !errors.Is(err, ErrLimit) {
		t.Errorf("a run beyond the limit: %v", err)
	}
	if d := cmp.Diff([]Run{{0, 8 * PageSize}}, runs); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if err := m.Free([]Run{{2 * PageSize, 5 * PageSize}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{2, 3, 4} {
		gpa, err := m.Alloc()
		if err != nil || gpa != want*PageSize || !isAll(m.Page(gpa), 0) {
			t.Errorf("page %#x, error %v; want the freed page %d, cleared", gpa, err, want)
		}
	}
	if m.Used() != 8 || m.Peak() != 8 || m.Limit() != 8 {
		t.Errorf("used %d, peak %d, limit %d", m.Used(), m.Peak(), m.Limit())
	}
}

func TestAllocRunOverflow(t *testing.T) {
	m := newMemory(t, 8)
	for _, n := range []uint64{9, 1 << 52, 1<<52 + 1, ^uint64(0)} {
		if _, err := m.AllocRun(n); !errors.Is(err, ErrLimit) {
			t.Errorf("%#x pages: %v", n, err)
		}
	}
	if m.Used() != 0 {
		t.Errorf("%d pages used", m.Used())
	}
}

func TestCharge(t *testing.T) {
	m := newMemory(t, 8)
	if !m.Charge(6) || m.Charge(3) || m.Charge(^uint64(0)) || !m.Charge(2) {
		t.Error("6 and 2 fit, 3 more and all do not")
	}
	if _, err := m.Alloc(); !errors.Is(err, ErrLimit) {
		t.Errorf("what is charged counts: %v", err)
	}
	m.Release(8)
	m.Release(1)
	if m.Used() != 0 || m.Peak() != 8 {
		t.Errorf("used %d, peak %d", m.Used(), m.Peak())
	}
}

func TestGrow(t *testing.T) {
	m := newMemory(t, (firstSlot+nextSlot+5*PageSize)/PageSize)
	if _, err := m.Alloc(); err != nil {
		t.Fatal(err)
	}
	var got []Run
	fail := errors.New("no slot")
	grow := func(slot int, r Run, host []byte) error {
		if slot == 2 {
			return fail
		}
		if slot != len(got) || uint64(len(host)) != r.End-r.Start {
			t.Errorf("slot %d of %d, %d bytes for %v", slot, len(got), len(host), r)
		}
		got = append(got, r)
		return nil
	}
	if err := m.OnGrow(grow); err != nil {
		t.Fatal(err)
	}
	if _, err := m.AllocRun(firstSlot / PageSize); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]Run{{0, firstSlot}, {firstSlot, firstSlot + nextSlot}}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	used := m.Used()
	if _, err := m.AllocRun(nextSlot / PageSize); !errors.Is(err, fail) || m.Used() != used {
		t.Errorf("a slot that cannot be made: %v, %d pages used, want %d", err, m.Used(), used)
	}
}

func TestMapFile(t *testing.T) {
	m := newMemory(t, 64)
	fd := newFile(t, 10)
	if _, err := m.Alloc(); err != nil {
		t.Fatal(err)
	}
	gpa, err := m.MapFile(fd, PageSize, 8)
	if err != nil {
		t.Fatal(err)
	}
	page := func(i int) []byte { return m.Page(gpa + uint64(i)*PageSize) }
	run := func(i, j int) Run { return Run{gpa + uint64(i)*PageSize, gpa + uint64(j)*PageSize} }
	check := func(what string, want ...byte) {
		t.Helper()
		for i, w := range want {
			if !isAll(page(i), w) {
				t.Errorf("%s: page %d holds %d, want %d", what, i, page(i)[0], w)
			}
		}
	}
	check("mapped", 2, 3, 4, 5, 6, 7, 8, 9)
	clear(page(0))
	var b [1]byte
	if _, err := unix.Pread(fd, b[:], PageSize); err != nil || b[0] != 2 {
		t.Errorf("a write reached the file: %d, %v", b[0], err)
	}
	if err := m.Zero([]Run{run(2, 3)}); err != nil { // splits
		t.Fatal(err)
	}
	check("split", 0, 3, 0, 5, 6, 7, 8, 9)
	if err := m.Free([]Run{run(0, 1), run(3, 5)}); err != nil { // trims both
		t.Fatal(err)
	}
	check("trimmed", 0, 3, 0, 0, 0, 7, 8, 9)
	if d := cmp.Diff([]Run{run(1, 2), run(5, 8)}, m.files); d != "" {
		t.Errorf("file ranges (-want +got):\n%s", d)
	}
	if err := m.Free([]Run{run(5, 8), run(1, 3)}); err != nil {
		t.Fatal(err)
	}
	check("gone", 0, 0, 0, 0, 0, 0, 0, 0)
	if len(m.files) != 0 || m.Used() != 1 || len(m.free) != 8 {
		t.Errorf("files %v, used %d, %d free", m.files, m.Used(), len(m.free))
	}
	if _, err := m.MapFile(-1, 0, 2); err == nil || m.Used() != 1 || len(m.free) != 10 {
		t.Errorf("a bad descriptor: %v, used %d, %d free", err, m.Used(), len(m.free))
	}
}

func mappings(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte{'\n'})
}

// A program must not use up the host's mappings, which all VMs share.
func TestMapFileManyHoles(t *testing.T) {
	const n = 4 * maxFiles
	m := newMemory(t, 2*n)
	gpa, err := m.MapFile(newFile(t, n), 0, n)
	if err != nil {
		t.Fatal(err)
	}
	before := mappings(t)
	for i := uint64(1); i < n; i += 2 {
		at := gpa + i*PageSize
		if err := m.Free([]Run{{at, at + PageSize}}); err != nil {
			t.Fatal(err)
		}
	}
	for i := uint64(0); i < n; i++ {
		want := byte(0)
		if i%2 == 0 {
			want = byte(i%255 + 1)
		}
		if p := m.Page(gpa + i*PageSize); !isAll(p, want) {
			t.Fatalf("page %d holds %d, want %d", i, p[0], want)
		}
	}
	if d := mappings(t) - before; d > 2*maxFiles+16 {
		t.Errorf("%d host mappings more", d)
	}
	// What was cleared in place is given out, used and freed like any page.
	for range n / 2 {
		at, err := m.Alloc()
		if err != nil || !isAll(m.Page(at), 0) {
			t.Fatalf("page %#x is not clear, or %v", at, err)
		}
		m.Page(at)[1] = 9
		if at%(8*PageSize) == PageSize {
			if err := m.Zero([]Run{{at, at + PageSize}}); err != nil || !isAll(m.Page(at), 0) {
				t.Fatalf("page %#x is not clear, or %v", at, err)
			}
		}
	}
	if err := m.Free([]Run{{gpa, gpa + n*PageSize}}); err != nil {
		t.Fatal(err)
	}
	if !isAll(m.Bytes(gpa, n*PageSize), 0) || len(m.files) != 0 || m.Used() != 0 {
		t.Errorf("not clear, or %d files, %d used", len(m.files), m.Used())
	}
}

func TestResident(t *testing.T) {
	if pagemap() == nil {
		t.Skip("no /proc/self/pagemap")
	}
	m := newMemory(t, 2048)
	gpa, err := m.AllocRun(1030)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]bool, 1031)
	page := func(i uint64) []byte { return m.Page(gpa + i*PageSize) }
	page(1)[0] = 1
	sink := page(3)[9] // a read is enough
	page(1029)[0] = sink
	page(5)[0] = 1
	if err := m.Zero([]Run{{gpa + 5*PageSize, gpa + 6*PageSize}}); err != nil {
		t.Fatal(err)
	}
	want[1], want[3], want[1029] = true, true, true
	if _, err := m.MapFile(newFile(t, 1), 0, 1); err != nil { // a file is never all zeros
		t.Fatal(err)
	}
	want[1030] = true
	got, err := m.Resident(Run{gpa, gpa + 1031*PageSize})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestInvalidate(t *testing.T) {
	m := newMemory(t, 1024)
	gpa, err := m.AllocRun(1024)
	if err != nil {
		t.Fatal(err)
	}
	var runs []Run
	for i := uint64(0); i < 1024; i++ {
		p := gpa + i*PageSize
		m.Page(p)[0] = byte(i)
		if i%2 == 0 {
			runs = AddPage(runs, p)
		}
	}
	before := mappings(t)
	if err := m.Invalidate(runs); err != nil {
		t.Fatal(err)
	}
	for i := uint64(0); i < 1024; i++ {
		if m.Page(gpa + i*PageSize)[0] != byte(i) {
			t.Fatalf("page %d changed", i)
		}
	}
	if d := mappings(t) - before; d > 8 {
		t.Errorf("%d host mappings more: they must join again", d)
	}
}

func ExampleAddPage() {
	var runs []Run
	for _, gpa := range []uint64{0x1000, 0x2000, 0x4000} {
		runs = AddPage(runs, gpa)
	}
	fmt.Printf("%#x\n", runs)
	// Output: [{0x1000 0x3000} {0x4000 0x5000}]
}
