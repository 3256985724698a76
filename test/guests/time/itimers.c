// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the three timers of setitimer: signals, intervals, reading and replacing,
// disarming, what counts for each, wrong arguments; alarm shares the first.
#include "guest.h"
#include <sys/time.h>

static volatile int hits[65];
static void hit(int s, siginfo_t *si, void *c) { hits[s]++; }

int main(void) {
	static const int which[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF}, sigs[] = {SIGALRM, SIGVTALRM, SIGPROF};
	struct itimerval it, old;
	for (int i = 0; i < 3; i++) {
		on(sigs[i], hit, SA_RESTART);
		it = (struct itimerval){{0, 3000}, {0, 2000}};
		memset(&old, 0xff, sizeof old);
		CHECK_EQ(setitimer(which[i], &it, &old), 0);
		CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec == 0 && old.it_interval.tv_usec == 0);
		int64_t start = now(CLOCK_MONOTONIC);
		while (hits[sigs[i]] < 4)
			if (i == 0)
				sleep_ms(1);
		CHECK(now(CLOCK_MONOTONIC) - start >= 5000000);
		CHECK_EQ(getitimer(which[i], &old), 0);
		CHECK(old.it_interval.tv_usec == 3000 || old.it_interval.tv_usec == 4000); // in ticks for processor time
		CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_usec <= 8000);
		it = (struct itimerval){{5, 0}, {100, 0}};
		CHECK_EQ(setitimer(which[i], &it, &old), 0);
		CHECK(old.it_value.tv_usec <= 8000);
		it = (struct itimerval){{0, 0}, {0, 0}};
		CHECK_EQ(setitimer(which[i], &it, &old), 0);
		CHECK(old.it_value.tv_sec >= 99 && old.it_value.tv_sec <= 100);
		CHECK_EQ(old.it_interval.tv_sec, 5);
		int seen = hits[sigs[i]];
		start = now(CLOCK_MONOTONIC);
		while (now(CLOCK_MONOTONIC) - start < 10000000)
			;
		CHECK_EQ(hits[sigs[i]], seen);
		printf("timer %d ok\n", i);
	}
	// Processor time stands still in sleep.
	it = (struct itimerval){{0, 0}, {0, 30000}};
	hits[SIGPROF] = hits[SIGVTALRM] = 0;
	CHECK_EQ(setitimer(ITIMER_PROF, &it, NULL), 0);
	CHECK_EQ(setitimer(ITIMER_VIRTUAL, &it, NULL), 0);
	sleep_ms(60);
	CHECK_EQ(hits[SIGPROF], 0);
	CHECK_EQ(hits[SIGVTALRM], 0);
	it.it_value.tv_usec = 0;
	CHECK_EQ(setitimer(ITIMER_PROF, &it, NULL), 0);
	CHECK_EQ(setitimer(ITIMER_VIRTUAL, &it, NULL), 0);

	SHOW(alarm(50));
	CHECK_EQ(getitimer(ITIMER_REAL, &old), 0);
	CHECK(old.it_value.tv_sec >= 49 && old.it_interval.tv_sec == 0);
	it = (struct itimerval){{0, 0}, {7, 400000}};
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
	SHOW(alarm(0));
	it = (struct itimerval){{0, 0}, {0, 100000}};
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
	SHOW(alarm(0)); // never 0 for what was armed
	SHOW(syscall(SYS_setitimer, 3, &it, NULL));
	SHOW(syscall(SYS_setitimer, -1, &it, NULL));
	SHOW(syscall(SYS_getitimer, 3, &it));
	SHOW(syscall(SYS_getitimer, ITIMER_REAL, BAD));
	SHOW(syscall(SYS_setitimer, ITIMER_REAL, BAD, NULL));
	it.it_value = (struct timeval){0, 1000000};
	SHOW(syscall(SYS_setitimer, ITIMER_REAL, &it, NULL));
	it.it_value = (struct timeval){0, -1};
	SHOW(syscall(SYS_setitimer, ITIMER_REAL, &it, NULL));
	it.it_value = (struct timeval){-1, 0};
	SHOW(syscall(SYS_setitimer, ITIMER_REAL, &it, NULL));
	it.it_value = (struct timeval){0, 0}, it.it_interval = (struct timeval){0, 1000000};
	SHOW(syscall(SYS_setitimer, ITIMER_REAL, &it, NULL));
	it = (struct itimerval){{0, 0}, {30, 0}};
	SHOW(syscall(SYS_setitimer, ITIMER_REAL, &it, BAD)); // armed all the same
	SHOW(alarm(0));
	return 0;
}
