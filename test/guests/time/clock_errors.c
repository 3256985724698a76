// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what the calls about time answer to wrong clocks, addresses and times, and
// that nobody without the right sets a clock.
#include "guest.h"
#include <sys/time.h>
#include <sys/timex.h>

int main(void) {
	drop_privileges();
	struct timespec ts, bad[] = {{-1, 0}, {0, -1}, {0, 1000000000}, {0, 1l << 62}};
	void *ro = readonly_page();
	static const int clocks[] = {-1, 10, 12, 99, -100, 0x7fffffff, -2147483647 - 1};
	for (unsigned i = 0; i < sizeof clocks / sizeof *clocks; i++) {
		printf("clock %d\n", clocks[i]);
		SHOW(syscall(SYS_clock_gettime, clocks[i], &ts));
		SHOW(syscall(SYS_clock_getres, clocks[i], &ts));
		ts = (struct timespec){0, 1};
		SHOW(syscall(SYS_clock_nanosleep, clocks[i], 0, &ts, NULL));
		SHOW(syscall(SYS_clock_settime, clocks[i], &ts));
	}
	for (int c = 0; c < 12; c++) {
		if (c == CLOCK_REALTIME_ALARM || c == CLOCK_BOOTTIME_ALARM) // where there is a clock that can wake the machine
			continue;
		printf("clock %d: %ld %ld", c, syscall(SYS_clock_gettime, c, &ts), syscall(SYS_clock_getres, c, NULL));
		printf(" %ld\n", syscall(SYS_clock_gettime, c, BAD) == -1 ? (long)errno : 0);
	}
	SHOW(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, ro));
	SHOW(syscall(SYS_clock_getres, CLOCK_MONOTONIC, BAD));
	SHOW(syscall(SYS_clock_getres, CLOCK_MONOTONIC, ro));
	SHOW(syscall(SYS_gettimeofday, BAD, NULL));
	SHOW(syscall(SYS_gettimeofday, NULL, BAD));
	SHOW(syscall(SYS_gettimeofday, NULL, NULL));
	SHOW(syscall(SYS_time, BAD));
	SHOW(syscall(SYS_time, ro));
	SHOW(syscall(SYS_times, BAD));

	for (unsigned i = 0; i < 4; i++) {
		SHOW(syscall(SYS_nanosleep, &bad[i], NULL));
		SHOW(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &bad[i], NULL));
		SHOW(syscall(SYS_clock_nanosleep, CLOCK_REALTIME, TIMER_ABSTIME, &bad[i], NULL));
	}
	SHOW(syscall(SYS_nanosleep, BAD, NULL));
	SHOW(syscall(SYS_nanosleep, NULL, NULL));
	SHOW(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, BAD, NULL));
	ts = (struct timespec){0, 1};
	SHOW(syscall(SYS_nanosleep, &ts, BAD)); // written only when interrupted
	SHOW(syscall(SYS_clock_nanosleep, CLOCK_THREAD_CPUTIME_ID, 0, &ts, NULL));
	SHOW(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_RAW, 0, &ts, NULL));
	SHOW(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC_COARSE, 0, &ts, NULL));
	SHOW(syscall(SYS_clock_nanosleep, CLOCK_REALTIME_COARSE, 0, &ts, NULL));
	SHOW(syscall(SYS_clock_nanosleep, CLOCK_BOOTTIME, 0, &ts, NULL));
	SHOW(syscall(SYS_clock_nanosleep, CLOCK_TAI, 0, &ts, NULL));
	SHOW(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0xf0, &ts, NULL));

	clock_gettime(CLOCK_REALTIME, &ts);
	SHOW(syscall(SYS_clock_settime, CLOCK_REALTIME, &ts));
	SHOW(syscall(SYS_clock_settime, CLOCK_MONOTONIC, &ts));
	SHOW(syscall(SYS_clock_settime, CLOCK_REALTIME, BAD));
	SHOW(syscall(SYS_clock_settime, CLOCK_REALTIME, &bad[1]));
	struct timeval tv = {ts.tv_sec, 0}, wrong = {0, 1000000};
	SHOW(syscall(SYS_settimeofday, &tv, NULL));
	SHOW(syscall(SYS_settimeofday, BAD, NULL));
	SHOW(syscall(SYS_settimeofday, &wrong, NULL));
	SHOW(syscall(SYS_settimeofday, NULL, NULL));

	struct timex tx;
	memset(&tx, 0, sizeof tx);
	long r = syscall(SYS_adjtimex, &tx);
	CHECK(r >= 0 && r <= 5);
	CHECK(tx.tick >= 9000 && tx.tick <= 11000 && tx.time.tv_sec > 1600000000);
	r = syscall(SYS_clock_adjtime, CLOCK_REALTIME, &tx);
	memset(&tx, 0, sizeof tx);
	tx.modes = ADJ_OFFSET;
	SHOW(syscall(SYS_adjtimex, &tx));
	tx.modes = ADJ_SETOFFSET;
	SHOW(syscall(SYS_clock_adjtime, CLOCK_REALTIME, &tx));
	SHOW(syscall(SYS_adjtimex, BAD));
	SHOW(syscall(SYS_clock_adjtime, CLOCK_REALTIME, BAD));
	tx.modes = 0;
	SHOW(syscall(SYS_clock_adjtime, CLOCK_MONOTONIC, &tx));
	SHOW(syscall(SYS_clock_adjtime, 99, &tx));
	return 0;
}
