// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// standInOfKM takes the command line of km, the Kontain monitor, and runs the program
// as a process: no test here runs km itself.
const standInOfKM = "#!/bin/sh\nwhile [ \"$1\" = --putenv ]; do export \"$2\"; shift 2; done\nexec \"$@\"\n"

// A sink with platform KM runs its program under the monitor that is installed.
func TestKMStandIn(t *testing.T) {
	needKVM(t)
	dir, bin := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "km"), []byte(standInOfKM), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	const on = "isolation: Process"
	sink(t, dir, "cat", guest, []string{"cat"}, on, "platform: KM")
	sink(t, dir, "env", guest, []string{"env", "CE_ID"}, on, "platform: KM", "snapshot: {mode: Never}")
	sink(t, dir, "path", guest, []string{"env", "PATH"}, on, "platform: KM")
	sink(t, dir, "event", guest, []string{"env", "K_EVENT_PATH"}, on, "platform: KM")
	sink(t, dir, "refuse", guest, []string{"exit", "65"}, on, "platform: KM")
	sink(t, dir, "slow", guest, []string{"sleep"}, on, "platform: KM", "timeout: 300ms")
	sink(t, dir, "hungry", guest, []string{"memory"}, on, "platform: KM", "resources: {limits: {memory: 64Mi}}")
	sink(t, dir, "endless", guest, []string{"output"}, on, "platform: KM")
	s := serve(t, dir)
	c := newClient(t)
	for _, tt := range []struct {
		sink   string
		status int
		want   string // in the body
	}{
		{"cat", 200, `{"n":1}`},
		{"env", 200, "the-id"},
		{"path", 200, ""},
		{"event", 200, ""},
		{"refuse", 422, "the reason why"},
		{"slow", 504, "time limit of 300ms"},
		{"hungry", 502, "memory limit of 64 MiB"},
		{"endless", 502, "OutputExceeded"},
	} {
		a, err := do(c, newEvent(t.Context(), s.sink(tt.sink), "the-id", `{"n":1}`))
		if err != nil || a.status != tt.status || !strings.Contains(a.body, tt.want) {
			t.Errorf("%s: %+v %v; want %d %q", tt.sink, a, err, tt.status, tt.want)
		}
		if (tt.sink == "path" || tt.sink == "event") && a != nil && a.body != "" {
			t.Errorf("the program finds in its environment what nobody put there: %s", a.body)
		}
	}
	s.stop()
	if log := s.stderr.String(); !strings.Contains(log, "gives it the files, the network and the user") {
		t.Errorf("the log does not warn: %s", log)
	}
}

// Without a monitor the sink is not ready, says why, and the others are.
func TestKMMissing(t *testing.T) {
	needKVM(t)
	if _, err := os.Stat("/opt/kontain/bin/km"); err == nil {
		t.Skip("a Kontain monitor is installed in /opt/kontain")
	}
	t.Setenv("PATH", t.TempDir())
	dir := t.TempDir()
	sink(t, dir, "cat", guest, []string{"cat"}, onClones)
	sink(t, dir, "km", guest, []string{"cat"}, "isolation: Process", "platform: KM")
	s := serve(t, dir)
	c := newClient(t)
	const says = "the Kontain monitor is not installed"
	a, err := do(c, newEvent(t.Context(), s.sink("km"), "1", "{}"))
	if err != nil || a.status != 503 || !strings.Contains(a.body, says) {
		t.Errorf("%+v %v", a, err)
	}
	if a, err := do(c, newEvent(t.Context(), s.sink("cat"), "1", "{}")); err != nil || a.status != 200 {
		t.Errorf("another sink: %+v %v", a, err)
	}
	s.stop()
	if log := s.stderr.String(); !strings.Contains(log, says) {
		t.Errorf("%s", log)
	}
}
