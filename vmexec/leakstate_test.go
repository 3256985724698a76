// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/test/guests/build"
	"kontain.dev/eventing/vmexec"
)

// buildGuest compiles a golden guest. The test is skipped where there is no
// compiler, unless KONTAIN_REQUIRE_TOOLS=1.
func buildGuest(t testing.TB, source string, flavour build.Flavour) []byte {
	t.Helper()
	return buildFrom(t, "../test/guests", source, flavour)
}

// buildFrom is buildGuest for another folder of sources.
func buildFrom(t testing.TB, folder, source string, flavour build.Flavour) []byte {
	t.Helper()
	src, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := build.Dir(src)
	if err != nil {
		t.Fatal(err)
	}
	g := build.Guest{Source: source, Flavour: flavour}
	built, err := build.All(t.Context(), src, dir, []build.Guest{g})
	if err == nil {
		err = built[g].Err
	}
	var missing *build.MissingToolError
	if errors.As(err, &missing) && os.Getenv("KONTAIN_REQUIRE_TOOLS") != "1" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(built[g].Path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// snapshotOf freezes a program until the test ends.
func snapshotOf(t testing.TB, h *vmexec.Host, p *vmexec.Program) *vmexec.Snapshot {
	t.Helper()
	s, err := h.NewSnapshot(t.Context(), p, vmexec.Limits{Wall: time.Minute}, vmexec.Wait{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// cloneOf makes a clone until the test ends.
func cloneOf(t testing.TB, h *vmexec.Host, s *vmexec.Snapshot) *vmexec.VM {
	t.Helper()
	vm, err := h.Clone(s, vmexec.Limits{Wall: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := vm.Close(); err != nil {
			t.Error(err)
		}
	})
	return vm
}

// event gives a clone its event and returns what it wrote; it must exit with 0.
func event(t testing.TB, vm *vmexec.VM, in string) []byte {
	t.Helper()
	r, err := vm.Run(context.Background(), vmexec.IO{Event: []byte(in)})
	if err != nil {
		t.Fatalf("the monitor failed: %v", err)
	}
	if r.Reason != vmexec.Exited || r.Status != 0 {
		t.Fatalf("event %q: %s: %s\nstdout: %.2000s\nstderr: %.2000s", in, r.Reason, r.Message, r.Stdout, r.Stderr)
	}
	return eventTime.ReplaceAll(r.Stdout, []byte("${1}when the event came"))
}

// eventTime is the change time of the event's file, which is that of its coming.
var eventTime = regexp.MustCompile(`(file /etc/jobsink-event/event:.* changed )[0-9.]+`)

func reset(t testing.TB, vm *vmexec.VM) {
	t.Helper()
	if err := vm.Reset(); err != nil {
		t.Fatal(err)
	}
	if err := vm.Verify(); err != nil {
		t.Fatal(err)
	}
}

// things returns the lines of leak_state by what they are about; those that are
// about the same are joined.
func things(b []byte) map[string]string {
	m := map[string]string{}
	for l := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(l, ":")
		m[name] += value
	}
	return m
}

// unmarked tells of things that the guest, whose program is at the path program,
// shows and cannot, or does not, change.
func unmarked(name, program string) bool {
	// The folders above the program, which are those of the test.
	if at, ok := strings.CutPrefix(name, "file "); ok {
		at = filepath.Clean(strings.TrimSuffix(at, "/.."))
		if program == at || strings.HasPrefix(program, strings.TrimSuffix(at, "/")+"/") && at != "/tmp" {
			return true
		}
	}
	switch name {
	case "descriptor 1", "descriptor 8", "descriptor 9", "descriptor 10", // output; eventfd, epoll and timerfd have lines of their own
		"epoll",                              // as many are ready; the events differ
		"signal 9", "signal 19", "signal 12", // SIGKILL, SIGSTOP, and one left alone
		"signal 32", "signal 33", // the C library's
		"limit 0", "limit 1", "limit 2", "limit 3", "limit 4", "limit 6", "limit 9", // would end the guest natively
		"limit 13", "limit 14", // nice values and real-time priorities: none are to be had
		"fs base", // at the very end only
		"group", "processors", "prctl", "death signal",
		"xsave component 17", "xsave component 18": // tiles: not given to guests
		return true
	}
	for _, p := range []string{
		"file /proc", "file /dev", "file /sys", "file /run", "file /etc", "file /.", "file /tmp/..",
		"memory at ", // some are code
	} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// TestLeakState holds that an event sees nothing of what another one did, neither
// after a reset nor in another clone. See test/guests/program/leak_state.c.
func TestLeakState(t *testing.T) {
	elf := buildGuest(t, "leak_state", build.Glibc)
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		program := programOf(t, elf, nil)
		s := snapshotOf(t, h, program)
		vm := cloneOf(t, h, s)
		want := event(t, vm, "look")
		for _, l := range []string{"register rbx:", "xmm:", "heap:", "pending signals:", "timerfd:", "threads:"} {
			if !bytes.Contains(want, []byte(l)) {
				t.Fatalf("the guest says nothing of %q", l)
			}
		}
		same := func(what string, vm *vmexec.VM) {
			t.Helper()
			if got := event(t, vm, "look"); !bytes.Equal(got, want) {
				t.Fatalf("%s an event saw another one's marks (-clean +got):\n%s", what, cmp.Diff(things(want), things(got)))
			}
		}
		same("in a second clone", cloneOf(t, h, s))
		reset(t, vm)
		same("after a reset", vm)
		for i := range 3 {
			reset(t, vm)
			marked := event(t, vm, "mark")
			if i == 0 { // the guest must show what it marks, or the test shows nothing
				a, b := things(want), things(marked)
				for name := range a {
					if a[name] == b[name] && !unmarked(name, program.Path()) && strings.TrimSpace(a[name]) != "closed" {
						t.Errorf("the guest does not mark %q: %s", name, a[name])
					}
				}
			}
			reset(t, vm)
			same("after a reset", vm)
			same("in a fresh clone", cloneOf(t, h, s))
		}
	})
}
