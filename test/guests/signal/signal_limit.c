// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: RLIMIT_SIGPENDING bounds queued real-time signals with EAGAIN; kill comes
// through without its data all the same; standard signals are queued once; taking one
// makes room.
#include "guest.h"
#include <sys/resource.h>

int main(void) {
	struct rlimit l = {8, 8}, was;
	CHECK_EQ(getrlimit(RLIMIT_SIGPENDING, &was), 0);
	CHECK(was.rlim_cur > 100);
	sigset_t rt;
	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMIN);
	sigaddset(&rt, SIGRTMIN + 1);
	sigaddset(&rt, SIGUSR1);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &rt, NULL), 0);
	CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &l), 0);
	// Others of the same user count natively: only that it ends, early and with EAGAIN.
	int n = 0;
	while (n < 100 && sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = n}) == 0)
		n++;
	CHECK(n <= 8);
	CHECK_ERR(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 0}), EAGAIN);
	CHECK_ERR(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 0}), EAGAIN);
	SHOW(kill(getpid(), SIGRTMIN + 1)); // queued without data
	SHOW(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 5}));
	SHOW(sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 6}));
	siginfo_t si;
	int got = 0;
	struct timespec zero = {0, 0};
	while (sigtimedwait(&rt, &si, &zero) > 0) {
		if (si.si_signo == SIGRTMIN) {
			CHECK_EQ(si.si_value.sival_int, got);
			got++;
		} else
			printf("signal %d code %d\n", si.si_signo == SIGUSR1 ? SIGUSR1 : si.si_signo - SIGRTMIN, si.si_code);
	}
	CHECK_EQ(got, n);
	l.rlim_cur = 0;
	CHECK_EQ(setrlimit(RLIMIT_SIGPENDING, &l), 0);
	SHOW(sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 0}));
	SHOW(syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGRTMIN));
	SHOW(kill(getpid(), SIGUSR1));
	SHOW(sigtimedwait(&rt, &si, &zero) - SIGUSR1);
	return 0;
}
