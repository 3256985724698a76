// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: timer_create with each kind of notification and each clock, absolute times,
// overruns while the signal is blocked, a deleted timer's signal, limits, wrong
// arguments.
#include "guest.h"
#include <pthread.h>
#include <stdatomic.h>

static volatile int hits, value, overrun, code, by;
static __thread int me;
static void hit(int s, siginfo_t *si, void *c) {
	hits++, value = si->si_value.sival_int, overrun = si->si_overrun, code = si->si_code, by = me;
}
static long make(int clock, void *ev, void *id) { return syscall(SYS_timer_create, clock, ev, id); }
static long set(int id, int flags, const void *n, void *o) { return syscall(SYS_timer_settime, id, flags, n, o); }
static atomic_int tid, stop;
static void *thread(void *arg) {
	me = 2;
	tid = syscall(SYS_gettid);
	while (!stop)
		sleep_ms(1);
	return NULL;
}

int main(void) {
	int id = -1, other = -1;
	on(SIGUSR1, hit, 0);
	on(SIGALRM, hit, 0);
	on(SIGRTMIN, hit, 0);
	static const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
	struct itimerspec its = {{0, 0}, {0, 2000000}}, cur;
	for (int i = 0; i < 6; i++) {
		struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 100 + i};
		CHECK_EQ(make(clocks[i], &ev, &id), 0);
		hits = 0;
		CHECK_EQ(set(id, 0, &its, NULL), 0);
		while (hits == 0)
			if (i < 4)
				sleep_ms(1);
		printf("clock %d: value %d code %d overrun %d\n", clocks[i], value, code, overrun);
		CHECK_EQ(syscall(SYS_timer_gettime, id, &cur), 0);
		CHECK(cur.it_value.tv_nsec == 0 && cur.it_value.tv_sec == 0);
		hits = 0;
		struct itimerspec abs = {{0, 0}, {0, 0}};
		int64_t at = now(clocks[i]) + 2000000;
		abs.it_value = (struct timespec){at / 1000000000, at % 1000000000};
		CHECK_EQ(set(id, TIMER_ABSTIME, &abs, NULL), 0);
		while (hits == 0)
			if (i < 4)
				sleep_ms(1);
		CHECK(now(clocks[i]) >= at);
		CHECK_EQ(syscall(SYS_timer_delete, id), 0);
	}
	// Without an event: SIGALRM with the timer's number.
	hits = 0;
	CHECK_EQ(make(CLOCK_MONOTONIC, NULL, &id), 0);
	CHECK_EQ(set(id, 0, &its, NULL), 0);
	while (hits == 0)
		sleep_ms(1);
	CHECK_EQ(value, id);
	// None at all: it only counts down.
	struct sigevent none = {.sigev_notify = SIGEV_NONE};
	CHECK_EQ(make(CLOCK_MONOTONIC, &none, &other), 0);
	CHECK(other != id);
	its = (struct itimerspec){{1, 0}, {30, 0}};
	CHECK_EQ(set(other, 0, &its, NULL), 0);
	CHECK_EQ(syscall(SYS_timer_gettime, other, &cur), 0);
	CHECK(cur.it_value.tv_sec >= 29 && cur.it_interval.tv_sec == 1);
	struct itimerspec off = {{0, 0}, {0, 0}};
	CHECK_EQ(set(other, 0, &off, &cur), 0);
	CHECK(cur.it_value.tv_sec >= 29);
	its = (struct itimerspec){{0, 0}, {0, 1000000}};
	CHECK_EQ(set(other, 0, &its, NULL), 0);
	sleep_ms(5);
	CHECK_EQ(syscall(SYS_timer_gettime, other, &cur), 0);
	CHECK_EQ(cur.it_value.tv_nsec, 0);
	// To a thread.
	pthread_t t;
	CHECK_EQ(pthread_create(&t, NULL, thread, NULL), 0);
	while (tid == 0)
		sleep_ms(1);
	me = 1;
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 9};
	ev._sigev_un._tid = tid;
	int third;
	CHECK_EQ(make(CLOCK_MONOTONIC, &ev, &third), 0);
	hits = 0;
	CHECK_EQ(set(third, 0, &its, NULL), 0);
	while (hits == 0)
		sleep_ms(1);
	printf("thread %d value %d\n", by, value);
	stop = 1;
	pthread_join(t, NULL);
	SHOW(set(third, 0, &its, NULL)); // its thread is gone
	sleep_ms(3);
	SHOW(syscall(SYS_timer_delete, third));
	ev._sigev_un._tid = 0x3ffffff;
	SHOW(make(CLOCK_MONOTONIC, &ev, &third));

	// Overruns.
	sigset_t s, empty;
	sigemptyset(&s);
	sigemptyset(&empty);
	sigaddset(&s, SIGRTMIN);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &s, NULL), 0);
	ev = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
	CHECK_EQ(make(CLOCK_MONOTONIC, &ev, &third), 0);
	its = (struct itimerspec){{0, 1000000}, {0, 1000000}};
	CHECK_EQ(set(third, 0, &its, NULL), 0);
	sleep_ms(12);
	hits = 0;
	sigsuspend(&empty);
	CHECK_EQ(hits, 1); // one for all
	long n = syscall(SYS_timer_getoverrun, third);
	CHECK(n >= 5 && n == overrun);
	CHECK_EQ(set(third, 0, &off, NULL), 0);
	CHECK_EQ(syscall(SYS_timer_delete, third), 0);

	SHOW(make(-1, NULL, &third));
	SHOW(make(99, NULL, &third));
	SHOW(make(CLOCK_MONOTONIC_COARSE, NULL, &third));
	SHOW(make(CLOCK_MONOTONIC_RAW, NULL, &third));
	SHOW(make(CLOCK_MONOTONIC, BAD, &third));
	SHOW(make(CLOCK_MONOTONIC, NULL, BAD));
	ev.sigev_signo = 0;
	SHOW(make(CLOCK_MONOTONIC, &ev, &third));
	ev.sigev_signo = 65;
	SHOW(make(CLOCK_MONOTONIC, &ev, &third));
	ev.sigev_signo = SIGUSR1, ev.sigev_notify = 3;
	SHOW(make(CLOCK_MONOTONIC, &ev, &third));
	ev.sigev_notify = SIGEV_THREAD_ID | SIGEV_NONE;
	SHOW(make(CLOCK_MONOTONIC, &ev, &third));
	ev.sigev_notify = SIGEV_NONE, ev.sigev_signo = 0;
	SHOW(make(CLOCK_MONOTONIC, &ev, &third));
	SHOW(syscall(SYS_timer_delete, 0x3fffffff));
	SHOW(syscall(SYS_timer_delete, -1));
	SHOW(syscall(SYS_timer_getoverrun, 0x3fffffff));
	SHOW(syscall(SYS_timer_gettime, 0x3fffffff, &cur));
	SHOW(syscall(SYS_timer_gettime, id, BAD));
	SHOW(set(0x3fffffff, 0, &its, NULL));
	SHOW(set(id, 0, NULL, NULL));
	SHOW(set(id, 0, BAD, NULL));
	its.it_value.tv_nsec = 1000000000;
	SHOW(set(id, 0, &its, NULL));
	its.it_value.tv_nsec = 0, its.it_interval.tv_nsec = -1;
	SHOW(set(id, 0, &its, NULL));
	SHOW(set(id, 0, &off, BAD));
	SHOW(set(id, 0xff, &off, NULL));
	return 0;
}
