// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: mlock and its family, memory policy on a machine of one node, and what they
// answer to wrong ranges, modes and addresses.
#include "guest.h"
#include <sys/resource.h>

#define MPOL_DEFAULT 0
#define MPOL_PREFERRED 1
#define MPOL_BIND 2
#define MPOL_INTERLEAVE 3
#define MPOL_LOCAL 4
#define MPOL_F_NODE 1
#define MPOL_F_ADDR 2
#define MPOL_F_MEMS_ALLOWED 4

int main(void) {
	char *p = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	SHOW(mlock(p, 4096));
	SHOW(mlock(p + 100, 5000));
	SHOW(munlock(p + 100, 5000));
	SHOW(mlock(p, 0));
	SHOW(mlock(BAD, 4096));
	CHECK_EQ(munmap(p + 2 * 4096, 4096), 0);
	SHOW(mlock(p, 4 * 4096));
	SHOW(munlock(p, 4 * 4096));
	SHOW(syscall(SYS_mlock2, p, 4096, 1));
	SHOW(syscall(SYS_mlock2, p, 4096, 4));
	SHOW(mlockall(0));
	SHOW(mlockall(8));
	SHOW(mlockall(4));
	SHOW(munlockall());

	int mode = -1;
	unsigned long mask[16] = {0};
	SHOW(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0));
	SHOW(mode);
	SHOW(syscall(SYS_get_mempolicy, &mode, mask, 1024, NULL, 0));
	SHOW(mask[0]);
	SHOW(syscall(SYS_get_mempolicy, NULL, mask, 1024, NULL, MPOL_F_MEMS_ALLOWED));
	SHOW(mask[0]);
	SHOW(syscall(SYS_get_mempolicy, &mode, NULL, 0, p, MPOL_F_ADDR | MPOL_F_NODE));
	SHOW(mode);
	SHOW(syscall(SYS_get_mempolicy, &mode, NULL, 0, p, 0));
	SHOW(syscall(SYS_get_mempolicy, &mode, NULL, 0, BAD, MPOL_F_ADDR));
	SHOW(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0xff00));
	SHOW(syscall(SYS_get_mempolicy, BAD, NULL, 0, NULL, 0));
	unsigned long one = 1, two = 2, none = 0;
	SHOW(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, &one, 64));
	SHOW(syscall(SYS_get_mempolicy, &mode, mask, 1024, NULL, 0));
	printf("mode %d mask %lx\n", mode, mask[0]);
	SHOW(syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &one, 64));
	SHOW(syscall(SYS_set_mempolicy, MPOL_PREFERRED, NULL, 0));
	SHOW(syscall(SYS_set_mempolicy, MPOL_LOCAL, NULL, 0));
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, &two, 64)); // no such node
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, &none, 64));
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, NULL, 0));
	SHOW(syscall(SYS_set_mempolicy, MPOL_DEFAULT, &one, 64));
	SHOW(syscall(SYS_set_mempolicy, 99, NULL, 0));
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, BAD, 64));
	SHOW(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
	SHOW(syscall(SYS_mbind, p, 4096, MPOL_BIND, &one, 64, 0));
	SHOW(syscall(SYS_mbind, p, 4096, MPOL_DEFAULT, NULL, 0, 0));
	SHOW(syscall(SYS_mbind, p + 1, 4096, MPOL_DEFAULT, NULL, 0, 0));
	SHOW(syscall(SYS_mbind, p, 4096, 99, NULL, 0, 0));
	SHOW(syscall(SYS_mbind, p, 4096, MPOL_BIND, &two, 64, 0));
	SHOW(syscall(SYS_mbind, p, 4096, MPOL_DEFAULT, NULL, 0, 0xf0));
	SHOW(syscall(SYS_mbind, p, 0, MPOL_BIND, &one, 64, 0));
	SHOW(syscall(SYS_mbind, p, 4 * 4096, MPOL_BIND, &one, 64, 0)); // there is a hole
	return 0;
}
