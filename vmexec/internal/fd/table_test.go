// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
)

type countFile struct {
	Base
	released int
}

func (c *countFile) Release() { c.released++ }

func mustInstall(t *testing.T, tab *Table, f File, cloexec bool, min, want int32) {
	t.Helper()
	got, errno := tab.Install(f, cloexec, min)
	if errno != abi.OK || got != want {
		t.Fatalf("Install(min %d) = %d, %v; want %d", min, got, errno, want)
	}
}

func fds(tab *Table) []int32 {
	var l []int32
	for _, d := range tab.List() {
		l = append(l, d.FD)
	}
	return l
}

func TestTableLowestFree(t *testing.T) {
	tab := NewTable(6)
	f := make([]countFile, 8)
	mustInstall(t, tab, &f[0], false, 0, 0)
	mustInstall(t, tab, &f[1], false, 3, 3)
	mustInstall(t, tab, &f[2], false, 0, 1)
	mustInstall(t, tab, &f[3], false, 0, 2)
	mustInstall(t, tab, &f[4], false, 0, 4)
	mustInstall(t, tab, &f[5], false, 5, 5)
	if _, errno := tab.Install(&f[6], false, 0); errno != abi.EMFILE {
		t.Errorf("Install into a full table: %v, want EMFILE", errno)
	}
	if errno := tab.Close(1); errno != abi.OK || f[2].released != 1 {
		t.Errorf("Close = %v, released %d times", errno, f[2].released)
	}
	for _, fd := range []int32{1, -1, 6, 1 << 30} {
		if errno := tab.Close(fd); errno != abi.EBADF {
			t.Errorf("Close(%d) = %v, want EBADF", fd, errno)
		}
		if _, errno := tab.Get(fd); errno != abi.EBADF {
			t.Errorf("Get(%d) = %v, want EBADF", fd, errno)
		}
	}
	if _, errno := tab.Install(&f[6], false, 2); errno != abi.EMFILE {
		t.Errorf("Install above the only hole: %v, want EMFILE", errno)
	}
	mustInstall(t, tab, &f[7], false, 0, 1)
	if d := cmp.Diff([]int32{0, 1, 2, 3, 4, 5}, fds(tab)); d != "" {
		t.Errorf("descriptors (-want +got):\n%s", d)
	}
	tab.CloseAll()
	for i, want := range []int{1, 1, 1, 1, 1, 1, 0, 1} {
		if f[i].released != want {
			t.Errorf("file %d released %d times, want %d", i, f[i].released, want)
		}
	}
}

func TestTableShares(t *testing.T) {
	tab := NewTable(64)
	f, g := &countFile{}, &countFile{}
	mustInstall(t, tab, f, true, 0, 0)
	d, _ := tab.Description(0)
	if fd, errno := tab.InstallDescription(d, false, 10); fd != 10 || errno != abi.OK {
		t.Fatalf("InstallDescription = %d, %v", fd, errno)
	}
	mustInstall(t, tab, g, false, 0, 1)
	if errno := tab.InstallAt(d, true, 1); errno != abi.OK || g.released != 1 {
		t.Fatalf("InstallAt = %v, old file released %d times", errno, g.released)
	}
	if errno := tab.InstallAt(d, true, 1); errno != abi.OK || f.released != 0 {
		t.Fatalf("InstallAt of the same file = %v, released %d times", errno, f.released)
	}
	for _, fd := range []int32{-1, 64} {
		if errno := tab.InstallAt(d, false, fd); errno != abi.EBADF {
			t.Errorf("InstallAt(%d) = %v, want EBADF", fd, errno)
		}
	}
	child := tab.Clone()
	child.CloseExec()
	if d := cmp.Diff([]int32{10}, fds(child)); d != "" {
		t.Errorf("after CloseExec (-want +got):\n%s", d)
	}
	if child.System() != tab.System() {
		t.Error("a clone has a System of its own")
	}
	tab.CloseAll()
	if f.released != 0 {
		t.Error("released while the clone has it open")
	}
	child.SetCloexecRange(0, 100)
	if on, errno := child.Cloexec(10); !on || errno != abi.OK {
		t.Errorf("Cloexec = %v, %v", on, errno)
	}
	child.CloseRange(11, ^uint32(0))
	child.CloseRange(0, 10)
	if f.released != 1 {
		t.Errorf("released %d times, want 1", f.released)
	}
	if errno := child.SetCloexec(10, true); errno != abi.EBADF {
		t.Errorf("SetCloexec of a closed descriptor = %v", errno)
	}
	mustInstall(t, child, g, false, 0, 0)
}

func TestBaseDefaults(t *testing.T) {
	b := &Base{Flags: unix.O_RDWR}
	if _, errno := b.Read(nil, 0); errno != abi.EINVAL {
		t.Errorf("Read: %v", errno)
	}
	if _, errno := b.Write(nil, 0); errno != abi.EINVAL {
		t.Errorf("Write: %v", errno)
	}
	if _, errno := b.Lseek(0, 0); errno != abi.ESPIPE {
		t.Errorf("Lseek: %v", errno)
	}
	if st, _ := b.Stat(); st.Mode != 0o600 || st.Nlink != 1 {
		t.Errorf("Stat: %+v", st)
	}
	b.SetStatusFlags(unix.O_WRONLY | unix.O_NONBLOCK | unix.O_CREAT)
	if got := b.StatusFlags(); got != unix.O_RDWR|unix.O_NONBLOCK {
		t.Errorf("StatusFlags = %#x", got)
	}
	if b.Queue() != nil || b.Readiness() != In|Out {
		t.Error("not always ready")
	}
	b.Release()
}

func TestBuffers(t *testing.T) {
	mk := func() Buffers { return Buffers{make([]byte, 3), {}, make([]byte, 2)} }
	b := mk()
	if n := b.CopyFrom([]byte("abcdefg")); n != 5 || b.Len() != 5 {
		t.Fatalf("CopyFrom = %d of %d", n, b.Len())
	}
	for _, tt := range []struct {
		name string
		b    Buffers
		want string
	}{
		{"all", b, "abcde"},
		{"skip 0", b.Skip(0), "abcde"},
		{"skip 2", b.Skip(2), "cde"},
		{"skip 3", b.Skip(3), "de"},
		{"skip 5", b.Skip(5), ""},
		{"skip 9", b.Skip(9), ""},
		{"take 0", b.Take(0), ""},
		{"take 3", b.Take(3), "abc"},
		{"take 4", b.Take(4), "abcd"},
		{"take 9", b.Take(9), "abcde"},
		{"middle", b.Skip(1).Take(3), "bcd"},
	} {
		p := make([]byte, 16)
		if got := string(p[:tt.b.CopyTo(p)]); got != tt.want || tt.b.Len() != len(tt.want) {
			t.Errorf("%s: %q of %d bytes, want %q", tt.name, got, tt.b.Len(), tt.want)
		}
	}
	p := make([]byte, 4)
	if n := b.CopyTo(p); n != 4 || string(p) != "abcd" {
		t.Errorf("CopyTo = %d, %q", n, p)
	}
}
