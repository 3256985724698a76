// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// A program for a JobSink finds its event in a file, on every tier and platform, and
// there is a snapshot of it where it opens that.
func TestEventFile(t *testing.T) {
	needKVM(t)
	for _, platform := range []string{"KVM", "Ptrace"} {
		t.Run(platform, func(t *testing.T) {
			dir := t.TempDir()
			tiers := map[string]string{"never": "isolation: VM\n  snapshot: {mode: Never}", "clone": onClones, "worker": onWorkers, "reset": onResets}
			for name, lines := range tiers {
				sink(t, dir, name, guest, []string{"read", "/etc/jobsink-event/event"}, lines, "platform: "+platform)
			}
			sink(t, dir, "path", guest, []string{"env", "K_EVENT_PATH"}, "isolation: VM", "platform: "+platform)
			sink(t, dir, "own", guest, []string{"env", "K_EVENT_PATH"}, "isolation: VM", "platform: "+platform, "env: [{name: K_EVENT_PATH, value: /mine}]")
			s := serve(t, dir)
			c := newClient(t)
			for name := range tiers {
				for i := range 3 {
					id := fmt.Sprintf("%s-%d", name, i)
					a, err := do(c, newEvent(t.Context(), s.sink(name), id, `{"n":1}`))
					if err != nil || a.status != 200 || a.header.Get("Ce-Id") != id || a.body != `{"n":1}` {
						t.Errorf("%s: %+v %v", id, a, err)
					}
				}
			}
			for name, want := range map[string]string{"path": "/etc/jobsink-event", "own": "/mine"} {
				if a, err := do(c, newEvent(t.Context(), s.sink(name), "1", "{}")); err != nil || a.body != want {
					t.Errorf("K_EVENT_PATH of %s: %+v %v", name, a, err)
				}
			}
			s.stop()
			for line := range strings.Lines(s.stderr.String()) {
				if strings.Contains(line, "there is no snapshot") && !strings.Contains(line, "ns/path") && !strings.Contains(line, "ns/own") {
					t.Error(line)
				}
			}
		})
	}
}

// The snapshot of a program that opens its event as a file is good after a restart.
func TestEventFileOnDisk(t *testing.T) {
	needKVM(t)
	dir, store := t.TempDir(), filepath.Join(t.TempDir(), "snapshots")
	sink(t, dir, "read", guest, []string{"read", "/etc/jobsink-event/event"}, "isolation: VM")
	for _, log := range []string{logSaved, logLoaded} {
		s := serve(t, dir, "--snapshot-dir", store)
		for _, id := range []string{"1", "2"} {
			if a, err := do(newClient(t), newEvent(t.Context(), s.sink("read"), id, `"x"`)); err != nil || a.header.Get("Ce-Id") != id || a.body != `"x"` {
				t.Errorf("%+v %v", a, err)
			}
		}
		eventually(t, log, func() bool { return strings.Contains(s.stderr.String(), log) })
		s.stop()
	}
}
