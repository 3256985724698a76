// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the clocks of the vDSO and those of the calls are the same clocks: they never
// go backwards when one is read after the other, also among threads.
#include "guest.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/time.h>

static int64_t by_call(clockid_t c) {
	struct timespec ts;
	CHECK_EQ(syscall(SYS_clock_gettime, c, &ts), 0);
	return ts.tv_sec * 1000000000ll + ts.tv_nsec;
}
static _Atomic int64_t last;
static void *reads(void *arg) {
	for (int i = 0; i < 3000; i++) {
		int64_t seen = last, t = i & 1 ? by_call(CLOCK_MONOTONIC) : now(CLOCK_MONOTONIC);
		CHECK(t >= seen);
		while (seen < t && !atomic_compare_exchange_weak(&last, &seen, t))
			;
		if (i % 500 == 0)
			sched_yield();
	}
	return NULL;
}

int main(void) {
	static const clockid_t clocks[] = {CLOCK_MONOTONIC, CLOCK_REALTIME, CLOCK_BOOTTIME, CLOCK_TAI};
	for (int i = 0; i < 4; i++)
		for (int n = 0; n < 300; n++) {
			int64_t a = now(clocks[i]), b = by_call(clocks[i]), c = now(clocks[i]);
			if (clocks[i] != CLOCK_REALTIME && clocks[i] != CLOCK_TAI)
				CHECK(a <= b && b <= c);
			else
				CHECK(c - a > -1000000000 && c - a < 10000000000);
		}
	pthread_t t[3];
	for (int i = 0; i < 3; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, reads, NULL), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	struct timeval tv;
	CHECK_EQ(gettimeofday(&tv, NULL), 0);
	int64_t d = by_call(CLOCK_REALTIME) / 1000000000 - tv.tv_sec;
	CHECK(d >= 0 && d <= 10);
	CHECK(time(NULL) - tv.tv_sec <= 10);
	struct timespec r;
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(clock_getres(clocks[i], &r), 0);
		printf("resolution %ld\n", r.tv_nsec);
	}
	CHECK(now(CLOCK_MONOTONIC_COARSE) <= by_call(CLOCK_MONOTONIC));
	printf("ok\n");
	return 0;
}
