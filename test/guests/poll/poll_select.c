// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: poll, ppoll, select and pselect on pipes, eventfds, files and closed
// descriptors: readiness, hang-up, errors, timeouts, and waking by a thread.
#include "guest.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/select.h>

static int fds[2];
static void *later(void *arg) {
	sleep_ms(5);
	CHECK_EQ(write(fds[1], "x", 1), 1);
	return arg;
}

int main(void) {
	char b[8];
	CHECK_EQ(pipe(fds), 0);
	struct pollfd p[3] = {{fds[0], POLLIN, 0}, {fds[1], POLLOUT, 0}, {-1, POLLIN, 9}};
	CHECK_EQ(poll(p, 3, 0), 1);
	printf("empty pipe: %#x %#x %#x\n", p[0].revents, p[1].revents, p[2].revents);
	int64_t t = now(CLOCK_MONOTONIC);
	CHECK_EQ(poll(p, 1, 4), 0);
	CHECK(now(CLOCK_MONOTONIC) - t >= 4000000);

	pthread_t th;
	CHECK_EQ(pthread_create(&th, NULL, later, NULL), 0);
	CHECK_EQ(poll(p, 1, -1), 1);
	CHECK_EQ(p[0].revents, POLLIN);
	CHECK_EQ(read(fds[0], b, 8), 1);
	pthread_join(th, NULL);

	CHECK_EQ(pthread_create(&th, NULL, later, NULL), 0);
	fd_set r, w, e;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&e);
	FD_SET(fds[0], &r);
	FD_SET(fds[0], &e);
	CHECK_EQ(select(fds[1] + 1, &r, &w, &e, NULL), 1);
	CHECK(FD_ISSET(fds[0], &r) && !FD_ISSET(fds[0], &e));
	CHECK_EQ(read(fds[0], b, 8), 1);
	pthread_join(th, NULL);
	FD_SET(fds[0], &r);
	FD_SET(fds[1], &w);
	struct timeval tv = {1, 0};
	CHECK_EQ(select(fds[1] + 1, &r, &w, NULL, &tv), 1);
	CHECK(!FD_ISSET(fds[0], &r) && FD_ISSET(fds[1], &w));
	FD_SET(fds[0], &r);
	struct timespec ts = {0, 2000000};
	CHECK_EQ(pselect(fds[0] + 1, &r, NULL, NULL, &ts, NULL), 0);
	CHECK(!FD_ISSET(fds[0], &r));

	int ev = eventfd(0, EFD_NONBLOCK);
	p[0] = (struct pollfd){ev, POLLIN | POLLOUT, 0};
	CHECK_EQ(ppoll(p, 1, &ts, NULL), 1);
	printf("eventfd at 0: %#x\n", p[0].revents);
	uint64_t n = -2ull;
	CHECK_EQ(write(ev, &n, 8), 8);
	CHECK_EQ(poll(p, 1, 0), 1);
	printf("eventfd full: %#x\n", p[0].revents);
	n = 1;
	CHECK_ERR(write(ev, &n, 8), EAGAIN);
	CHECK_EQ(read(ev, &n, 8), 8);
	CHECK(n == -2ull);

	int null = open("/dev/null", O_RDWR);
	p[0] = (struct pollfd){null, POLLIN | POLLOUT, 0};
	CHECK_EQ(poll(p, 1, 0), 1);
	printf("/dev/null: %#x\n", p[0].revents);

	CHECK_EQ(write(fds[1], "yz", 2), 2);
	close(fds[1]);
	p[0] = (struct pollfd){fds[0], POLLIN, 0};
	CHECK_EQ(poll(p, 1, -1), 1);
	printf("data, then no writer: %#x\n", p[0].revents);
	CHECK_EQ(read(fds[0], b, 8), 2);
	CHECK_EQ(poll(p, 1, -1), 1);
	printf("no writer: %#x\n", p[0].revents);
	close(fds[0]);
	CHECK_EQ(poll(p, 1, -1), 1);
	printf("closed: %#x\n", p[0].revents);
	FD_ZERO(&r);
	FD_SET(fds[0], &r);
	CHECK_ERR(select(fds[0] + 1, &r, NULL, NULL, NULL), EBADF);
	CHECK_EQ(pipe(fds), 0);
	close(fds[0]);
	p[0] = (struct pollfd){fds[1], POLLOUT, 0};
	CHECK_EQ(poll(p, 1, -1), 1);
	printf("no reader: %#x\n", p[0].revents);
	return 0;
}
