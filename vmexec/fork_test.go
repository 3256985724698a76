// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec_test

import (
	"context"
	"testing"
	"time"

	"kontain.dev/eventing/test/guests/build"
	"kontain.dev/eventing/vmexec"
)

// TestForkMany holds that processes leave nothing behind, in the machine and on the
// host, and that a program which makes too many of them is refused and goes on.
func TestForkMany(t *testing.T) {
	elf := buildGuest(t, "fork_many", build.Glibc)
	onEach(t, func(t *testing.T, h *vmexec.Host) {
		many := "10000"
		if testing.Short() || h.Kind() == vmexec.Ptrace {
			many = "1200"
		}
		for _, c := range []struct {
			name   string
			args   []string
			limits vmexec.Limits
			want   string
		}{
			{"many", []string{"fork_many", many}, vmexec.Limits{Memory: 16 << 20}, "lost 0 pages\ndone\n"},
			{"bomb", []string{"fork_many", "0", "bomb"}, vmexec.Limits{Threads: 100}, "refused after some: 1\nlost 0 pages\ndone\n"},
			{"bomb of memory", []string{"fork_many", "0", "bomb"}, vmexec.Limits{Threads: 60, Memory: 8 << 20}, "refused after some: 1\nlost 0 pages\ndone\n"},
		} {
			t.Run(c.name, func(t *testing.T) {
				c.limits.Wall = 5 * time.Minute
				p := programOf(t, elf, c.args)
				before := measure(t)
				r := run(context.Background(), t, h, p, c.limits, vmexec.IO{})
				if r.Reason != vmexec.Exited || r.Status != 0 || string(r.Stdout) != c.want {
					t.Errorf("%v, status %d, %s: %q", r.Reason, r.Status, r.Message, r.Stdout)
				}
				if after := measure(t); after.descriptors > before.descriptors || after.threads > before.threads+2 {
					t.Errorf("before: %v\nafter:  %v", before, after)
				}
			})
		}
	})
}
