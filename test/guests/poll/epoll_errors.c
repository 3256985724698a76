// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what the epoll calls answer to wrong descriptors, operations, counts, masks and
// addresses, and files that cannot be watched.
#include "guest.h"
#include <fcntl.h>
#include <sys/epoll.h>

int main(void) {
	int p[2], ep = epoll_create1(0), other = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = {EPOLLIN}, out[4], *ro = readonly_page();
	CHECK(pipe(p) == 0 && ep >= 0 && other >= 0);
	scratch();
	int file = open("f", O_CREAT | O_RDWR, 0600), dir = open(".", O_RDONLY), path = open("f", O_PATH);
	SHOW(epoll_create(0));
	SHOW(epoll_create(-1));
	SHOW(epoll_create1(1));
	SHOW(fcntl(other, F_GETFD));
	SHOW(epoll_ctl(-1, EPOLL_CTL_ADD, p[0], &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, -1, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, 500, &e));
	SHOW(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, ep, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, file, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, dir, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, path, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], BAD));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, -1, BAD));
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
	SHOW(epoll_ctl(ep, 9, p[0], &e));
	SHOW(epoll_ctl(ep, 0, p[0], BAD));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
	int copy = dup(p[0]); // another number for the same pipe
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, copy, &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], BAD));
	e.events = EPOLLIN | EPOLLEXCLUSIVE;
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, other, &e));
	e.events = EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT;
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &e));
	e.events = EPOLLRDHUP | EPOLLEXCLUSIVE;
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &e));
	e.events = EPOLLOUT | EPOLLEXCLUSIVE | EPOLLET;
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, p[1], &e));
	e.events = EPOLLOUT;
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, p[1], &e));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, p[1], BAD));

	SHOW(epoll_wait(ep, out, 0, 0));
	SHOW(epoll_wait(ep, out, -1, 0));
	SHOW(epoll_wait(ep, out, 0x7fffffff, 0));
	SHOW(epoll_wait(-1, out, 4, 0));
	SHOW(epoll_wait(p[0], out, 4, 0));
	SHOW(epoll_wait(ep, BAD, 4, 0)); // nothing to write
	SHOW(epoll_wait(ep, (void *)0x7ffffffff000, 1 << 20, 0));
	CHECK_EQ(write(p[1], "x", 1), 1);
	SHOW(epoll_wait(ep, BAD, 4, 0));
	SHOW(epoll_wait(ep, ro, 4, 0));
	SHOW(epoll_wait(ep, out, 4, 0)); // still there
	SHOW(epoll_wait(ep, out, 1, 0));
	sigset_t m;
	sigemptyset(&m);
	SHOW(syscall(SYS_epoll_pwait, ep, out, 4, 0, &m, 4));
	SHOW(syscall(SYS_epoll_pwait, ep, out, 4, 0, BAD, 8));
	SHOW(syscall(SYS_epoll_pwait, ep, out, 4, 0, NULL, 3));
	struct timespec ts = {0, 1000000000};
	SHOW(syscall(SYS_epoll_pwait2, ep, out, 4, &ts, NULL, 0));
	SHOW(syscall(SYS_epoll_pwait2, ep, out, 4, BAD, NULL, 0));
	ts = (struct timespec){-1, 0};
	SHOW(syscall(SYS_epoll_pwait2, ep, out, 4, &ts, NULL, 0));
	char b[8];
	SHOW(read(ep, b, 8));
	SHOW(write(ep, b, 8));
	close(p[0]); // the copy keeps it in the set, under both numbers
	SHOW(epoll_wait(ep, out, 4, 0));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, copy, NULL));
	SHOW(epoll_wait(ep, out, 4, 0));
	unlink("f");
	return 0;
}
