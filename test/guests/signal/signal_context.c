// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what a handler changes in its ucontext becomes the interrupted
// state: the instruction pointer, general and vector registers, the mask.
#include "guest.h"
#include <ucontext.h>

extern char resume_here[];

static void redirect(int s, siginfo_t *si, void *ctx) {
	ucontext_t *uc = ctx;
	(void)s, (void)si;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)resume_here;
	uc->uc_mcontext.gregs[REG_RBX] = 4711;
	uc->uc_mcontext.fpregs->_xmm[7].element[0] = 42;
	sigaddset(&uc->uc_sigmask, SIGUSR2);
}

static void ud2(int s, siginfo_t *si, void *ctx) {
	ucontext_t *uc = ctx;
	(void)s, (void)si;
	uc->uc_mcontext.gregs[REG_RIP] += 2;
	uc->uc_mcontext.gregs[REG_RAX]++;
}

int main(void) {
	on(SIGSEGV, redirect, 0);
	long rbx;
	unsigned lane;
	__asm__ volatile("xor %%ebx, %%ebx\n pxor %%xmm7, %%xmm7\n movb $1, 16\n ud2\nresume_here: mov %%rbx, %0\n movd %%xmm7, %1"
			 : "=r"(rbx), "=r"(lane)::"rbx", "xmm7", "memory");
	printf("rbx %ld xmm7 %u\n", rbx, lane);
	sigset_t cur;
	sigprocmask(SIG_SETMASK, NULL, &cur);
	CHECK(sigismember(&cur, SIGUSR2) && !sigismember(&cur, SIGUSR1) && !sigismember(&cur, SIGSEGV));

	on(SIGILL, ud2, 0);
	long n = 0;
	for (int i = 0; i < 500; i++)
		__asm__ volatile("ud2" : "+a"(n));
	printf("%ld instructions emulated\n", n);
	return 0;
}
