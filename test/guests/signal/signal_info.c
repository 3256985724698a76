// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: siginfo and the context of each kind of fault and of each way to send a
// signal: code, address, sender, value; page fault codes for reads, writes and jumps.
#include "guest.h"
#include <setjmp.h>
#include <sys/time.h>
#include <ucontext.h>

static sigjmp_buf env;
static char *base;
static void show(int s, siginfo_t *si, void *ctx) {
	ucontext_t *uc = ctx;
	greg_t *g = uc->uc_mcontext.gregs;
	printf("  signal %d signo %d errno %d code %d", s, si->si_signo, si->si_errno, si->si_code);
	switch (s) {
	case SIGSEGV: case SIGBUS:
		if (si->si_code > 0 && si->si_code != SI_KERNEL)
			printf(" address +%lx cr2 +%lx", (long)((char *)si->si_addr - base), (long)((char *)g[REG_CR2] - base));
		else
			printf(" address %p", si->si_addr);
		printf(" trap %lld error %llx\n", (long long)g[REG_TRAPNO], (long long)g[REG_ERR] & ~(long long)(g[REG_TRAPNO] == 14)); // whether a page was there already is luck
		siglongjmp(env, 1);
	case SIGFPE:
		printf(" address is rip: %d trap %lld\n", (greg_t)si->si_addr == g[REG_RIP], (long long)g[REG_TRAPNO]);
		siglongjmp(env, 1);
	default:
		printf(" own pid %d own uid %d value %d\n", si->si_pid == getpid(), si->si_uid == getuid(),
		       si->si_code == SI_USER || si->si_code == SI_TKILL || si->si_code == SI_KERNEL ? 0 : si->si_value.sival_int);
	}
}
#define FAULT(what)                          \
	do {                                 \
		printf("%s\n", #what);       \
		if (!sigsetjmp(env, 1)) {    \
			what;                \
			printf("  none\n");  \
		}                            \
	} while (0)

static char volatile *at(long off) { return base + off; }

int main(void) {
	int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGUSR1, SIGALRM, SIGPIPE, SIGRTMIN, SIGVTALRM};
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		on(signals[i], show, 0);
	base = mmap(NULL, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(base != MAP_FAILED);
	CHECK_EQ(mprotect(base + 4096, 4096, PROT_READ), 0);
	CHECK_EQ(mprotect(base + 2 * 4096, 4096, PROT_NONE), 0);
	CHECK_EQ(munmap(base + 3 * 4096, 4096), 0);
	*at(0) = 1;
	FAULT(*at(0x1008) = 1);
	FAULT((void)*at(0x2010));
	FAULT(*at(0x2010) = 1);
	FAULT((void)*at(0x3020));
	FAULT(*at(0x3020) = 1);
	FAULT(*(long volatile *)at(0x3000 - 4)); // across two pages: PROT_NONE first
	FAULT(((void (*)(void))at(0x40))());     // not executable
	FAULT(((void (*)(void))at(0x3040))());   // not mapped
	FAULT((void)*(char volatile *)0x8000000000000000ul); // not canonical
	FAULT(((void (*)(void))0x8000000000000000ul)());
	FAULT(__asm__ volatile("hlt"));
	FAULT(__asm__ volatile("mov %%rax, %%cr3" ::: "memory"));
	FAULT(__asm__ volatile("cli"));

	// A mapping past the end of its file.
	scratch();
	FILE *f = fopen("short", "w+");
	CHECK(f != NULL && fputs("abc", f) >= 0 && fflush(f) == 0);
	char *m = mmap(base + 3 * 4096, 8192, PROT_READ, MAP_PRIVATE | MAP_FIXED, fileno(f), 0);
	CHECK(m != MAP_FAILED);
	FAULT((void)*at(0x3002));
	FAULT((void)*at(0x4123));
	fclose(f);
	unlink("short");

	volatile int one = 1, zero = 0; // 1 / zero would be done without a division
	FAULT(zero = one / zero);
	unsigned short cw = 0x37f & ~4; // x87 divides by zero
	FAULT(({
		double a = 1, b = 0;
		__asm__ volatile("fninit\nfldcw %0\nfldl %1\nfdivl %2\nfwait" ::"m"(cw), "m"(a), "m"(b));
	}));
	__asm__ volatile("fninit");

	printf("sent\n");
	CHECK_EQ(kill(getpid(), SIGUSR1), 0);
	CHECK_EQ(syscall(SYS_tkill, syscall(SYS_gettid), SIGUSR1), 0);
	CHECK_EQ(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGUSR1), 0);
	CHECK_EQ(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 7}), 0);
	CHECK_EQ(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 8}), 0);
	siginfo_t si = {.si_code = -60};
	si.si_pid = getpid(), si.si_uid = getuid(), si.si_value.sival_int = 9;
	CHECK_EQ(syscall(SYS_rt_sigqueueinfo, getpid(), SIGUSR1, &si), 0);
	si.si_code = SI_TIMER;
	si.si_signo = 5, si.si_errno = 77; // the number is the kernel's, the rest is kept
	CHECK_EQ(syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGUSR1, &si), 0);
	int fds[2];
	CHECK_EQ(pipe(fds), 0);
	close(fds[0]);
	CHECK_ERR(write(fds[1], "x", 1), EPIPE);
	// Held back until it is waited for: it may come at once.
	sigset_t alarm, none;
	sigemptyset(&none);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &alarm, NULL), 0);
	struct itimerval it = {{0, 0}, {0, 1000}};
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
	CHECK_ERR(sigsuspend(&none), EINTR);
	return 0;
}
