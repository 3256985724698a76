// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/fd"
)

// sizeOf returns the size of a file.
func sizeOf(t *testing.T, fs *FS, path string) int64 {
	t.Helper()
	p, errno := fs.Resolve(fs.Root(), path, 0)
	if errno != 0 {
		t.Fatal(path, errno)
	}
	at, errno := p.Attr()
	want(t, "attributes", errno, 0)
	return at.Stat.Size
}

const eventPath = EventFolder + "/" + EventName

// TestEventFile holds that the file waits for its event in an FS and in its clones,
// each of which has its own, and is the image's again after a reset.
func TestEventFile(t *testing.T) {
	fs := newFS(t, nil)
	in := fd.NewWaitingInput()
	want(t, "add", fs.AddEvent(in), 0)
	if got := names(t, fs, EventFolder); !slices.Equal(got, []string{EventName}) {
		t.Errorf("%s: %q", EventFolder, got)
	}
	p, errno := fs.Resolve(fs.Root(), eventPath, 0)
	want(t, "resolve", errno, 0)
	want(t, "access", fs.Access(p, unix.R_OK|unix.W_OK), 0)
	if in.Asked() {
		t.Error("to look whether the file is there is no question for the event")
	}
	if !p.Awaits() || !in.Asked() || fs.EventQueue() != in.Queue() {
		t.Errorf("awaits %v, asked %v, queue %p", p.Awaits(), in.Asked(), fs.EventQueue())
	}
	_, errno = fs.Open(fs.Root(), eventPath, unix.O_RDONLY, 0, 0)
	want(t, "open without an event", errno, abi.EAGAIN)
	want(t, "truncate without an event", fs.Truncate(p, 1), abi.EAGAIN)

	z := fs.Freeze()
	for _, event := range []string{"one", strings.Repeat("large ", 10000), ""} {
		c := z.Clone(CloneConfig{})
		own := fd.NewWaitingInput()
		c.SetEvent(own)
		for range 2 {
			_, errno = c.Open(c.Root(), eventPath, unix.O_RDWR|unix.O_TRUNC, 0, 0)
			want(t, "open without an event", errno, abi.EAGAIN)
			own.Deliver([]byte(event))
			if own.Read(fd.Buffers{make([]byte, 2)}, fd.CurrentOffset); c.EventQueue() != nil {
				t.Error("a queue although there is an event")
			}
			if got := sizeOf(t, c, eventPath); got != int64(len(event)) {
				t.Errorf("size %d of %d", got, len(event))
			}
			if got := get(t, c, eventPath); got != event {
				t.Errorf("%.20q of %d bytes, want %.20q", got, len(got), event)
			}
			f := mustOpen(t, c, eventPath, unix.O_RDWR|unix.O_TRUNC)
			if got := sizeOf(t, c, eventPath); got != 0 {
				t.Errorf("size %d after O_TRUNC: what the program has removed comes again", got)
			}
			f.Release()
			c.Reset()
			own = fd.NewWaitingInput()
			c.SetEvent(own)
		}
		if c.Changed() {
			t.Error("a reset leaves something")
		}
	}
}

// TestEventFileNoRoom holds that an event that does not fit is an error each time, and
// never a part of it.
func TestEventFileNoRoom(t *testing.T) {
	fs, err := New(Config{Budget: &fixedBudget{total: 40, free: 40}})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	want(t, "add", fs.AddEvent(fd.NewEventInput(make([]byte, 60*pageSize))), 0)
	for range 2 {
		_, errno := fs.Open(fs.Root(), eventPath, unix.O_RDONLY, 0, 0)
		want(t, "open", errno, abi.ENOMEM)
	}
	if got := sizeOf(t, fs, eventPath); got != 0 {
		t.Errorf("size %d", got)
	}
}

func TestEventFileRoots(t *testing.T) {
	for name, lower := range map[string]struct {
		make func(m *Memory) error
		none bool
	}{
		"none":      {make: func(*Memory) error { return nil }},
		"its own":   {make: func(m *Memory) error { return m.AddBytes(eventPath, 0o600, []byte("of the image")) }},
		"a file":    {make: func(m *Memory) error { return m.AddBytes(EventFolder, 0o600, []byte("of the image")) }},
		"link":      {make: func(m *Memory) error { return errorsOf(m.AddSymlink("/etc", "usr/etc"), m.AddDir("/usr/etc", 0o755)) }},
		"dangling":  {make: func(m *Memory) error { return m.AddSymlink("/etc", "nowhere") }, none: true},
		"etc file":  {make: func(m *Memory) error { return m.AddBytes("/etc", 0o644, []byte("no")) }, none: true},
		"etc loops": {make: func(m *Memory) error { return m.AddSymlink("/etc", "etc") }, none: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMemory(0)
			if err := lower.make(m); err != nil {
				t.Fatal(err)
			}
			fs := newFS(t, m)
			want(t, "add", fs.AddEvent(fd.NewEventInput([]byte("the event"))), 0)
			f, errno := fs.Open(fs.Root(), eventPath, unix.O_RDONLY, 0, 0)
			if lower.none {
				if errno == 0 {
					t.Error("there is an event file in what is no folder")
				}
				return
			}
			want(t, "open", errno, 0)
			if got := read(f, 99); got != "the event" {
				t.Errorf("%q", got)
			}
			f.Release()
		})
	}
}

// BenchmarkEventFile is what the file costs: making it with the tree, which every
// program with an event pays, and reading the event from it in a clone, with the reset.
func BenchmarkEventFile(b *testing.B) {
	for _, file := range []bool{false, true} {
		b.Run(fmt.Sprintf("tree/%v", file), func(b *testing.B) {
			in := fd.NewWaitingInput()
			b.ReportAllocs()
			for b.Loop() {
				fs, err := New(Config{})
				if err != nil {
					b.Fatal(err)
				}
				if file {
					fs.AddEvent(in)
				}
				fs.Close()
			}
		})
	}
	for _, size := range []int{1 << 10, 1 << 20} {
		b.Run(fmt.Sprintf("read/%d", size), func(b *testing.B) {
			fs := newFS(b, nil)
			fs.AddEvent(fd.NewWaitingInput())
			c := fs.Freeze().Clone(CloneConfig{})
			event, data := make([]byte, size), fd.Buffers{make([]byte, size)}
			b.ReportAllocs()
			for b.Loop() {
				c.SetEvent(fd.NewEventInput(event))
				f, _ := c.Open(c.Root(), eventPath, unix.O_RDONLY, 0, 0)
				f.Read(data, fd.CurrentOffset)
				f.Release()
				c.Reset()
			}
		})
	}
}
