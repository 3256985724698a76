// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// The timers that count processor time, as profilers use them: the thread that spends the
// time gets the signal, not one that waits; setitimer(2).
#include "guest.h"
#include <pthread.h>
#include <sys/time.h>

static pthread_t spins;
static volatile sig_atomic_t by_spinning, by_others;

static void sample(int s, siginfo_t *si, void *ctx) {
	(void)s, (void)ctx;
	if (si->si_code != SI_KERNEL)
		_exit(2);
	if (pthread_equal(pthread_self(), spins))
		by_spinning++;
	else
		by_others++;
}

static void *spin(void *arg) {
	spins = pthread_self();
	int64_t end = now(CLOCK_THREAD_CPUTIME_ID) + 300000000;
	while (now(CLOCK_THREAD_CPUTIME_ID) < end) // in user mode, mostly
		for (volatile int i = 0; i < 1000000; i++)
			;
	return arg;
}

static void *wait(void *arg) {
	sigset_t none;
	sigemptyset(&none);
	for (;;)
		sigsuspend(&none);
	return arg;
}

static void profile(int which, int sig) {
	by_spinning = by_others = 0;
	on(sig, sample, SA_RESTART);
	struct itimerval it = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}};
	pthread_t t;
	CHECK(setitimer(which, &it, NULL) == 0);
	CHECK(pthread_create(&t, NULL, spin, NULL) == 0 && pthread_join(t, NULL) == 0);
	CHECK(setitimer(which, &off, NULL) == 0);
	CHECK(by_spinning >= 10);
	CHECK(by_others <= 2); // when the thread is about to end, or has not begun
}

int main(void) {
	pthread_t t;
	CHECK(pthread_create(&t, NULL, wait, NULL) == 0);
	profile(ITIMER_PROF, SIGPROF);
	profile(ITIMER_VIRTUAL, SIGVTALRM);
	printf("sampled\n");
	return 0;
}
