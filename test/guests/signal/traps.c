// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: processor exceptions become the signals Linux makes of them, with
// code and address, and the handler can step over the instruction.
#include "guest.h"
#include <ucontext.h>

static volatile int sig, code, trap;
static volatile long addr_off, skip;

extern char at_div[], at_ud2[], at_int3[], at_mod[], at_sse[];

static char *volatile where;
static void handler(int s, siginfo_t *si, void *ctx) {
	ucontext_t *uc = ctx;
	sig = s;
	code = si->si_code;
	trap = uc->uc_mcontext.gregs[REG_TRAPNO];
	addr_off = (char *)si->si_addr - where;
	CHECK_EQ((char *)uc->uc_mcontext.gregs[REG_RIP] - where, s == SIGTRAP ? 1 : 0);
	uc->uc_mcontext.gregs[REG_RIP] += skip;
}

static void show(const char *what) {
	printf("%s: signal %d code %d trap %d", what, sig, code, trap);
	if (sig != SIGTRAP)
		printf(" address +%ld", addr_off);
	printf("\n");
	sig = 0;
}

int main(void) {
	on(SIGFPE, handler, 0);
	on(SIGILL, handler, 0);
	on(SIGTRAP, handler, 0);
	where = at_div, skip = 2;
	__asm__ volatile("xorl %%ecx, %%ecx\nat_div: divl %%ecx" ::: "rax", "rcx", "rdx");
	show("division by zero");
	where = at_mod, skip = 3;
	__asm__ volatile("mov $0x8000000000000000, %%rax\ncqo\nmov $-1, %%rcx\nat_mod: idivq %%rcx" ::: "rax", "rcx", "rdx");
	show("division overflow");
	where = at_ud2, skip = 2;
	__asm__ volatile("at_ud2: ud2");
	show("ud2");
	where = at_int3, skip = 0;
	__asm__ volatile("at_int3: int3");
	show("int3");
	unsigned mxcsr = 0x1f80 & ~(1u << 9); // division by zero not masked
	float one = 1, zero = 0;
	where = at_sse, skip = 4;
	__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
	__asm__ volatile("at_sse: divss %1, %0" : "+x"(one) : "x"(zero));
	mxcsr = 0x1f80;
	__asm__ volatile("ldmxcsr %0" ::"m"(mxcsr));
	show("SSE division by zero");
	return 0;
}
