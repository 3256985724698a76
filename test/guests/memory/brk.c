// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: brk grows, shrinks and zeroes again, keeps what is below, fails
// without changing anything, and memory above the break faults.
#include "guest.h"
#include <setjmp.h>
#include <sys/syscall.h>

static sigjmp_buf back;
static void handler(int s, siginfo_t *si, void *c) {
	(void)s, (void)c;
	siglongjmp(back, si->si_code);
}
static char *set(void *p) { return (char *)syscall(SYS_brk, p); }

int main(void) {
	on(SIGSEGV, handler, 0);
	char *start = set(0);
	// The C library may have left the break inside a page.
	char *base = (char *)(((uintptr_t)start + 4095) & ~4095ul);
	CHECK(set(base + 10 * 4096) == base + 10 * 4096);
	for (int i = 0; i < 10 * 4096; i++) {
		CHECK(base[i] == 0);
		base[i] = i;
	}
	CHECK(set(base + 3 * 4096 + 1) == base + 3 * 4096 + 1);
	for (int i = 0; i < 4 * 4096; i++)
		CHECK(base[i] == (char)i);
	int code = sigsetjmp(back, 1);
	if (code == 0) {
		*(volatile char *)(base + 4 * 4096) = 1;
		CHECK(!"a store above the break faults");
	}
	CHECK_EQ(code, SEGV_MAPERR);
	CHECK(set(base + 6 * 4096) == base + 6 * 4096);
	for (int i = 4 * 4096; i < 6 * 4096; i++)
		CHECK(base[i] == 0);
	CHECK(set((void *)1) == base + 6 * 4096);
	CHECK(set((void *)-4096) == base + 6 * 4096);
	CHECK(set(start) == start);
	printf("brk ok\n");
	return 0;
}
