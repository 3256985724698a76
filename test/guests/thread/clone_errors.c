// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what clone and clone3 refuse: flags that need others, sizes, reserved fields,
// namespaces without the right to make them.
#include "guest.h"
#include <linux/sched.h>
#include <sched.h>

static struct clone_args a;
static long c3(uint64_t flags, size_t size) {
	a.flags = flags;
	return syscall(SYS_clone3, &a, size);
}

int main(void) {
	drop_privileges();
	SHOW(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
	SHOW(syscall(SYS_clone, CLONE_THREAD | CLONE_VM, 0, 0, 0, 0));
	SHOW(syscall(SYS_clone, CLONE_THREAD | CLONE_SIGHAND, 0, 0, 0, 0));
	SHOW(syscall(SYS_clone, CLONE_FS | CLONE_NEWNS, 0, 0, 0, 0));
	SHOW(syscall(SYS_clone, CLONE_PARENT_SETTID | CLONE_PIDFD, 0, 0, 0, 0));
	SHOW(syscall(SYS_clone, CLONE_NEWUTS | SIGCHLD, 0, 0, 0, 0));
	SHOW(syscall(SYS_clone, CLONE_NEWIPC | SIGCHLD, 0, 0, 0, 0));
	SHOW(syscall(SYS_clone, CLONE_NEWPID | CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 0, 0, 0, 0));
	SHOW(syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS, 0, 0, 0, ~0ul));

	memset(&a, 0, sizeof a);
	SHOW(c3(0, 0));
	SHOW(c3(0, 63));
	SHOW(c3(0, 4097));
	SHOW(syscall(SYS_clone3, BAD, 64));
	SHOW(syscall(SYS_clone3, NULL, 64));
	SHOW(c3(0xff, 64));
	SHOW(c3(CLONE_DETACHED, 64));
	SHOW(c3(1ull << 63, 64));
	SHOW(c3(CLONE_SIGHAND, 64));
	SHOW(c3(CLONE_SIGHAND | CLONE_CLEAR_SIGHAND | CLONE_VM, 64));
	SHOW(c3(CLONE_THREAD | CLONE_VM, 64));
	a.exit_signal = SIGCHLD;
	SHOW(c3(CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, 64));
	a.exit_signal = 65;
	SHOW(c3(0, 64));
	a.exit_signal = 0, a.stack = 4096;
	SHOW(c3(0, 64));
	a.stack = 0, a.stack_size = 4096;
	SHOW(c3(0, 64));
	a.stack = ~0ull;
	SHOW(c3(0, 64));
	a.stack = a.stack_size = 0;
	a.set_tid_size = 1;
	SHOW(c3(0, sizeof a));
	a.set_tid_size = 0, a.set_tid = 1;
	SHOW(c3(0, sizeof a));
	a.set_tid = 0;
	a.cgroup = 1ull << 40;
	SHOW(c3(1ull << 33, sizeof a));
	a.cgroup = 0;
	struct {
		struct clone_args a;
		char more[16];
	} big;
	memset(&big, 0, sizeof big);
	big.more[3] = 1;
	SHOW(syscall(SYS_clone3, &big, sizeof big));
	return 0;
}
