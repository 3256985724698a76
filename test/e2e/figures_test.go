// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// figures are what a server holds.
type figures struct {
	Events      int `json:"events"` // sent before
	RSS         int `json:"rssKiB"`
	Anonymous   int `json:"rssAnonymousKiB"`
	File        int `json:"rssFileKiB"`
	Shared      int `json:"rssSharedKiB"`
	Threads     int `json:"threads"`
	Descriptors int `json:"descriptors"`
	Memfds      int `json:"memfds"` // descriptors that are anonymous memory
	Mappings    int `json:"mappings"`
	Children    int `json:"children"`  // its processes
	DiskKiB     int `json:"diskKiB"`   // of the folders that it writes to
	DiskFiles   int `json:"diskFiles"` // in them
}

func (f figures) String() string {
	return fmt.Sprintf("RSS %d KiB (anonymous %d, files %d, shared %d), %d threads, %d descriptors (%d memfd), %d mappings, %d children, %d KiB in %d files",
		f.RSS, f.Anonymous, f.File, f.Shared, f.Threads, f.Descriptors, f.Memfds, f.Mappings, f.Children, f.DiskKiB, f.DiskFiles)
}

// children returns the processes that a process has started.
func children(t *testing.T, pid int) []int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range files {
		b, _ := os.ReadFile(file) // its thread may have ended
		for _, field := range strings.Fields(string(b)) {
			child, err := strconv.Atoi(field)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			pids = append(pids, child)
		}
	}
	return pids
}

// measure returns what the server holds now, and what is in the folders.
func measure(t *testing.T, pid int, folders ...string) figures {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string) int {
		for line := range strings.Lines(string(status)) {
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				n, err := strconv.Atoi(strings.Fields(rest)[0])
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		t.Fatalf("no %s in %sstatus", name, proc)
		return 0
	}
	f := figures{RSS: value("VmRSS"), Anonymous: value("RssAnon"), File: value("RssFile"), Shared: value("RssShmem"), Threads: value("Threads")}
	fds, err := os.ReadDir(proc + "fd")
	if err != nil {
		t.Fatal(err)
	}
	f.Descriptors = len(fds)
	for _, fd := range fds {
		if target, err := os.Readlink(proc + "fd/" + fd.Name()); err == nil && strings.Contains(target, "memfd:") {
			f.Memfds++
		}
	}
	f.Children = len(children(t, pid))
	maps, err := os.ReadFile(proc + "maps")
	if err != nil {
		t.Fatal(err)
	}
	f.Mappings = bytes.Count(maps, []byte("\n"))
	for _, dir := range folders {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			var st unix.Stat_t
			if err == nil {
				err = unix.Lstat(path, &st)
			}
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed meanwhile
			}
			f.DiskFiles++
			f.DiskKiB += int(st.Blocks / 2)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// settle measures when nothing runs any more, which is when two measurements
// are alike: machines are freed after the answer to their event, or when they
// were idle, and net/http keeps a connection for half a second after it refused
// a body.
func settle(t *testing.T, pid int, folders ...string) figures {
	t.Helper()
	time.Sleep(soakIdle + soakIdle/2)
	last := measure(t, pid, folders...)
	for range 50 {
		time.Sleep(700 * time.Millisecond)
		now := measure(t, pid, folders...)
		if now.Children == 0 && now.Descriptors == last.Descriptors && now.Mappings == last.Mappings && now.Shared == last.Shared && now.DiskKiB == last.DiskKiB {
			return now
		}
		last = now
	}
	t.Errorf("the server does not come to rest: %v", last)
	return last
}

// goroutines ends the server with SIGQUIT, upon which Go's runtime prints every
// goroutine, and returns what started them and how many each. Those of the
// runtime, such as the garbage collector's, come when they are needed first.
func (s *server) goroutines() map[string]int {
	s.t.Helper()
	s.signal(unix.SIGQUIT)
	s.wait()
	list := make(map[string]int)
	for line := range strings.Lines(s.stderr.String()) {
		if by, ok := strings.CutPrefix(line, "created by "); ok && !strings.HasPrefix(by, "runtime.") {
			by, _, _ = strings.Cut(strings.TrimSpace(by), " in goroutine")
			list[by]++
		}
	}
	return list
}

func longest(d []time.Duration) time.Duration { return slices.Max(d).Round(10 * time.Microsecond) }

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2].Round(10 * time.Microsecond)
}
