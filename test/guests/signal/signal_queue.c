// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: sigqueue carries values, real-time signals queue in order and come
// lowest first, sigwaitinfo, sigtimedwait and sigsuspend take them, and who
// sent a signal is told.
#include "guest.h"
#include <sys/syscall.h>

static void show(int s, siginfo_t *si, void *c) {
	(void)c;
	CHECK_EQ(si->si_pid, getpid());
	CHECK_EQ(si->si_uid, getuid());
	printf("handler: RTMIN+%d value %d code %d\n", s - SIGRTMIN, si->si_value.sival_int, si->si_code);
}

static volatile int alarms;
static void count(int s, siginfo_t *si, void *c) { (void)s, (void)si, (void)c, alarms++; }

int main(void) {
	sigset_t rt, old;
	sigemptyset(&rt);
	for (int i = 0; i < 4; i++) {
		sigaddset(&rt, SIGRTMIN + i);
		on(SIGRTMIN + i, show, 0);
	}
	CHECK_EQ(sigprocmask(SIG_BLOCK, &rt, &old), 0);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(sigqueue(getpid(), SIGRTMIN + (i * 3 & 3), (union sigval){.sival_int = i}), 0);
	siginfo_t si;
	CHECK_EQ(sigwaitinfo(&rt, &si), SIGRTMIN);
	printf("waited: RTMIN+0 value %d code %d\n", si.si_value.sival_int, si.si_code);
	CHECK_EQ(sigprocmask(SIG_SETMASK, &old, NULL), 0);

	// Time runs out.
	struct timespec ts = {0, 3000000};
	CHECK_EQ(sigprocmask(SIG_BLOCK, &rt, NULL), 0);
	int64_t start = now(CLOCK_MONOTONIC);
	CHECK_ERR(sigtimedwait(&rt, &si, &ts), EAGAIN);
	CHECK(now(CLOCK_MONOTONIC) - start >= 3000000);
	ts.tv_nsec = 0;
	CHECK_ERR(sigtimedwait(&rt, &si, &ts), EAGAIN);
	ts.tv_nsec = 1000000000;
	CHECK_ERR(sigtimedwait(&rt, &si, &ts), EINVAL);
	// What is not waited for is handled, and interrupts.
	on(SIGALRM, count, SA_RESTART);
	ualarm(2000, 2000); // again, should the first one come too early
	CHECK_ERR(sigwaitinfo(&rt, &si), EINTR);
	ualarm(0, 0);
	CHECK(alarms >= 1);
	alarms = 0;

	// sigsuspend opens the mask for its duration only.
	sigset_t block, none;
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	sigemptyset(&none);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &block, NULL), 0);
	ualarm(1000, 0);
	sleep_ms(3);
	CHECK_EQ(alarms, 0);
	CHECK_ERR(sigsuspend(&none), EINTR);
	CHECK_EQ(alarms, 1);
	sigset_t cur;
	sigprocmask(SIG_SETMASK, NULL, &cur);
	CHECK(sigismember(&cur, SIGALRM));

	// kill, raise (tgkill) and a thread that cannot exist.
	CHECK_EQ(kill(getpid(), SIGRTMIN), 0);
	CHECK_EQ(sigwaitinfo(&rt, &si), SIGRTMIN);
	CHECK(si.si_code == SI_USER && si.si_pid == getpid());
	CHECK_EQ(raise(SIGRTMIN), 0);
	// Directly, because glibc turns the code into SI_USER.
	CHECK_EQ(syscall(SYS_rt_sigtimedwait, &rt, &si, NULL, 8), SIGRTMIN);
	CHECK(si.si_code == SI_TKILL && si.si_pid == getpid());
	CHECK_ERR(syscall(SYS_tgkill, getpid(), 0x3fffffff, SIGRTMIN), ESRCH);
	CHECK_ERR(syscall(SYS_tgkill, getpid(), -1, SIGRTMIN), EINVAL);
	printf("queues ok\n");
	return 0;
}
