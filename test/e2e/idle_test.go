// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	idleSinks = 10000
	idleShort = 1000 // with -short

	// idleMost is what a receiver with idleSinks may take, in KiB.
	idleMost = 100 << 10
)

// Ten thousand sinks without events cost next to nothing: no machine, no process, no
// descriptor, and of memory what is known of them. Their first event comes as to any
// other, and after it they are as before.
func TestIdleSinks(t *testing.T) {
	needKVM(t)
	n := idleSinks
	if testing.Short() {
		n = idleShort
	}
	quick, quickArgs := wordcount, []string(nil)
	if cMissing != "" {
		quick, quickArgs = guest, []string{"print", "hi"}
	}
	lines := func(i int, more ...string) []string {
		return append([]string{
			"isolation: " + []string{"Process", "VM", "Reset"}[i%3], "snapshot: {mode: Ready, storage: Disk}", fmt.Sprintf("idleTimeout: %s", soakIdle),
		}, more...)
	}
	for _, tt := range []struct {
		name  string
		write func(t *testing.T, dir string, manifests []string)
		lines func(i int) []string
	}{
		{"a file each", func(t *testing.T, dir string, manifests []string) {
			for i, m := range manifests {
				writeFile(t, filepath.Join(dir, fmt.Sprintf("s%05d.yaml", i)), m)
			}
		}, func(i int) []string { return lines(i) }},
		// Each has a snapshot of its own then, once it has had an event.
		{"one file, an environment each", func(t *testing.T, dir string, manifests []string) {
			writeFile(t, filepath.Join(dir, "all.yaml"), strings.Join(manifests, "---\n"))
		}, func(i int) []string { return lines(i, fmt.Sprintf("env: [{name: SINK, value: \"%d\"}]", i)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			manifests := make([]string, n)
			program := func(i int) (string, []string) {
				if i%5 == 1 {
					return uppercase, nil
				}
				return quick, quickArgs
			}
			for i := range manifests {
				path, args := program(i)
				manifests[i] = manifest(fmt.Sprintf("s%05d", i), path, args, tt.lines(i)...)
			}
			tt.write(t, dir, manifests)

			begin := time.Now()
			s := serve(t, dir)
			started := time.Since(begin)
			pid := s.cmd.Process.Pid
			idle := settle(t, pid)
			t.Logf("%d sinks are served after %v; at rest: %v (%.1f KiB a sink)", n, started.Round(time.Millisecond), idle, float64(idle.RSS)/float64(n))

			c := newClient(t)
			send := func(i int) time.Duration {
				t.Helper()
				begin := time.Now()
				a, err := do(c, newEvent(t.Context(), s.sink(fmt.Sprintf("s%05d", i)), "1", `{"text":"one two"}`))
				if err != nil || a.status != 200 || a.body == "" {
					t.Errorf("sink %d: %+v %v", i, a, err)
				}
				return time.Since(begin)
			}
			// Far from the first ones, which are made ready ahead: all tiers and
			// programs, and more sinks than stay open.
			var first, later []time.Duration
			var sinks []int
			for i := n - 50; i < n; i++ {
				sinks = append(sinks, i)
			}
			for _, i := range sinks {
				first = append(first, send(i))
			}
			after := settle(t, pid)
			starts := strings.Count(s.stderr.String(), "the program was started\"")
			for _, i := range sinks {
				later = append(later, send(i))
			}
			if again := strings.Count(s.stderr.String(), "the program was started\""); again != starts {
				t.Errorf("%d programs were started anew for events after a pause", again-starts)
			}
			end := settle(t, pid)
			t.Logf("events of %d sinks, the first of each: %v at most, median %v; after a pause: %v, %v", len(sinks), longest(first), median(first), longest(later), median(later))
			t.Logf("at rest after them: %v", after)
			t.Logf("and once more:      %v", end)

			// One manifest changes.
			path, args := program(n - 1)
			manifests[n-1] = manifest("changed", path, args, tt.lines(n-1)...)
			begin = time.Now()
			tt.write(t, dir, manifests)
			written := time.Since(begin)
			begin = time.Now()
			eventually(t, "the changed manifest", func() bool {
				a, err := do(c, newEvent(t.Context(), s.sink("changed"), "1", `{"text":"x"}`))
				return err == nil && a.status == 200
			})
			t.Logf("a change is served after %v (all manifests were written, in %v)", time.Since(begin).Round(time.Millisecond), written.Round(time.Millisecond))
			changed := settle(t, pid)
			t.Logf("at rest after it:   %v", changed)
			for _, f := range []figures{idle, after, end, changed} {
				if f.RSS > idleMost {
					t.Errorf("%d KiB with %d idle sinks, want at most %d", f.RSS, n, idleMost)
				}
				// Of those that were used last some programs stay open.
				if f.Children != 0 || f.Memfds > 32*6 || f.Descriptors > 32*8+32 {
					t.Errorf("idle sinks hold %v", f)
				}
			}
			s.stop()
		})
	}
}
