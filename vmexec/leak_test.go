// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// usage is what a process must not have more of after many runs.
type usage struct {
	descriptors, threads, mappings, goroutines int
	rss                                        int // KiB
}

func (u usage) String() string {
	return fmt.Sprintf("%d descriptors, %d threads, %d mappings, %d goroutines, %d KiB resident", u.descriptors, u.threads, u.mappings, u.goroutines, u.rss)
}

func measure(t *testing.T) usage {
	t.Helper()
	debug.FreeOSMemory()
	entries := func(dir string) int {
		e, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(e)
	}
	read := func(file string) []byte {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	u := usage{
		descriptors: entries("/proc/self/fd"), threads: entries("/proc/self/task"),
		mappings: bytes.Count(read("/proc/self/maps"), []byte{'\n'}), goroutines: runtime.NumGoroutine(),
	}
	for line := range strings.Lines(string(read("/proc/self/status"))) {
		_, _ = fmt.Sscanf(line, "VmRSS: %d", &u.rss)
	}
	return u
}

// leakCase is one way for a run to end.
type leakCase struct {
	name    string
	program *vmexec.Program
	limits  vmexec.Limits
	cancel  time.Duration
	io      func() vmexec.IO
	want    vmexec.Reason
}

func leakCases(t *testing.T) []leakCase {
	echo := program(t, nil, func(a *asm) {
		a.call(unix.SYS_READ, 0, dataVA, 64).call(unix.SYS_WRITE, 1, dataVA, 5).exit(0)
	})
	spin := program(t, nil, func(a *asm) { a.raw(0xeb, 0xfe) })
	const forever = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_FIXED
	event := func() vmexec.IO { return vmexec.IO{Event: []byte("event")} }
	none := func() vmexec.IO { return vmexec.IO{} }
	return []leakCase{
		{name: "event", program: echo, io: event, want: vmexec.Exited},
		{name: "streams", program: echo, io: func() vmexec.IO {
			return vmexec.IO{Stdin: strings.NewReader("event"), Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}
		}, want: vmexec.Exited},
		{name: "fault", program: program(t, nil, func(a *asm) { a.raw(0x0f, 0x0b) }), io: event, want: vmexec.Signaled},
		{name: "spin to the wall", program: spin, limits: vmexec.Limits{Wall: 3 * time.Millisecond}, io: none, want: vmexec.WallLimit},
		{name: "spin to the CPU limit", program: spin, limits: vmexec.Limits{CPU: 3 * time.Millisecond}, io: none, want: vmexec.CPULimit},
		{name: "canceled", program: spin, cancel: 2 * time.Millisecond, io: none, want: vmexec.Canceled},
		{name: "deadlock", program: program(t, nil, func(a *asm) { a.call(unix.SYS_PAUSE) }), io: none, want: vmexec.Deadlock},
		{name: "memory", program: program(t, nil, func(a *asm) {
			a.call(unix.SYS_MMAP, 0x1000_0000, 1<<30, 3, forever, ^uint64(0), 0)
			a.mov(rbx, 0x1000_0000).loop(func() { a.raw(0xc6, 0x03, 0x01, 0x48, 0x81, 0xc3, 0, 0x10, 0, 0) })
		}), limits: vmexec.Limits{Memory: vmexec.MinMemory}, io: none, want: vmexec.MemoryLimit},
		{name: "output", program: program(t, nil, func(a *asm) {
			a.loop(func() { a.call(unix.SYS_WRITE, 1, codeVA, 64) })
		}), limits: vmexec.Limits{Output: 256}, io: none, want: vmexec.OutputLimit},
		{name: "killed by itself", program: program(t, nil, func(a *asm) { a.call(unix.SYS_KILL, 100, uint64(unix.SIGKILL)) }), io: none, want: vmexec.Signaled},
	}
}

func leakRun(t *testing.T, h *vmexec.Host, c leakCase) {
	t.Helper()
	ctx := context.Background()
	if c.cancel > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cancel)
		defer cancel()
	}
	if r := run(ctx, t, h, c.program, c.limits, c.io()); r.Reason != c.want {
		t.Fatalf("%s: %s: %s", c.name, r.Reason, r.Message)
	}
}

// TestNoLeak runs a program many times, to every kind of end, and looks at what
// the process holds then. KONTAIN_SOAK=N makes it N runs and prints the figures.
func TestNoLeak(t *testing.T) { onEach(t, testNoLeak) }

func testNoLeak(t *testing.T, h *vmexec.Host) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	cases := leakCases(t)
	runs := 300
	soak, err := strconv.Atoi(os.Getenv("KONTAIN_SOAK"))
	if err == nil && soak > 0 {
		runs = soak
	}
	for range 3 {
		for _, c := range cases {
			leakRun(t, h, c)
		}
	}
	before := measure(t)
	start := time.Now()
	for i := range runs {
		leakRun(t, h, cases[i%len(cases)])
	}
	// KVM frees machines, and streams end, a moment later.
	var after usage
	for range 20 {
		if after = measure(t); after.descriptors == before.descriptors && after.goroutines <= before.goroutines {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if soak > 0 {
		t.Logf("%d runs in %v\nbefore: %v\nafter:  %v", runs, time.Since(start).Round(time.Millisecond), before, after)
	}
	if after.descriptors != before.descriptors || after.goroutines > before.goroutines {
		t.Errorf("before: %v\nafter:  %v", before, after)
	}
	if after.threads > before.threads+4 || after.mappings > before.mappings+60 || after.rss > before.rss+32<<10 {
		t.Errorf("before: %v\nafter:  %v", before, after)
	}
}
