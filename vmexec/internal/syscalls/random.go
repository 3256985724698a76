// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package syscalls

import (
	"io"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec/internal/abi"
	"kontain.dev/eventing/vmexec/internal/task"
)

func randomCalls() []Entry {
	return []Entry{
		{Nr: unix.SYS_GETRANDOM, Name: "getrandom", Fn: getRandom, Support: Full},
	}
}

// maxRandom is the most bytes one getrandom gives. A caller must take a short
// answer for more than 256 bytes, and does not get to occupy the monitor.
const maxRandom = 1 << 20

// getRandom is getrandom(2). Every source is the host's, and never blocks.
// Errors: EINVAL, EFAULT, EIO when the host's source fails.
func getRandom(t *task.Thread, a task.Args) (uint64, abi.Errno) {
	const both = unix.GRND_RANDOM | unix.GRND_INSECURE
	if flags := a[2] & 0xffff_ffff; flags&^(both|unix.GRND_NONBLOCK) != 0 || flags&both == both {
		return 0, abi.EINVAL
	}
	if a[1] == 0 {
		return 0, abi.OK
	}
	bufs, errno := buffer(t, a[0], min(a[1], maxRandom), true)
	if errno != 0 {
		return 0, errno
	}
	n := 0
	for _, b := range bufs {
		m, err := io.ReadFull(t.K.Rand, b)
		n += m
		if err != nil {
			if n == 0 {
				return 0, abi.EIO
			}
			break
		}
	}
	return uint64(n), abi.OK
}
