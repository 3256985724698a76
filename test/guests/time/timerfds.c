// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: timerfd: clocks, absolute and relative times, intervals that were missed,
// reading back, poll, TFD_TIMER_CANCEL_ON_SET without a change of the clock, wrong
// arguments.
#include "guest.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/timerfd.h>

int main(void) {
	static const int clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME};
	uint64_t n;
	struct itimerspec its, old;
	drop_privileges();
	for (int i = 0; i < 3; i++) {
		int fd = timerfd_create(clocks[i], TFD_CLOEXEC);
		CHECK(fd >= 0);
		its = (struct itimerspec){{0, 0}, {0, 2000000}};
		int64_t start = now(clocks[i]);
		CHECK_EQ(timerfd_settime(fd, 0, &its, NULL), 0);
		CHECK_EQ(read(fd, &n, 8), 8);
		CHECK(now(clocks[i]) - start >= 2000000);
		CHECK_EQ(n, 1);
		int64_t at = now(clocks[i]) + 2000000;
		its.it_value = (struct timespec){at / 1000000000, at % 1000000000};
		CHECK_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &its, NULL), 0);
		CHECK_EQ(read(fd, &n, 8), 8);
		CHECK(now(clocks[i]) >= at);
		its = (struct itimerspec){{0, 1000000}, {1, 0}}; // long ago: many at once
		CHECK_EQ(timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL), 0);
		CHECK_EQ(read(fd, &n, 8), 8);
		CHECK(n > 10);
		its = (struct itimerspec){{3, 4}, {50, 5}};
		CHECK_EQ(timerfd_settime(fd, 0, &its, &old), 0);
		CHECK_EQ(old.it_interval.tv_nsec, 1000000);
		CHECK_EQ(timerfd_gettime(fd, &old), 0);
		CHECK(old.it_value.tv_sec >= 49 && old.it_interval.tv_sec == 3 && old.it_interval.tv_nsec == 4);
		struct pollfd p = {fd, POLLIN | POLLOUT};
		printf("poll %d", poll(&p, 1, 0));
		its = (struct itimerspec){{0, 0}, {0, 1}};
		CHECK_EQ(timerfd_settime(fd, 0, &its, NULL), 0);
		printf(" %d", poll(&p, 1, 5000));
		printf(" %x\n", p.revents);
		CHECK_EQ(timerfd_gettime(fd, &old), 0);
		CHECK(old.it_value.tv_sec == 0 && old.it_value.tv_nsec == 0);
		its = (struct itimerspec){{0, 0}, {0, 0}}; // disarmed: what was not read is gone
		CHECK_EQ(timerfd_settime(fd, 0, &its, NULL), 0);
		CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
		SHOW(read(fd, &n, 8));
		close(fd);
	}
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	SHOW(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
	SHOW(timerfd_create(CLOCK_MONOTONIC_RAW, 0));
	SHOW(timerfd_create(CLOCK_BOOTTIME_ALARM, 0));
	SHOW(timerfd_create(-1, 0));
	SHOW(timerfd_create(CLOCK_MONOTONIC, 1));
	SHOW(timerfd_settime(-1, 0, &its, NULL));
	SHOW(timerfd_settime(0, 0, &its, NULL));
	SHOW(timerfd_settime(fd, 4, &its, NULL));
	SHOW(syscall(SYS_timerfd_settime, fd, 0, BAD, NULL));
	SHOW(syscall(SYS_timerfd_settime, fd, 0, NULL, NULL));
	SHOW(syscall(SYS_timerfd_settime, fd, 0, &its, BAD));
	SHOW(syscall(SYS_timerfd_gettime, fd, BAD));
	SHOW(timerfd_gettime(-1, &its));
	SHOW(timerfd_gettime(0, &its));
	its.it_value.tv_nsec = 1000000000;
	SHOW(timerfd_settime(fd, 0, &its, NULL));
	its.it_value.tv_nsec = -1;
	SHOW(timerfd_settime(fd, 0, &its, NULL));
	SHOW(read(fd, &n, 7));
	SHOW(write(fd, &n, 8));
	SHOW(lseek(fd, 0, SEEK_SET));
	SHOW(pread(fd, &n, 8, 0));
	return 0;
}
