// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/fd"
)

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestRandomReadIsBounded: buffers that name the same memory many times must not
// keep the monitor busy for as long as they like; see random(4).
func TestRandomReadIsBounded(t *testing.T) {
	fs, err := New(Config{Rand: zeros{}})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	f, errno := fs.Open(fs.Root(), "/dev/urandom", unix.O_RDONLY, 0, 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	defer f.Release()
	one := make([]byte, 1<<20)
	dst := make(fd.Buffers, 64)
	for i := range dst {
		dst[i] = one
	}
	if n, errno := f.Read(dst, fd.CurrentOffset); errno != 0 || n != maxRandomRead {
		t.Errorf("read %d bytes (errno %v), want %d", n, errno, maxRandomRead)
	}
	if n, errno := f.Read(dst[:3], fd.CurrentOffset); errno != 0 || n != 3<<20 {
		t.Errorf("read %d bytes (errno %v), want %d", n, errno, 3<<20)
	}
}
