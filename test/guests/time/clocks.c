// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: clocks go forward and agree with each other, sleeps last at least as
// long as asked, and wrong arguments are refused.
#include "guest.h"
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/resource.h>

int main(void) {
	int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC_COARSE, CLOCK_REALTIME_COARSE,
			CLOCK_BOOTTIME, CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
	for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
		int64_t last = now(clocks[i]);
		CHECK(last >= 0);
		for (int k = 0; k < 2000; k++) {
			int64_t t = now(clocks[i]);
			// A real-time clock may be set back while this runs: not by much.
			CHECK(t >= last - (clocks[i] == CLOCK_REALTIME ? 1000000000 : 0));
			last = t;
		}
		struct timespec res;
		CHECK_EQ(clock_getres(clocks[i], &res), 0);
		CHECK(res.tv_sec == 0 && res.tv_nsec > 0);
	}
	CHECK(now(CLOCK_REALTIME) > 1700000000ll * 1000000000);
	struct timeval tv;
	CHECK_EQ(gettimeofday(&tv, NULL), 0);
	CHECK(llabs((long long)tv.tv_sec - time(NULL)) <= 1);

	// By the vDSO or by the call itself: one clock.
	for (int i = 0; i < 50; i++) {
		struct timespec ts;
		int64_t a = now(CLOCK_MONOTONIC);
		CHECK_EQ(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts), 0);
		int64_t b = ts.tv_sec * 1000000000ll + ts.tv_nsec, c = now(CLOCK_MONOTONIC);
		CHECK(a <= b && b <= c);
	}

	for (int i = 0; i < 5; i++) {
		int64_t start = now(CLOCK_MONOTONIC), real = now(CLOCK_REALTIME);
		struct timespec ts = {0, 2000000};
		CHECK_EQ(nanosleep(&ts, NULL), 0);
		int64_t d = now(CLOCK_MONOTONIC) - start;
		CHECK(d >= 2000000);
		CHECK(llabs(now(CLOCK_REALTIME) - real - d) < 1000000000);
	}
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	int64_t until = ts.tv_sec * 1000000000ll + ts.tv_nsec + 3000000;
	ts.tv_sec = until / 1000000000, ts.tv_nsec = until % 1000000000;
	CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL), 0);
	CHECK(now(CLOCK_MONOTONIC) >= until);
	CHECK_EQ(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL), 0); // past already
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec = ts.tv_nsec < 998000000 ? ts.tv_nsec + 1000000 : 999999999;
	CHECK_EQ(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &ts, NULL), 0);

	// Work costs processor time, sleep does not. What passes is measured around what
	// is used: the first reading of a clock may be work of its own.
	int64_t wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	while (now(CLOCK_PROCESS_CPUTIME_ID) - cpu < 5000000)
		;
	CHECK(now(CLOCK_MONOTONIC) - wall >= 4000000);
	struct rusage ru;
	CHECK_EQ(getrusage(RUSAGE_SELF, &ru), 0);
	struct tms tms;
	CHECK(times(&tms) != (clock_t)-1);
	CHECK(clock() != (clock_t)-1);

	ts = (struct timespec){0, 1000000000};
	CHECK_ERR(nanosleep(&ts, NULL), EINVAL);
	ts = (struct timespec){-1, 0};
	CHECK_ERR(nanosleep(&ts, NULL), EINVAL);
	CHECK_ERR(clock_gettime(99, &ts), EINVAL);
	CHECK_ERR(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, 8), EFAULT);
	printf("clocks ok\n");
	return 0;
}
