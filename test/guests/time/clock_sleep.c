// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: sleeps on each clock that can be slept on, relative and absolute, in the past
// and interrupted; nothing of the rest is written for absolute ones.
#include "guest.h"
#include <sys/time.h>

static volatile int hits;
static void hit(int s, siginfo_t *si, void *c) { hits++; }
static struct timespec in(clockid_t c, int64_t ns) {
	int64_t t = now(c) + ns;
	return (struct timespec){t / 1000000000, t % 1000000000};
}

int main(void) {
	static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI};
	on(SIGALRM, hit, SA_RESTART);
	for (int i = 0; i < 4; i++) {
		clockid_t c = clocks[i];
		struct timespec ts = {0, 2000000}, left = {7, 7};
		int64_t start = now(c);
		CHECK_EQ(clock_nanosleep(c, 0, &ts, &left), 0);
		CHECK(now(c) - start >= 2000000);
		CHECK(left.tv_sec == 7 && left.tv_nsec == 7);
		ts = in(c, 2000000);
		CHECK_EQ(clock_nanosleep(c, TIMER_ABSTIME, &ts, &left), 0);
		CHECK(now(c) >= ts.tv_sec * 1000000000ll + ts.tv_nsec);
		ts = in(c, -5000000000ll);
		CHECK_EQ(clock_nanosleep(c, TIMER_ABSTIME, &ts, NULL), 0);
		ts = (struct timespec){0, 0};
		CHECK_EQ(clock_nanosleep(c, 0, &ts, NULL), 0);
		CHECK_EQ(clock_nanosleep(c, TIMER_ABSTIME, &ts, NULL), 0);
		hits = 0;
		struct itimerval it = {{0, 2000}, {0, 2000}};
		setitimer(ITIMER_REAL, &it, NULL);
		ts = (struct timespec){20, 0};
		CHECK_EQ(clock_nanosleep(c, 0, &ts, &left), EINTR);
		CHECK(left.tv_sec >= 15 && left.tv_sec < 20);
		CHECK_EQ(clock_nanosleep(c, 0, &left, &left), EINTR); // the same place
		CHECK(left.tv_sec >= 10 && left.tv_sec < 20);
		left = (struct timespec){7, 7};
		ts = in(c, 20000000000ll);
		CHECK_EQ(clock_nanosleep(c, TIMER_ABSTIME, &ts, &left), EINTR);
		CHECK(left.tv_sec == 7 && left.tv_nsec == 7);
		CHECK_EQ(clock_nanosleep(c, 0, &ts, readonly_page()), EFAULT); // interrupted, and nowhere to say how long
		it = (struct itimerval){{0, 0}, {0, 0}};
		setitimer(ITIMER_REAL, &it, NULL);
		printf("clock %d ok\n", c);
	}
	struct timespec ts = {0x7fffffffffffffff, 999999999}; // longer than there is time
	struct itimerval it = {{0, 2000}, {0, 2000}}; // again, should the first one come too early
	setitimer(ITIMER_REAL, &it, NULL);
	CHECK_ERR(nanosleep(&ts, NULL), EINTR);
	return 0;
}
