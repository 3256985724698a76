// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: guard pages around a block fault at the exact byte that was touched,
// and a page made writable by the handler lets the access go on.
#include "guest.h"
#include <sys/mman.h>

#define P 4096l
static char *base;
static volatile long hits[3];

static void handler(int s, siginfo_t *si, void *c) {
	(void)s, (void)c;
	long off = (char *)si->si_addr - base;
	CHECK_EQ(si->si_code, SEGV_ACCERR);
	CHECK_EQ(si->si_signo, SIGSEGV);
	CHECK(off >= 0 && off < 3 * P);
	hits[off / P]++;
	if (off == P - 1 || off == 2 * P)
		CHECK_EQ(mprotect(base + off / P * P, P, PROT_READ | PROT_WRITE), 0);
	else
		_exit(9);
}

int main(void) {
	on(SIGSEGV, handler, 0);
	base = mmap(NULL, 3 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(base != MAP_FAILED);
	CHECK_EQ(mprotect(base + P, P, PROT_READ | PROT_WRITE), 0);
	memset(base + P, 1, P);
	*(volatile char *)(base + P - 1) = 2;	// just below
	*(volatile char *)(base + 2 * P) = 3;	// just above
	CHECK(base[P - 1] == 2 && base[2 * P] == 3);
	CHECK(hits[0] == 1 && hits[1] == 0 && hits[2] == 1);

	// A garbage collector's write barrier: read-only pages, opened one by one.
	enum { N = 200 };
	char *heap = mmap(NULL, N * P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(heap != MAP_FAILED);
	extern void barrier(int, siginfo_t *, void *);
	on(SIGSEGV, barrier, 0);
	for (int i = 0; i < N; i += 3)
		((volatile char *)heap)[i * P + i] = 1;
	int set = 0;
	for (int i = 0; i < N; i++)
		set += heap[i * P + i];
	printf("%d pages opened\n", set);
	return 0;
}

void barrier(int s, siginfo_t *si, void *c) {
	(void)s, (void)c;
	CHECK_EQ(si->si_code, SEGV_ACCERR);
	CHECK_EQ(mprotect((void *)((uintptr_t)si->si_addr & ~(P - 1)), P, PROT_READ | PROT_WRITE), 0);
}
