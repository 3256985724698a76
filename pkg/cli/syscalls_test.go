// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"kontain.dev/eventing/vmexec"
)

func TestSyscalls(t *testing.T) {
	status, stdout, stderr := call("", "syscalls")
	if status != 0 || stderr != "" || !strings.Contains(stdout, "\n1    write ") {
		t.Errorf("status %d, stderr %q, stdout %q", status, stderr, stdout[:min(len(stdout), 300)])
	}

	_, stdout, _ = call("", "syscalls", "--output", "json")
	var all []vmexec.SyscallSupport
	if err := json.Unmarshal([]byte(stdout), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 300 || !slices.IsSortedFunc(all, func(a, b vmexec.SyscallSupport) int { return a.Number - b.Number }) {
		t.Errorf("%d calls, or not in order", len(all))
	}
	for _, c := range all {
		if !slices.Contains(levels, c.Level) {
			t.Errorf("%s has the level %q", c.Name, c.Level)
		}
		if (c.Level == "full" || c.Level == "partial") && len(c.Guests) == 0 {
			t.Errorf("%s: %s, and no golden guest proves it", c.Name, c.Level)
		}
	}

	_, stdout, _ = call("", "syscalls", "--level", "none", "--output", "json")
	var none []vmexec.SyscallSupport
	if err := json.Unmarshal([]byte(stdout), &none); err != nil {
		t.Fatal(err)
	}
	if len(none) == 0 || slices.ContainsFunc(none, func(c vmexec.SyscallSupport) bool { return c.Level != "none" }) {
		t.Errorf("--level none gives %d calls, some perhaps of another level", len(none))
	}

	if status, _, stderr := call("", "syscalls", "--level", "most"); status != ExitUsage || !strings.Contains(stderr, `"most"`) {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
}
