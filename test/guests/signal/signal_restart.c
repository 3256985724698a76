// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: a handler interrupts a blocking call with EINTR, or lets it go on
// with SA_RESTART; sleeps report the time that was left.
#include "guest.h"
#include <poll.h>
#include <sys/time.h>

static int fds[2];
static volatile int hits;
static void writes(int s, siginfo_t *si, void *c) {
	(void)s, (void)si, (void)c;
	if (++hits == 2)
		CHECK_EQ(write(fds[1], "x", 1), 1);
}
static void counts(int s, siginfo_t *si, void *c) { (void)s, (void)si, (void)c, hits++; }

static void every(int us) {
	struct itimerval it = {{0, us}, {0, us}};
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
}

int main(void) {
	char b;
	CHECK_EQ(pipe(fds), 0);
	on(SIGALRM, counts, 0);
	every(2000);
	CHECK_ERR(read(fds[0], &b, 1), EINTR);
	CHECK(hits >= 1);
	every(0);

	hits = 0;
	on(SIGALRM, writes, SA_RESTART);
	every(2000);
	CHECK_EQ(read(fds[0], &b, 1), 1); // goes on after the first, ends by the second
	CHECK(hits >= 2);

	// Never restarted.
	struct pollfd p = {fds[0], POLLIN, 0};
	on(SIGALRM, counts, SA_RESTART);
	CHECK_ERR(poll(&p, 1, -1), EINTR);
	CHECK_ERR(pause(), EINTR);
	struct timespec ts = {10, 0}, left = {0, 0};
	CHECK_ERR(nanosleep(&ts, &left), EINTR);
	CHECK(left.tv_sec >= 1 && left.tv_sec <= 9);
	left = (struct timespec){0, 0};
	CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, &left), EINTR);
	CHECK(left.tv_sec >= 1 && left.tv_sec <= 9);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec += 10;
	CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL), EINTR);
	every(0);
	printf("restart ok\n");
	return 0;
}
