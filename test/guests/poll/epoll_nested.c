// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: sets that watch sets: readiness climbs, circles and chains that are too long
// are refused, poll and select on a set, exclusive waiters, two threads on one set,
// closing what is watched.
#include "guest.h"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>

static long add(int ep, int fd, unsigned ev) {
	struct epoll_event e = {ev, {.u64 = fd}};
	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}
static int exclusive[2];
static atomic_int woken;
static void *waits(void *arg) {
	struct epoll_event e;
	int ep = (int)(long)arg;
	CHECK_EQ(epoll_wait(ep, &e, 1, -1), 1);
	eventfd_t v;
	CHECK_EQ(eventfd_read(e.data.fd, &v), 0);
	woken++;
	return NULL;
}

int main(void) {
	int a = epoll_create1(0), b = epoll_create1(0), c = epoll_create1(0), ev = eventfd(0, 0);
	struct epoll_event out[4];
	CHECK(add(a, b, EPOLLIN) == 0 && add(b, c, EPOLLIN) == 0 && add(c, ev, EPOLLIN) == 0);
	SHOW(epoll_wait(a, out, 4, 0));
	struct pollfd p = {a, POLLIN | POLLOUT};
	SHOW(poll(&p, 1, 0));
	CHECK_EQ(eventfd_write(ev, 1), 0);
	SHOW(epoll_wait(a, out, 4, 0));
	SHOW(poll(&p, 1, 0));
	printf("revents %x\n", p.revents);
	fd_set s;
	FD_ZERO(&s);
	FD_SET(a, &s);
	struct timeval tv = {0, 0};
	SHOW(select(a + 1, &s, NULL, NULL, &tv));
	eventfd_t v;
	CHECK_EQ(eventfd_read(ev, &v), 0);
	SHOW(epoll_wait(a, out, 4, 0));
	SHOW(add(c, a, EPOLLIN));
	SHOW(add(b, a, EPOLLIN));
	int chain[8];
	for (int i = 0; i < 8; i++) {
		chain[i] = epoll_create1(0);
		if (i > 0)
			printf("%d deep: %ld\n", i + 1, add(chain[i], chain[i - 1], EPOLLIN) == 0 ? 0l : (long)errno);
	}
	// An edge-triggered set in a set.
	int outer = epoll_create1(0), inner = epoll_create1(0);
	CHECK(add(outer, inner, EPOLLIN | EPOLLET) == 0 && add(inner, ev, EPOLLIN) == 0);
	SHOW(epoll_wait(outer, out, 4, 0));
	CHECK_EQ(eventfd_write(ev, 1), 0);
	SHOW(epoll_wait(outer, out, 4, 0));
	SHOW(epoll_wait(outer, out, 4, 0));
	CHECK_EQ(eventfd_read(ev, &v), 0);
	close(ev);
	SHOW(epoll_wait(a, out, 4, 0));
	close(b); // takes the chain apart
	SHOW(epoll_wait(a, out, 4, 0));

	// Several threads on one set, and sets that share a descriptor.
	int sem = eventfd(0, EFD_SEMAPHORE), one = epoll_create1(0);
	CHECK_EQ(add(one, sem, EPOLLIN | EPOLLET), 0);
	pthread_t t[4];
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(pthread_create(&t[i], NULL, waits, (void *)(long)one), 0);
	}
	for (int i = 1; i <= 2; i++) {
		CHECK_EQ(eventfd_write(sem, 1), 0);
		while (woken < i)
			sleep_ms(1);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	printf("woken %d\n", woken);
	for (int i = 0; i < 2; i++) {
		exclusive[i] = epoll_create1(0);
		CHECK_EQ(add(exclusive[i], sem, EPOLLIN | EPOLLEXCLUSIVE), 0);
	}
	CHECK_EQ(eventfd_write(sem, 2), 0);
	for (int i = 0; i < 2; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, waits, (void *)(long)exclusive[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	printf("woken %d\n", woken);
	return 0;
}
