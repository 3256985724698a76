// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: SIGSEGV arrives with its exact address and code for loads, stores and
// jumps to nowhere, non-canonical addresses included, and siglongjmp leaves the
// handler, 2,000 times over.
#include "guest.h"
#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf back;
static void *volatile addr;
static volatile int code;

static void handler(int s, siginfo_t *si, void *c) {
	(void)s, (void)c;
	addr = si->si_addr;
	code = si->si_code;
	siglongjmp(back, 1);
}

#define FAULTS(e)                                \
	do {                                     \
		if (sigsetjmp(back, 1) == 0) {   \
			e;                       \
			CHECK(!"no fault: " #e); \
		}                                \
	} while (0)

static const int readonly = 5;
static int data = 5;

int main(void) {
	on(SIGSEGV, handler, 0);
	volatile int *volatile p = NULL;
	FAULTS((void)*p);
	printf("load of NULL: address %p code %d\n", addr, code);
	p = (int *)0x123;
	FAULTS(*p = 1);
	printf("store to 0x123: address %p code %d\n", addr, code);
	p = (int *)&readonly;
	FAULTS(*p = 1);
	CHECK(addr == &readonly);
	printf("store to a constant: code %d\n", code);
	void (*volatile f)(void) = (void (*)(void))0x40;
	FAULTS(f());
	printf("jump to 0x40: address %p code %d\n", addr, code);
	f = (void (*)(void))&data;
	FAULTS(f());
	CHECK(addr == &data);
	printf("jump into data: code %d\n", code);
	// Not an address at all: a general protection fault, without an address.
	p = (int *)0x1234567812345678;
	FAULTS((void)*p);
	printf("load of a non-canonical address: address %p code %d\n", addr, code);
	// The kernel's half.
	p = (int *)0xffffffff81000000;
	FAULTS((void)*p);
	printf("load of a kernel address: address %p code %d\n", addr, code);
	// Privileged instructions.
	FAULTS(__asm__ volatile("hlt"));
	printf("hlt: address %p code %d\n", addr, code);
	FAULTS(__asm__ volatile("cli"));
	printf("cli: address %p code %d\n", addr, code);
	FAULTS(__asm__ volatile("mov %%cr0, %%rax" ::: "rax"));
	printf("mov from cr0: address %p code %d\n", addr, code);
	for (long i = 0; i < 2000; i++) {
		p = (int *)(i * 4);
		FAULTS(*p = 1);
		CHECK(addr == (void *)(i * 4) && code == SEGV_MAPERR);
	}
	printf("2000 more\n");
	return 0;
}
