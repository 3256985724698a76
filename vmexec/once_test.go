// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// TestCloneOnce holds that clones for one event, which may be prepared in another
// way, start from the same state as others, give the same output, and can be reset.
func TestCloneOnce(t *testing.T) {
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		const pages = dataSize / 4096
		p := program(t, nil, func(a *asm) {
			for i := range uint64(pages) { // before the snapshot
				a.store(dataVA+4096*i, i+1)
			}
			a.call(unix.SYS_READ, 0, dataVA+8, 5)
			for i := uint64(0); i < pages; i += 2 { // of the event
				a.store(dataVA+4096*i+16, i)
			}
			a.call(unix.SYS_WRITE, 1, dataVA, 13).call(unix.SYS_READ, 0, dataVA, 5).call(unix.SYS_EXIT_GROUP, 0)
		})
		s := snapshotOf(t, h, p)
		for range 4 {
			vm, err := h.CloneOnce(s, vmexec.Limits{Wall: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if err := vm.Verify(); err != nil {
				t.Error(err)
			}
			for range 2 {
				r, err := vm.Run(t.Context(), vmexec.IO{Event: []byte("event")})
				if err != nil || string(r.Stdout) != "\x01\x00\x00\x00\x00\x00\x00\x00event" {
					t.Errorf("%+v, %v", r, err)
				}
				if err == nil && (r.Stats.Syscalls["read"] != 1 || r.Stats.Syscalls["write"] != 1 || r.Stats.Exits+r.Stats.Answered < 3) {
					t.Errorf("calls %v, %d exits, %d answered", r.Stats.Syscalls, r.Stats.Exits, r.Stats.Answered)
				}
				reset(t, vm)
			}
			if err := vm.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}
