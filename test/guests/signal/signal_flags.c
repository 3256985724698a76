// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: SA_NODEFER, SA_RESETHAND, SA_SIGINFO or not, sa_mask, the order in which
// handlers of several pending signals run, and that masks come back.
#include "guest.h"

static volatile int depth;
static uint64_t mask(void) {
	uint64_t m = 0;
	CHECK_EQ(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &m, 8), 0);
	return m;
}
static void deeper(int s) {
	int d = ++depth;
	printf("enter %d depth %d mask %llx\n", s, d, (long long)mask());
	if (d < 3)
		raise(s);
	printf("leave %d depth %d\n", s, d);
}
static void note(int s) { printf("handler %d mask %llx\n", s, (long long)mask()); }

static void install(int s, void (*f)(int), int flags, int also) {
	struct sigaction a = {.sa_handler = f, .sa_flags = flags};
	if (also)
		sigaddset(&a.sa_mask, also);
	CHECK_EQ(sigaction(s, &a, NULL), 0);
}

int main(void) {
	struct sigaction old;
	printf("deferred\n");
	install(SIGUSR1, deeper, 0, 0);
	raise(SIGUSR1);
	printf("not deferred\n");
	depth = 0;
	install(SIGUSR1, deeper, SA_NODEFER, 0);
	raise(SIGUSR1);
	printf("not deferred, but in the mask\n");
	depth = 0;
	install(SIGUSR1, deeper, SA_NODEFER, SIGUSR1);
	raise(SIGUSR1);
	printf("once\n");
	install(SIGUSR2, note, SA_RESETHAND, SIGUSR1);
	raise(SIGUSR2);
	CHECK_EQ(sigaction(SIGUSR2, NULL, &old), 0);
	printf("default again: %d, flags %x\n", old.sa_handler == SIG_DFL, (unsigned)old.sa_flags & ~0x04000000u);
	printf("mask %llx\n", (long long)mask());

	// KILL and STOP cannot be blocked.
	sigset_t all, before;
	sigfillset(&all);
	CHECK_EQ(sigprocmask(SIG_SETMASK, &all, &before), 0);
	printf("all: %llx\n", (long long)mask());
	install(SIGUSR1, note, 0, 0);
	install(SIGUSR2, note, 0, 0);
	install(SIGINT, note, 0, 0);
	install(SIGSEGV, note, 0, 0);
	install(SIGTRAP, note, 0, 0);
	install(SIGRTMIN, note, 0, 0);
	install(SIGRTMIN + 1, note, 0, 0);
	install(SIGCHLD, note, 0, 0);
	int order[] = {SIGRTMIN + 1, SIGUSR2, SIGINT, SIGRTMIN, SIGSEGV, SIGUSR1, SIGCHLD, SIGTRAP};
	for (unsigned i = 0; i < sizeof order / sizeof *order; i++) {
		CHECK_EQ(kill(getpid(), order[i]), 0);       // to the process
		CHECK_EQ(kill(getpid(), order[i]), 0);       // standard ones once
		CHECK_EQ(raise(order[i]), 0);                // and to the thread
	}
	uint64_t pending = 0;
	CHECK_EQ(syscall(SYS_rt_sigpending, &pending, 8), 0);
	printf("pending %llx\n", (long long)pending);
	CHECK_EQ(sigprocmask(SIG_SETMASK, &before, NULL), 0);
	CHECK_EQ(syscall(SYS_rt_sigpending, &pending, 8), 0);
	printf("pending %llx\n", (long long)pending);

	// Ignoring drops what is pending; the default of SIGCHLD does too.
	CHECK_EQ(sigprocmask(SIG_SETMASK, &all, NULL), 0);
	raise(SIGUSR1), kill(getpid(), SIGUSR2), raise(SIGCHLD), raise(SIGURG), raise(SIGINT);
	install(SIGUSR1, SIG_IGN, 0, 0);
	install(SIGUSR2, SIG_IGN, 0, 0);
	install(SIGCHLD, SIG_DFL, 0, 0);
	CHECK_EQ(syscall(SYS_rt_sigpending, &pending, 8), 0);
	printf("pending %llx\n", (long long)pending);
	raise(SIGUSR1); // ignored, but blocked: it waits
	CHECK_EQ(syscall(SYS_rt_sigpending, &pending, 8), 0);
	printf("pending %llx\n", (long long)pending);
	CHECK_EQ(sigprocmask(SIG_SETMASK, &before, NULL), 0);
	return 0;
}
