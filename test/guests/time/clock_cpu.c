// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: clocks of processor time: of the process, of the caller, of another thread;
// they grow with work, not with sleep; sleeping on one; getrusage and times agree.
#include "guest.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/times.h>

static atomic_int stop, running;
static void work(int ms) {
	int64_t until = now(CLOCK_PROCESS_CPUTIME_ID) + ms * 1000000ll;
	while (now(CLOCK_PROCESS_CPUTIME_ID) < until)
		;
}
static void *spins(void *arg) {
	running = 1;
	while (!stop)
		;
	CHECK(now(CLOCK_THREAD_CPUTIME_ID) >= 10000000);
	return NULL;
}
static void *sleeps(void *arg) {
	running = 2;
	while (!stop)
		sleep_ms(1);
	return NULL;
}

int main(void) {
	int64_t p0 = now(CLOCK_PROCESS_CPUTIME_ID), t0 = now(CLOCK_THREAD_CPUTIME_ID);
	work(30);
	int64_t p1 = now(CLOCK_PROCESS_CPUTIME_ID), t1 = now(CLOCK_THREAD_CPUTIME_ID);
	CHECK(p1 - p0 >= 30000000);
	CHECK(t1 - t0 >= 20000000);
	sleep_ms(60);
	CHECK(now(CLOCK_THREAD_CPUTIME_ID) - t1 < 50000000);
	CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - p1 < 50000000);

	clockid_t c, d;
	pthread_t t, s;
	CHECK_EQ(pthread_create(&s, NULL, sleeps, NULL), 0);
	while (running != 2)
		sleep_ms(1);
	CHECK_EQ(pthread_create(&t, NULL, spins, NULL), 0);
	while (running != 1)
		sleep_ms(1);
	CHECK_EQ(pthread_getcpuclockid(t, &c), 0);
	CHECK_EQ(pthread_getcpuclockid(s, &d), 0);
	int64_t c0 = now(c), d0 = now(d), own = now(CLOCK_THREAD_CPUTIME_ID);
	sleep_ms(50);
	while (now(c) - c0 < 20000000)
		sleep_ms(1);
	CHECK(now(d) - d0 < now(c) - c0); // who sleeps uses less
	CHECK(now(CLOCK_THREAD_CPUTIME_ID) - own < now(c) - c0);
	clockid_t proc;
	CHECK_EQ(clock_getcpuclockid(0, &proc), 0);
	CHECK(now(proc) >= p1);
	CHECK_EQ(clock_getcpuclockid(getpid(), &proc), 0);
	CHECK(now(proc) >= now(c));
	struct timespec ts = {1, 0};
	SHOW(clock_settime(proc, &ts) == -1 ? errno : 0);
	// A sleep on the process's clock ends because the other thread works.
	ts = (struct timespec){0, 10000000};
	int64_t before = now(CLOCK_PROCESS_CPUTIME_ID);
	CHECK_EQ(clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &ts, NULL), 0);
	CHECK(now(CLOCK_PROCESS_CPUTIME_ID) - before >= 10000000);
	stop = 1;
	pthread_join(t, NULL);
	pthread_join(s, NULL);
	SHOW(syscall(SYS_clock_gettime, c, &ts)); // of a thread that has ended
	SHOW(syscall(SYS_clock_gettime, ~(clockid_t)0x3ffffff << 3 | 6, &ts));
	SHOW(syscall(SYS_clock_gettime, ~(clockid_t)0x3ffffff << 3 | 2, &ts));
	SHOW(syscall(SYS_clock_getres, proc, &ts));

	struct rusage r, th;
	struct tms tm;
	CHECK_EQ(getrusage(RUSAGE_SELF, &r), 0);
	CHECK_EQ(getrusage(RUSAGE_THREAD, &th), 0);
	int64_t us = (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000ll + r.ru_utime.tv_usec + r.ru_stime.tv_usec;
	int64_t thread_us = (th.ru_utime.tv_sec + th.ru_stime.tv_sec) * 1000000ll + th.ru_utime.tv_usec + th.ru_stime.tv_usec;
	CHECK(us >= 50000 && thread_us <= us && thread_us > 0);
	CHECK(r.ru_maxrss > 100 && r.ru_minflt > 0);
	CHECK(times(&tm) != -1);
	CHECK((tm.tms_utime + tm.tms_stime) * 10000 <= us + 40000);
	CHECK_EQ(tm.tms_cutime, 0);
	CHECK_EQ(getrusage(RUSAGE_CHILDREN, &r), 0);
	CHECK_EQ(r.ru_utime.tv_sec, 0);
	SHOW(getrusage(2, &r));
	SHOW(getrusage(-2, &r));
	SHOW(syscall(SYS_getrusage, RUSAGE_SELF, BAD));
	return 0;
}
