// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: setitimer, alarm, POSIX timers with signals and values, their
// intervals, overruns, reading and disarming, and timerfd.
#include "guest.h"
#include <poll.h>
#include <sys/time.h>
#include <sys/timerfd.h>

static volatile int hits, value;
static void hit(int s, siginfo_t *si, void *c) {
	(void)s, (void)c;
	hits++;
	value = si->si_code == SI_TIMER ? si->si_value.sival_int : -1;
}

int main(void) {
	on(SIGALRM, hit, SA_RESTART);
	on(SIGUSR1, hit, SA_RESTART);
	int64_t start = now(CLOCK_MONOTONIC);
	struct itimerval it = {{0, 0}, {0, 4000}}, cur;
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
	CHECK_EQ(getitimer(ITIMER_REAL, &cur), 0);
	CHECK(cur.it_value.tv_sec == 0 && cur.it_value.tv_usec <= 4000);
	while (hits == 0)
		sleep_ms(1);
	CHECK(now(CLOCK_MONOTONIC) - start >= 4000000);
	sleep_ms(10);
	CHECK_EQ(hits, 1); // once only
	CHECK_EQ(getitimer(ITIMER_REAL, &cur), 0);
	CHECK(cur.it_value.tv_sec == 0 && cur.it_value.tv_usec == 0);

	hits = 0;
	it = (struct itimerval){{0, 2000}, {0, 2000}};
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
	while (hits < 5)
		sleep_ms(1);
	it = (struct itimerval){{0, 0}, {0, 0}};
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
	CHECK_EQ(alarm(100), 0);
	int left = alarm(0);
	CHECK(left == 100 || left == 99);
	it.it_value.tv_usec = 1000000;
	CHECK_ERR(setitimer(ITIMER_REAL, &it, NULL), EINVAL);
	printf("itimer ok\n");

	// Processor time.
	hits = 0;
	on(SIGPROF, hit, SA_RESTART);
	it = (struct itimerval){{0, 0}, {0, 5000}};
	CHECK_EQ(setitimer(ITIMER_PROF, &it, NULL), 0);
	while (hits == 0)
		;
	printf("profiling timer ok\n");

	hits = 0;
	timer_t t;
	struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77};
	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &ev, &t), 0);
	struct itimerspec its = {{0, 1000000}, {0, 1000000}}, now_;
	CHECK_EQ(timer_settime(t, 0, &its, NULL), 0);
	while (hits < 3)
		sleep_ms(1);
	CHECK_EQ(value, 77);
	CHECK_EQ(timer_gettime(t, &now_), 0);
	CHECK(now_.it_interval.tv_nsec == 1000000 && now_.it_value.tv_nsec <= 1000000);
	// While blocked it is queued once, and the rest are counted.
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	sigprocmask(SIG_BLOCK, &s, NULL);
	sleep_ms(10);
	int before = hits;
	sigset_t none;
	sigemptyset(&none);
	sigsuspend(&none);
	CHECK_EQ(hits, before + 1);
	CHECK(timer_getoverrun(t) >= 3);
	CHECK_EQ(timer_delete(t), 0);
	sigprocmask(SIG_UNBLOCK, &s, NULL);
	CHECK_ERR(timer_delete(t), EINVAL);
	printf("POSIX timer ok\n");

	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	CHECK(fd >= 0);
	uint64_t n;
	CHECK_ERR(read(fd, &n, 8), EAGAIN);
	its = (struct itimerspec){{0, 1000000}, {0, 2000000}};
	CHECK_EQ(timerfd_settime(fd, 0, &its, NULL), 0);
	struct pollfd p = {fd, POLLIN, 0};
	CHECK_EQ(poll(&p, 1, 10000), 1);
	sleep_ms(5);
	CHECK_EQ(read(fd, &n, 8), 8);
	CHECK(n >= 5);
	CHECK_ERR(read(fd, &n, 4), EINVAL);
	CHECK_EQ(close(fd), 0);
	printf("timerfd ok\n");
	return 0;
}
