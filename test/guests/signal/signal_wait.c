// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: sigtimedwait: the thread's signals before the process's, the lowest first,
// no information asked for, an address that cannot be written, the set's KILL and STOP
// ignored, a signal that comes during the wait although its action is to ignore it.
#include "guest.h"
#include <pthread.h>

static pthread_t first;
static void *later(void *arg) {
	sleep_ms(3);
	if (arg)
		CHECK_EQ(pthread_kill(first, (int)(long)arg), 0);
	else
		CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = 33}), 0);
	return NULL;
}

int main(void) {
	first = pthread_self();
	sigset_t s;
	sigfillset(&s);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &s, NULL), 0);
	siginfo_t si;
	struct timespec zero = {0, 0}, long_ = {20, 0};
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(sigqueue(getpid(), SIGRTMIN + 2 - i, (union sigval){.sival_int = i}), 0);
		CHECK_EQ(pthread_sigqueue(first, SIGRTMIN + i, (union sigval){.sival_int = 10 + i}), 0);
	}
	kill(getpid(), SIGUSR2);
	raise(SIGUSR1);
	for (int r; (r = syscall(SYS_rt_sigtimedwait, &s, &si, &zero, 8)) > 0;)
		printf("%d code %d value %d\n", r >= 34 ? r - SIGRTMIN : r, si.si_code, si.si_code == SI_QUEUE ? si.si_value.sival_int : 0);
	SHOW(sigtimedwait(&s, NULL, &zero));
	raise(SIGUSR1);
	SHOW(syscall(SYS_rt_sigtimedwait, &s, NULL, &zero, 8));
	raise(SIGUSR1);
	SHOW(syscall(SYS_rt_sigtimedwait, &s, BAD, &zero, 8)); // taken all the same
	SHOW(syscall(SYS_rt_sigtimedwait, &s, &si, &zero, 8));
	raise(SIGUSR1);
	sigset_t other;
	sigemptyset(&other);
	sigaddset(&other, SIGUSR2);
	sigaddset(&other, SIGKILL);
	SHOW(sigtimedwait(&other, NULL, &zero));
	SHOW(syscall(SYS_rt_sigtimedwait, &s, &si, &zero, 8));

	pthread_t t;
	pthread_create(&t, NULL, later, (void *)SIGUSR2);
	SHOW(syscall(SYS_rt_sigtimedwait, &other, &si, &long_, 8));
	printf("code %d own pid %d\n", si.si_code, si.si_pid == getpid());
	pthread_join(t, NULL);
	signal(SIGUSR2, SIG_IGN);
	pthread_create(&t, NULL, later, (void *)SIGUSR2);
	SHOW(syscall(SYS_rt_sigtimedwait, &other, &si, &long_, 8));
	pthread_join(t, NULL);
	pthread_create(&t, NULL, later, NULL);
	int n = sigwaitinfo(&s, &si);
	printf("real-time %d value %d\n", n - SIGRTMIN, si.si_value.sival_int);
	pthread_join(t, NULL);
	return 0;
}
