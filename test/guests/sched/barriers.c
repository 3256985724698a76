// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: membarrier as language runtimes ask for it: what is there, registering before
// the private commands, wrong commands; that rseq and io priorities answer.
// By design there is no rseq in a machine: libraries find out and do without.
#include "guest.h"
#include <linux/membarrier.h>

static long mb(int cmd, unsigned flags, int cpu) { return syscall(SYS_membarrier, cmd, flags, cpu); }

int main(void) {
	long all = mb(MEMBARRIER_CMD_QUERY, 0, 0);
	CHECK(all > 0);
	long want = MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED | MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED |
	            MEMBARRIER_CMD_PRIVATE_EXPEDITED | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED |
	            MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE | MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE;
	CHECK_EQ(all & want, want);
	SHOW(mb(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_GLOBAL, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0));
	SHOW(mb(MEMBARRIER_CMD_QUERY, 1, 0));
	SHOW(mb(MEMBARRIER_CMD_GLOBAL, 1, 0));
	SHOW(mb(3, 0, 0));
	SHOW(mb(-1, 0, 0));
	SHOW(mb(1 << 30, 0, 0));
	long r = syscall(334 /* rseq */, BAD, 32, 0, 0);
	CHECK(r == -1 && (errno == ENOSYS || errno == EINVAL || errno == EFAULT));

	drop_privileges();
	CHECK(syscall(SYS_ioprio_get, 1, 0) >= 0);
	SHOW(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 5));
	SHOW(syscall(SYS_ioprio_get, 1, 0));
	SHOW(syscall(SYS_ioprio_set, 1, 0, 3 << 13));
	SHOW(syscall(SYS_ioprio_get, 1, 0));
	SHOW(syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 4)); // real time
	SHOW(syscall(SYS_ioprio_set, 1, 0, 4 << 13));
	SHOW(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 8));
	SHOW(syscall(SYS_ioprio_set, 1, 0x3ffffff, 2 << 13 | 4));
	SHOW(syscall(SYS_ioprio_get, 1, 0x3ffffff));
	SHOW(syscall(SYS_ioprio_get, 0, 0));
	SHOW(syscall(SYS_ioprio_get, 4, 0));
	return 0;
}
