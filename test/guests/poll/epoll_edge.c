// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: edge-triggered and one-shot watches: one event for each arrival, not again
// until something new comes or the watch is set again; level-triggered ones always; in
// turn when there are more than fit.
#include "guest.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static int ep;
static struct epoll_event out[16];
static void look(const char *what) {
	int n = epoll_wait(ep, out, 16, 0);
	printf("%s:", what);
	for (int i = 0; i < n; i++)
		printf(" %llu=%x", (long long)out[i].data.u64, out[i].events);
	printf("\n");
}
static void watch(int op, int fd, unsigned events, uint64_t data) {
	struct epoll_event e = {events, {.u64 = data}};
	CHECK_EQ(epoll_ctl(ep, op, fd, &e), 0);
}

int main(void) {
	int p[2], q[2];
	char b[65536];
	ep = epoll_create1(0);
	CHECK(pipe2(p, O_NONBLOCK) == 0 && pipe2(q, O_NONBLOCK) == 0);
	watch(EPOLL_CTL_ADD, p[0], EPOLLIN | EPOLLET, 1);
	watch(EPOLL_CTL_ADD, p[1], EPOLLOUT | EPOLLET, 2);
	look("at first");
	look("again");
	CHECK_EQ(write(p[1], "ab", 2), 2);
	look("written");
	look("again");
	CHECK_EQ(read(p[0], b, 1), 1);
	look("a part read");
	CHECK_EQ(write(p[1], "c", 1), 1);
	look("more written");
	watch(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET, 3);
	look("modified");
	memset(b, 1, sizeof b);
	while (write(p[1], b, sizeof b) > 0)
		;
	CHECK_EQ(errno, EAGAIN);
	look("full");
	while (read(p[0], b, sizeof b) > 0)
		;
	look("drained");
	watch(EPOLL_CTL_ADD, q[0], EPOLLIN | EPOLLONESHOT, 4);
	CHECK_EQ(write(q[1], "x", 1), 1);
	look("one shot");
	CHECK_EQ(write(q[1], "y", 1), 1);
	look("disabled");
	watch(EPOLL_CTL_MOD, q[0], EPOLLIN | EPOLLONESHOT, 5);
	look("enabled");
	close(q[1]);
	look("hang-up while disabled");
	watch(EPOLL_CTL_MOD, q[0], EPOLLONESHOT, 6);
	look("hang-up alone");
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_DEL, q[0], NULL), 0);
	close(p[1]);
	look("writer gone");
	look("again");
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL), 0);

	int ev[6];
	for (int i = 0; i < 6; i++) {
		ev[i] = eventfd(1, EFD_NONBLOCK);
		watch(EPOLL_CTL_ADD, ev[i], EPOLLIN, 10 + i);
	}
	for (int i = 0; i < 4; i++) {
		int n = epoll_wait(ep, out, 4, 0);
		printf("turn %d:", i);
		for (int k = 0; k < n; k++)
			printf(" %llu", (long long)out[k].data.u64);
		printf("\n");
	}
	eventfd_t v;
	CHECK_EQ(eventfd_read(ev[0], &v), 0);
	look("one less");
	watch(EPOLL_CTL_MOD, ev[1], EPOLLIN | EPOLLET, 11);
	look("edge among levels");
	look("without it");
	CHECK_EQ(eventfd_write(ev[1], 1), 0);
	look("with it");
	for (int i = 0; i < 6; i++)
		close(ev[i]);
	look("all closed");
	return 0;
}
