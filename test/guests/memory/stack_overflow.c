// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: endless recursion faults near the stack pointer, a handler runs on
// the alternate stack, sees SS_ONSTACK there, and the program goes on after it.
#include "guest.h"
#include <setjmp.h>
#include <sys/resource.h>
#include <ucontext.h>

static char alt[64 << 10];
static sigjmp_buf back;
static volatile long distance;

static void handler(int s, siginfo_t *si, void *ctx) {
	ucontext_t *uc = ctx;
	(void)s;
	stack_t st;
	CHECK_EQ(sigaltstack(NULL, &st), 0);
	CHECK(st.ss_flags == SS_ONSTACK);
	CHECK((char *)&st >= alt && (char *)&st < alt + sizeof alt);
	st.ss_flags = 0;
	CHECK_ERR(sigaltstack(&st, NULL), EPERM);
	CHECK(uc->uc_stack.ss_sp == alt && uc->uc_stack.ss_size == sizeof alt);
	distance = (char *)si->si_addr - (char *)uc->uc_mcontext.gregs[REG_RSP];
	siglongjmp(back, 1);
}

static volatile int zero;
static int __attribute__((noinline)) endless(int n) {
	volatile char frame[512];
	frame[n & 511] = n;
	if (zero)
		return 0;
	return endless(n + 1) + frame[n & 511];
}

int main(void) {
	// A known size, whatever the limit of the tester's shell is.
	struct rlimit lim = {1 << 20, RLIM_INFINITY};
	CHECK(getrlimit(RLIMIT_STACK, &lim) == 0);
	lim.rlim_cur = 1 << 20;
	CHECK_EQ(setrlimit(RLIMIT_STACK, &lim), 0);
	stack_t st = {.ss_sp = alt, .ss_size = sizeof alt};
	CHECK_EQ(sigaltstack(&st, NULL), 0);
	on(SIGSEGV, handler, SA_ONSTACK);
	for (int i = 0; i < 3; i++) {
		if (sigsetjmp(back, 1) == 0) {
			endless(0);
			CHECK(!"the recursion ends");
		}
		CHECK(distance > -4096 && distance < 4096);
	}
	CHECK_EQ(sigaltstack(NULL, &st), 0);
	CHECK(st.ss_flags == 0);
	st.ss_size = 100;
	CHECK_ERR(sigaltstack(&st, NULL), ENOMEM);
	st.ss_flags = SS_DISABLE;
	CHECK_EQ(sigaltstack(&st, NULL), 0);
	printf("survived three overflows\n");
	return 0;
}
