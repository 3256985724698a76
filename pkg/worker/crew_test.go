// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/worker/wire"
	"kontain.dev/eventing/vmexec"
)

// sharing returns what makes machines of which up to three are in one process.
func sharing(t *testing.T, c Config, reuse wire.Reuse) func() *Process {
	var crew Crew
	c.Reuse, c.Seats = reuse, 3
	return func() *Process {
		t.Helper()
		p, err := crew.Start(t.Context(), c, 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closes(t, p) })
		return p
	}
}

// eachSharing runs a test where processes have several machines: on KVM.
func eachSharing(t *testing.T, test func(t *testing.T, c Config, reuse wire.Reuse)) {
	eachPlatform(t, func(t *testing.T, c Config) {
		if strings.HasSuffix(t.Name(), "/ptrace") {
			t.Skip("on ptrace machines have a process each")
		}
		for _, reuse := range []wire.Reuse{wire.Fresh, wire.Reset} {
			t.Run(string(reuse), func(t *testing.T) { test(t, c, reuse) })
		}
	})
}

// Machines of one process run at the same time, one event after the other each, and
// have nothing of each other or of an event before. A process has so many and no more,
// and ends with the last one.
func TestCrew(t *testing.T) {
	eachSharing(t, func(t *testing.T, c Config, reuse wire.Reuse) {
		before := descriptors(t)
		machine := sharing(t, c, reuse)
		var all []*Process
		for range 4 {
			all = append(all, machine())
		}
		for i, p := range all {
			if same := p.PID() == all[0].PID(); same != (i < 3) {
				t.Errorf("machine %d is in process %d, the first in %d", i, p.PID(), all[0].PID())
			}
			if r := p.Ready(); !r.Jail.Seccomp {
				t.Errorf("machine %d: %+v", i, r)
			}
		}
		var clients sync.WaitGroup
		for i, p := range all {
			clients.Go(func() {
				for j := range 20 {
					event := fmt.Sprintf("machine %d event %d", i, j)
					r, err := p.Run(t.Context(), vmexec.IO{Event: []byte(event)})
					if want := "1 " + strings.ToUpper(event) + " A=b"; err != nil || string(r.Stdout) != want {
						t.Errorf("%s: %+v, %v", event, r, err)
						return
					}
					if err := p.Reset(); err != nil {
						t.Errorf("%s: %v", event, err)
						return
					}
				}
			})
		}
		clients.Wait()
		mappings := func() int { return guestMemories(t, all[0].PID()) }
		had := mappings()
		closes(t, all[0])
		if now := mappings(); now >= had {
			t.Errorf("with a machine less there are %d mappings of guest memory, %d before", now, had)
		}
		if r := do(t, all[1], "hello"); string(r.Stdout) != "1 HELLO A=b" {
			t.Errorf("%+v", r)
		}
		if all[0].sit() || all[1].sit() {
			t.Error("a fourth machine in one process")
		}
		for _, p := range all[1:] {
			closes(t, p)
		}
		for _, p := range all {
			if !p.Dead() || unix.Kill(p.PID(), 0) == nil {
				t.Errorf("process %d is there", p.PID())
			}
		}
		if after := descriptors(t); !slices.Equal(before, after) {
			t.Errorf("descriptors %v became %v", before, after)
		}
	})
}

// guestMemories counts mappings of the snapshot in a process.
func guestMemories(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(pid), "maps"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "rw-p") && strings.Contains(line, "memfd:kontain") {
			n++
		}
	}
	return n
}

// An event that is given up, and one whose program fails, end with their machine: those
// beside it go on.
func TestCrewFails(t *testing.T) {
	eachSharing(t, func(t *testing.T, c Config, reuse wire.Reuse) {
		c.Limits.Wall = 0
		machine := sharing(t, c, reuse)
		a, b, d := machine(), machine(), machine()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			r, err := a.Run(ctx, vmexec.IO{Event: []byte("spin")})
			if err == nil && r.Reason != vmexec.Canceled {
				err = fmt.Errorf("%+v", r)
			}
			ended <- err
		}()
		if r := do(t, b, "hello"); string(r.Stdout) != "1 HELLO A=b" {
			t.Errorf("%+v", r)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		closes(t, a)
		if r := do(t, d, "kill"); r.Reason != vmexec.Signaled {
			t.Errorf("%+v", r)
		}
		closes(t, d)
		if err := b.Reset(); err != nil {
			t.Fatal(err)
		}
		if r := do(t, b, "again"); string(r.Stdout) != "1 AGAIN A=b" || b.Dead() {
			t.Errorf("%+v", r)
		}
	})
}

// What dies with a process is said to each that has a machine there.
func TestCrewDies(t *testing.T) {
	eachSharing(t, func(t *testing.T, c Config, reuse wire.Reuse) {
		machine := sharing(t, c, reuse)
		a, b := machine(), machine()
		if err := unix.Kill(a.PID(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		waitGone(t, a)
		var died *DiedError
		for _, p := range []*Process{a, b} {
			if _, err := p.Run(t.Context(), vmexec.IO{}); !errors.As(err, &died) || died.Began || !strings.Contains(err.Error(), "SIGKILL") {
				t.Errorf("%v", err)
			}
			if !p.Dead() {
				t.Error("it is not known to be dead")
			}
		}
		// The dead one has a seat left, which nobody gets.
		_, b = machine(), machine()
		if r := do(t, b, "hello"); string(r.Stdout) != "1 HELLO A=b" {
			t.Errorf("%+v", r)
		}
	})
}

// A process that does not give a machine up is ended, with all.
func TestCrewHolds(t *testing.T) {
	ours, theirs, err := socketpair(0)
	if err != nil {
		t.Fatal(err)
	}
	defer closes(t, theirs)
	cmd := exec.Command("sleep", "1000") // it has no idea of sockets
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{running: &running{cmd: cmd, machines: 2}, sock: ours}
	closes(t, p)
	if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v", err)
	}
	if p.sit() {
		t.Error("another machine in it")
	}
}

// Machines of a process go with the receiver, whatever they do.
func TestCrewReceiverGone(t *testing.T) {
	eachSharing(t, func(t *testing.T, c Config, reuse wire.Reuse) {
		c.Limits.Wall = 0
		machine := sharing(t, c, reuse)
		a, b := machine(), machine()
		if err := b.send(wire.KindRun, []byte("spin")); err != nil {
			t.Fatal(err)
		}
		closes(t, a.control)
		done := make(chan struct{})
		go func() { waitGone(t, a); close(done) }()
		select {
		case <-done:
		case <-time.After(time.Minute):
			t.Fatal("the worker runs on")
		}
	})
}
