// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// TestTrace holds what is traced of a program from its start, of a clone from its wait
// point, and of the next event in the same machine: nothing, when that one asks for nothing.
func TestTrace(t *testing.T) {
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		p := program(t, nil, func(a *asm) {
			a.call(unix.SYS_GETPPID).call(unix.SYS_READ, 0, dataVA, 5).call(unix.SYS_WRITE, 1, dataVA, 5)
			a.call(999).call(unix.SYS_EXIT_GROUP, 0)
		})
		const event = `read(0, "event", 5) = 5
write(1, "event", 5) = 5
syscall_0x3e7(0x1, 0x6000000, 0x5, 0x0, 0x0, 0x0) = -1 ENOSYS (Function not implemented)
exit_group(0) = ?
+++ exited with 0 +++
`
		var trace bytes.Buffer
		run(t.Context(), t, h, p, vmexec.Limits{}, vmexec.IO{Event: []byte("event"), Trace: &trace})
		if got, want := trace.String(), "getppid() = 1\n"+event; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}

		vm := cloneOf(t, h, snapshotOf(t, h, p))
		for _, traced := range []bool{true, false, true} {
			trace.Reset()
			in, want := vmexec.IO{Event: []byte("event")}, ""
			if traced {
				in.Trace, want = &trace, event
			}
			if r, err := vm.Run(t.Context(), in); err != nil || string(r.Stdout) != "event" {
				t.Fatalf("%v, %v", r, err)
			}
			if got := trace.String(); got != want {
				t.Errorf("traced %v: got\n%s\nwant\n%s", traced, got, want)
			}
			reset(t, vm)
		}
	})
}
