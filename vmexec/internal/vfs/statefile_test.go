// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

func write(t *testing.T, fs *FS, path, contents string) {
	t.Helper()
	f := mustOpen(t, fs, path, unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if n, errno := f.Write(fd.Buffers{[]byte(contents)}, fd.CurrentOffset); errno != 0 || n != len(contents) {
		t.Fatal(n, errno)
	}
	f.Release()
}

func wantState(t *testing.T, fs *FS, contents, why string) {
	t.Helper()
	b, got := fs.State(10)
	if string(b) != contents || !strings.Contains(got, why) || (got == "") != (why == "") {
		t.Errorf("state %q, %q; want %q, %q", b, got, contents, why)
	}
}

// TestStateFile holds that the state comes with the event, also in clones, and that a
// reset takes it back with what the program made of it.
func TestStateFile(t *testing.T) {
	fs := newFS(t, nil)
	want(t, "add the event", fs.AddEvent(fd.NewWaitingInput()), 0)
	want(t, "add", fs.AddState(), 0)
	_, errno := fs.Open(fs.Root(), StatePath, unix.O_RDONLY, 0, 0)
	want(t, "open without an event", errno, abi.EAGAIN)
	c := fs.Freeze().Clone(CloneConfig{})
	for _, state := range []string{"one", "", "three"} {
		own := fd.NewWaitingInput()
		c.SetEvent(own)
		_, errno := c.Open(c.Root(), StatePath, unix.O_RDWR, 0, 0)
		want(t, "open without an event", errno, abi.EAGAIN)
		c.SetState([]byte(state))
		own.Deliver([]byte("event"))
		wantState(t, c, state, "") // nobody has looked at it
		if got := get(t, c, StatePath); got != state || sizeOf(t, c, StatePath) != int64(len(state)) {
			t.Errorf("%q, want %q", got, state)
		}
		write(t, c, StatePath, "next")
		wantState(t, c, "next", "")
		write(t, c, "/new", "10 bytes, ")
		want(t, "rename", c.Rename(c.Root(), "/new", c.Root(), StatePath, 0), 0)
		wantState(t, c, "10 bytes, ", "")
		write(t, c, StatePath, "eleven byte")
		wantState(t, c, "", "it has 11 bytes, where 10 are the most")
		want(t, "unlink", c.Unlink(c.Root(), StatePath), 0)
		wantState(t, c, "", "")
		want(t, "mkdir", c.Mkdir(c.Root(), StatePath, 0o700), 0)
		wantState(t, c, "", "it is not a regular file")
		c.Reset()
	}
	if c.Changed() {
		t.Error("a reset leaves something")
	}
}

// TestStateFileTalk holds that without an event file the state file is empty at first.
func TestStateFileTalk(t *testing.T) {
	m := NewMemory(0)
	if err := m.AddBytes(StatePath, 0o600, []byte("of the image")); err != nil {
		t.Fatal(err)
	}
	fs := newFS(t, m)
	want(t, "add", fs.AddState(), 0)
	if got := get(t, fs, StatePath); got != "" {
		t.Errorf("%q", got)
	}
	c := fs.Freeze().Clone(CloneConfig{})
	c.SetState([]byte("state"))
	if got := get(t, c, StatePath); got != "state" {
		t.Errorf("%q", got)
	}

	m = NewMemory(0)
	if err := m.AddDir(StatePath, 0o755); err != nil {
		t.Fatal(err)
	}
	want(t, "add over a folder", newFS(t, m).AddState(), abi.EISDIR)
}
