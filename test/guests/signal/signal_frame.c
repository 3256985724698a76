// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: rt_sigreturn takes back what a handler wrote into its frame: general and
// vector registers, x87, MXCSR, the mask; and what it makes of a frame that was
// damaged: the program dies of SIGSEGV, or the state is the initial one.
#include "guest.h"
#include <setjmp.h>
#include <ucontext.h>

static sigjmp_buf env;
static int how;
static char *fp_of(ucontext_t *uc) { return (char *)uc->uc_mcontext.fpregs; }

static void damage(int s, siginfo_t *si, void *ctx) {
	ucontext_t *uc = ctx;
	char *fp = fp_of(uc);
	uint32_t *sw = (uint32_t *)(fp + 464);
	switch (how) {
	case 0: // registers
		uc->uc_mcontext.gregs[REG_RBX] = 0x1122334455667788;
		memset(fp + 160 + 16 * 5, 0xa5, 16); // xmm5
		break;
	case 1: sw[0] = 0; break;                       // no extended state: legacy part only
	case 2: sw[4] = 0xffffffff; break;              // size
	case 3: sw[4] = 64; break;
	case 4: *(uint64_t *)(fp + 512) = ~0ull; break; // XSTATE_BV
	case 5: *(uint64_t *)(fp + 512) = 0; break;     // all in its initial state
	case 6: *(uint64_t *)(fp + 520) = 1ull << 63; break; // XCOMP_BV
	case 7: memset(fp + 528, 0xff, 48); break;           // reserved
	case 8: uc->uc_mcontext.fpregs = NULL; break;
	case 9: uc->uc_mcontext.fpregs = (void *)(fp + 8); break;
	case 10: uc->uc_mcontext.fpregs = BAD; break;
	case 11: uc->uc_mcontext.gregs[REG_RIP] = 0x8000000000000000; break;
	case 12: uc->uc_mcontext.gregs[REG_RIP] = 0xffffffff81000000; break;
	case 13: uc->uc_mcontext.gregs[REG_EFL] |= 0x3000 | 0x20000 | 0x100000; break; // IOPL, VM, VIP: not the program's
	case 14: uc->uc_mcontext.gregs[REG_RSP] = 0x8000000000000000; break;
	case 15: *(uint32_t *)(fp + 24) = 0xffffffff; break; // MXCSR reserved bits
	case 16: sigfillset(&uc->uc_sigmask); break;
	case 17: uc->uc_stack.ss_size = 1; break; // ignored
	}
}
static void died(int s, siginfo_t *si, void *ctx) {
	printf("  signal %d code %d\n", s, si->si_code);
	siglongjmp(env, 1);
}

int main(void) {
	on(SIGUSR1, damage, 0);
	on(SIGSEGV, died, SA_ONSTACK);
	on(SIGBUS, died, SA_ONSTACK);
	static char alt[65536];
	stack_t st = {.ss_sp = alt, .ss_size = sizeof alt};
	CHECK_EQ(sigaltstack(&st, NULL), 0);
	int pid = getpid();
	for (how = 0; how < 18; how++) {
		printf("case %d\n", how);
		if (sigsetjmp(env, 1))
			continue;
		unsigned long rbx = 5, flags;
		unsigned mx = 0x1f80;
		unsigned char x[16], ones[16];
		memset(ones, 0x11, 16);
		__asm__ volatile("ldmxcsr %[mx]\n"
		                 "movdqu %[ones], %%xmm5\n"
		                 "syscall\n"
		                 "movdqu %%xmm5, %[x]\n"
		                 "stmxcsr %[mx]\n"
		                 "pushf\npop %[fl]\n"
		                 : [x] "=m"(x), [mx] "+m"(mx), "+b"(rbx), [fl] "=r"(flags)
		                 : [ones] "m"(ones), "a"(SYS_kill), "D"(pid), "S"(SIGUSR1)
		                 : "rcx", "r11", "memory", "xmm5");
		uint64_t mask = 0;
		CHECK_EQ(syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &mask, 8), 0);
		printf("  rbx %lx xmm5 %02x mxcsr %x iopl %lx mask %llx\n", rbx, x[3], mx, flags & 0x123000, (long long)mask);
		sigset_t none;
		sigemptyset(&none);
		CHECK_EQ(sigprocmask(SIG_SETMASK, &none, NULL), 0);
	}
	// sigreturn without a frame.
	if (!sigsetjmp(env, 1)) {
		printf("no frame\n");
		__asm__ volatile("mov %0, %%rsp\nsyscall" ::"r"((char *)page_end(16)), "a"(SYS_rt_sigreturn) : "memory");
	}
	return 0;
}
