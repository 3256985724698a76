// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: epoll by level, by edge and one-shot, on pipes and eventfds; adding,
// changing and removing; nesting; waking from another thread; its errors.
#include "guest.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int ep, fds[2], ev;

static int ctl(int op, int fd, unsigned events, uint64_t data) {
	struct epoll_event e = {.events = events, .data.u64 = data};
	return epoll_ctl(ep, op, fd, &e);
}
static void show(const char *what, int timeout) {
	struct epoll_event e[8];
	int n = epoll_wait(ep, e, 8, timeout);
	CHECK(n >= 0);
	// The order of ready descriptors is not promised.
	for (int i = 0; i < n; i++)
		for (int k = i + 1; k < n; k++)
			if (e[k].data.u64 < e[i].data.u64) {
				struct epoll_event x = e[i];
				e[i] = e[k], e[k] = x;
			}
	printf("%s:", what);
	for (int i = 0; i < n; i++)
		printf(" %llu=%#x", (unsigned long long)e[i].data.u64, e[i].events);
	printf("\n");
}
static void *later(void *arg) {
	uint64_t one = 1;
	sleep_ms(5);
	CHECK_EQ(write(ev, &one, 8), 8);
	return arg;
}

int main(void) {
	char b[16];
	uint64_t n;
	ep = epoll_create1(EPOLL_CLOEXEC);
	CHECK(ep >= 0);
	CHECK_EQ(pipe2(fds, O_NONBLOCK), 0);
	ev = eventfd(0, EFD_NONBLOCK);
	CHECK_EQ(ctl(EPOLL_CTL_ADD, fds[0], EPOLLIN, 1), 0);
	CHECK_EQ(ctl(EPOLL_CTL_ADD, fds[1], EPOLLOUT, 2), 0);
	CHECK_EQ(ctl(EPOLL_CTL_ADD, ev, EPOLLIN, 3), 0);
	show("empty", 0);
	CHECK_EQ(ctl(EPOLL_CTL_DEL, fds[1], 0, 0), 0);
	int64_t t = now(CLOCK_MONOTONIC);
	show("after 3 ms", 3);
	CHECK(now(CLOCK_MONOTONIC) - t >= 3000000);

	CHECK_EQ(write(fds[1], "abc", 3), 3);
	show("level", -1);
	CHECK_EQ(read(fds[0], b, 1), 1);
	show("level again", -1);

	CHECK_EQ(ctl(EPOLL_CTL_MOD, fds[0], EPOLLIN | EPOLLET, 4), 0);
	show("edge", 0);
	show("edge again", 0);
	CHECK_EQ(write(fds[1], "d", 1), 1);
	show("edge after a write", 0);
	CHECK_EQ(read(fds[0], b, 1), 1);
	show("edge after a read", 0);

	CHECK_EQ(ctl(EPOLL_CTL_MOD, fds[0], EPOLLIN | EPOLLONESHOT, 5), 0);
	show("one-shot", 0);
	show("one-shot again", 0);
	CHECK_EQ(ctl(EPOLL_CTL_MOD, fds[0], EPOLLIN | EPOLLONESHOT, 6), 0);
	show("one-shot armed", 0);
	CHECK_EQ(read(fds[0], b, 16), 2);

	pthread_t th;
	CHECK_EQ(pthread_create(&th, NULL, later, NULL), 0);
	show("woken by a thread", -1);
	pthread_join(th, NULL);
	CHECK_EQ(read(ev, &n, 8), 8);
	CHECK_EQ(n, 1);
	CHECK_ERR(read(ev, &n, 8), EAGAIN);
	n = 5;
	CHECK_EQ(write(ev, &n, 8), 8);
	n = 6;
	CHECK_EQ(write(ev, &n, 8), 8);
	CHECK_EQ(read(ev, &n, 8), 8);
	CHECK_EQ(n, 11);
	int sem = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	CHECK_EQ(read(sem, &n, 8), 8);
	CHECK_EQ(n, 1);

	// An epoll in an epoll.
	int outer = epoll_create(1), inner = ep;
	CHECK_EQ(ctl(EPOLL_CTL_ADD, sem, EPOLLIN, 7), 0);
	ep = outer;
	CHECK_EQ(ctl(EPOLL_CTL_ADD, inner, EPOLLIN, 8), 0);
	show("nested", -1);
	ep = inner;
	show("inner", -1);
	CHECK_ERR(ctl(EPOLL_CTL_ADD, outer, EPOLLIN, 9), ELOOP);

	// Hang-up is told without being asked for; a closed descriptor leaves.
	CHECK_EQ(ctl(EPOLL_CTL_MOD, fds[0], EPOLLIN, 10), 0);
	CHECK_EQ(ctl(EPOLL_CTL_DEL, sem, 0, 0), 0);
	close(fds[1]);
	show("hang-up", -1);
	close(fds[0]);
	show("closed", 0);

	CHECK_ERR(ctl(EPOLL_CTL_ADD, ev, EPOLLIN, 0), EEXIST);
	CHECK_ERR(ctl(EPOLL_CTL_MOD, sem, EPOLLIN, 0), ENOENT);
	CHECK_ERR(ctl(EPOLL_CTL_DEL, sem, EPOLLIN, 0), ENOENT);
	CHECK_ERR(ctl(EPOLL_CTL_ADD, 999, EPOLLIN, 0), EBADF);
	CHECK_ERR(ctl(EPOLL_CTL_ADD, ep, EPOLLIN, 0), EINVAL);
	int file = open("/dev/null", O_RDONLY);
	CHECK_ERR(ctl(EPOLL_CTL_ADD, file, EPOLLIN, 0), EPERM);
	struct epoll_event e;
	CHECK_ERR(epoll_wait(ep, &e, 0, 0), EINVAL);
	CHECK_ERR(epoll_wait(file, &e, 1, 0), EINVAL);
	CHECK_ERR(epoll_create1(12345), EINVAL);
	printf("epoll ok\n");
	return 0;
}
