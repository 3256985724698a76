// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: setjmp, longjmp, sigsetjmp with the mask, and makecontext/swapcontext
// coroutines where the C library has them.
#include "guest.h"
#include <setjmp.h>
#ifdef __GLIBC__
#include <ucontext.h>
static ucontext_t main_ctx, co_ctx;
static int produced;
static void producer(void) {
	for (produced = 1;; produced *= 3)
		swapcontext(&co_ctx, &main_ctx);
}
#endif

static jmp_buf buf;
static void __attribute__((noinline)) down(int n) {
	if (n > 0)
		down(n - 1);
	longjmp(buf, 17);
}

int main(void) {
	volatile int times = 0;
	int v = setjmp(buf);
	if (v == 0)
		down(50);
	times++;
	printf("setjmp returned %d\n", v);
	if (times < 3)
		longjmp(buf, times == 1 ? 0 : 99); // 0 becomes 1
	sigjmp_buf sbuf;
	sigset_t set, cur;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	if (sigsetjmp(sbuf, 1) == 0) {
		sigprocmask(SIG_BLOCK, &set, NULL);
		siglongjmp(sbuf, 1);
	}
	sigprocmask(SIG_SETMASK, NULL, &cur);
	CHECK(!sigismember(&cur, SIGUSR1));
#ifdef __GLIBC__
	static char stack[64 << 10];
	getcontext(&co_ctx);
	co_ctx.uc_stack.ss_sp = stack;
	co_ctx.uc_stack.ss_size = sizeof stack;
	makecontext(&co_ctx, producer, 0);
	long sum = 0;
	for (int i = 0; i < 10; i++) {
		swapcontext(&main_ctx, &co_ctx);
		sum += produced;
	}
	CHECK_EQ(sum, 29524);
#endif
	printf("jumps ok\n");
	return 0;
}
