// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: ppoll, pselect and epoll_pwait open the signal mask for their wait only: a
// pending signal interrupts at once, unless a descriptor is ready; the mask is back in
// the handler's wake; timeouts and what is written back of them.
#include "guest.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>

static volatile int hits;
static uint64_t mask_seen;
static uint64_t mask(void) {
	uint64_t m = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &m, 8);
	return m;
}
static void hit(int s, siginfo_t *si, void *c) { hits++, mask_seen = mask(); }

int main(void) {
	int p[2], ep = epoll_create1(0);
	CHECK_EQ(pipe(p), 0);
	struct epoll_event e = {EPOLLIN}, out;
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e), 0);
	on(SIGUSR1, hit, SA_RESTART);
	sigset_t block, open_;
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigaddset(&block, SIGUSR2);
	CHECK_EQ(sigprocmask(SIG_SETMASK, &block, NULL), 0);
	sigemptyset(&open_);
	sigaddset(&open_, SIGUSR2);
	struct pollfd pf = {p[0], POLLIN};
	struct timespec ts = {10, 5}, zero = {0, 0};
	for (int ready = 0; ready < 2; ready++) {
		for (int how = 0; how < 5; how++) {
			raise(SIGUSR1);
			hits = 0, mask_seen = 0;
			long r = 0;
			errno = 0;
			fd_set s;
			FD_ZERO(&s);
			FD_SET(p[0], &s);
			ts = (struct timespec){10, 5};
			switch (how) {
			case 0: r = syscall(SYS_ppoll, &pf, 1, &ts, &open_, 8); break;
			case 1: {
				struct { const void *p; size_t n; } six = {&open_, 8};
				r = syscall(SYS_pselect6, p[0] + 1, &s, NULL, NULL, &ts, &six);
				break;
			}
			case 2: r = syscall(SYS_epoll_pwait, ep, &out, 1, 10000, &open_, 8); break;
			case 3: r = syscall(SYS_epoll_pwait2, ep, &out, 1, &ts, &open_, 8); break;
			case 4: r = syscall(SYS_ppoll, &pf, 1, &zero, &open_, 8); break; // does not even wait
			}
			printf("ready %d how %d: %ld errno %d handled %d in mask %llx after %llx left %d\n", ready, how, r, r < 0 ? errno : 0, hits,
			       (long long)mask_seen, (long long)mask(), ts.tv_sec < 10 || ts.tv_nsec == 5);
			CHECK_EQ(ts.tv_sec >= 9, 1);
			struct timespec none = {0, 0};
			sigset_t usr;
			sigemptyset(&usr);
			sigaddset(&usr, SIGUSR1);
			printf("  still pending: %d\n", sigtimedwait(&usr, NULL, &none) == SIGUSR1);
		}
		CHECK_EQ(write(p[1], "x", 1), 1);
	}
	char b[2];
	CHECK_EQ(read(p[0], b, 2), 2);
	// Timeouts.
	int64_t start = now(CLOCK_MONOTONIC);
	ts = (struct timespec){0, 3000000};
	SHOW(syscall(SYS_ppoll, &pf, 1, &ts, NULL, 0));
	CHECK(now(CLOCK_MONOTONIC) - start >= 3000000);
	CHECK(ts.tv_sec == 0 && ts.tv_nsec == 0);
	ts = (struct timespec){0, 3000000};
	SHOW(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &ts, NULL));
	CHECK(ts.tv_sec == 0 && ts.tv_nsec == 0);
	ts = (struct timespec){0, 3000000};
	SHOW(syscall(SYS_epoll_pwait2, ep, &out, 1, &ts, NULL, 0));
	CHECK(ts.tv_sec == 0 && ts.tv_nsec == 3000000); // this one is not
	SHOW(epoll_wait(ep, &out, 1, 2));
	SHOW(poll(NULL, 0, 1));
	SHOW(syscall(SYS_ppoll, &pf, 1, BAD, NULL, 0));
	SHOW(syscall(SYS_ppoll, &pf, 1, &zero, &open_, 9));
	SHOW(syscall(SYS_ppoll, &pf, 1, &zero, BAD, 8));
	ts = (struct timespec){0, -1};
	SHOW(syscall(SYS_ppoll, &pf, 1, &ts, NULL, 0));
	SHOW(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &ts, NULL));
	SHOW(syscall(SYS_pselect6, 0, NULL, NULL, NULL, &zero, BAD));
	return 0;
}
