// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vfs

import (
	"strings"
	"testing"
	"time"
)

// A guest may nest folders as deep as its memory allows. The text of such a path
// must not hold up the monitor, which serves one call at a time.
func TestDeepPath(t *testing.T) {
	fs, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer fs.Close()
	at, errno := fs.Resolve(fs.Root(), "/tmp", Directory)
	if errno != 0 {
		t.Fatal(errno)
	}
	const depth = 20_000
	name := strings.Repeat("x", NameMax)
	for range depth {
		if errno := fs.Mkdir(at, name, 0o755); errno != 0 {
			t.Fatal(errno)
		}
		if at, errno = fs.Resolve(at, name, Directory); errno != 0 {
			t.Fatal(errno)
		}
	}
	start := time.Now()
	s := at.String()
	if d := time.Since(start); d > 2*time.Second {
		t.Errorf("a path of %d folders took %v", depth, d)
	}
	if want := "/tmp" + strings.Repeat("/"+name, depth); s != want {
		t.Errorf("%d bytes that begin with %.20q, want %d", len(s), s, len(want))
	}
}
