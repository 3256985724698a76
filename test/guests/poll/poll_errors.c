// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: poll and select with descriptors that are not open, negative ones, large sets,
// sets at the end of memory, conditions nobody asked for, wrong addresses and times.
#include "guest.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/select.h>

int main(void) {
	int p[2];
	CHECK_EQ(pipe(p), 0);
	close(100), close(101);
	struct pollfd f[6] = {{p[0], POLLIN}, {-1, POLLIN, 77}, {100, POLLIN}, {p[1], POLLOUT}, {-5, 0, 5}, {p[1], 0}};
	SHOW(poll(f, 6, 0));
	for (int i = 0; i < 6; i++)
		printf(" %x", f[i].revents);
	close(p[0]);
	SHOW(poll(f + 3, 3, -1));
	for (int i = 3; i < 6; i++)
		printf(" %x", f[i].revents);
	printf("\n");
	CHECK_EQ(pipe(p), 0);
	close(p[1]);
	f[0] = (struct pollfd){p[0], 0};
	SHOW(poll(f, 1, -1));
	printf(" %x\n", f[0].revents);
	f[0].events = POLLIN | POLLRDNORM | POLLPRI | POLLRDHUP;
	SHOW(poll(f, 1, -1));
	printf(" %x\n", f[0].revents);
	int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR);
	struct pollfd g[2] = {{null, POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLWRNORM}, {zero, POLLIN | POLLOUT}};
	SHOW(poll(g, 2, -1));
	printf(" %x %x\n", g[0].revents, g[1].revents);
	SHOW(poll(BAD, 1, 0));
	SHOW(poll(BAD, 0, 0));
	SHOW(poll(NULL, 0, 0));
	struct pollfd *last = page_end(sizeof *last);
	*last = (struct pollfd){null, POLLIN};
	SHOW(poll(last, 1, 0));
	SHOW(poll(last, 2, 0));
	struct rlimit l;
	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = 64;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &l), 0);
	static struct pollfd many[65];
	for (int i = 0; i < 65; i++)
		many[i].fd = -1;
	SHOW(poll(many, 64, 0));
	SHOW(poll(many, 65, 0));
	SHOW(syscall(SYS_poll, many, 1ul << 32 | 1, 0));
	many[0] = (struct pollfd){null, POLLIN};
	struct pollfd *ro = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*ro = many[0];
	CHECK_EQ(mprotect(ro, 4096, PROT_READ), 0);
	SHOW(poll(ro, 1, 0));

	fd_set r, w, x;
	struct timeval tv = {0, 0};
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&x);
	FD_SET(p[0], &r);
	FD_SET(null, &w);
	FD_SET(null, &x);
	SHOW(syscall(SYS_select, 64, &r, &w, &x, &tv));
	printf(" %d %d %d\n", FD_ISSET(p[0], &r) != 0, FD_ISSET(null, &w) != 0, FD_ISSET(null, &x) != 0);
	FD_SET(50, &r);
	SHOW(syscall(SYS_select, 64, &r, NULL, NULL, &tv));
	SHOW(syscall(SYS_select, 50, &r, NULL, NULL, &tv)); // not looked at
	SHOW(syscall(SYS_select, -1, NULL, NULL, NULL, &tv));
	SHOW(syscall(SYS_select, 0x7fffffff, NULL, NULL, NULL, &tv));
	SHOW(syscall(SYS_select, 8, BAD, NULL, NULL, &tv));
	SHOW(syscall(SYS_select, 8, NULL, BAD, NULL, &tv));
	SHOW(syscall(SYS_select, 8, NULL, NULL, BAD, &tv));
	SHOW(syscall(SYS_select, 0, NULL, NULL, NULL, BAD));
	tv = (struct timeval){0, -1};
	SHOW(syscall(SYS_select, 0, NULL, NULL, NULL, &tv));
	tv = (struct timeval){-1, 0};
	SHOW(syscall(SYS_select, 0, NULL, NULL, NULL, &tv));
	tv = (struct timeval){0, 1500};
	SHOW(syscall(SYS_select, 0, NULL, NULL, NULL, &tv));
	printf("left %ld %ld\n", tv.tv_sec, tv.tv_usec);
	uint64_t *set = page_end(8);
	*set = 1ull << null;
	tv = (struct timeval){0, 0};
	SHOW(syscall(SYS_select, 64, (void *)set, NULL, NULL, &tv));
	SHOW(syscall(SYS_select, null + 1, (void *)((char *)set + 4), NULL, NULL, &tv));
	return 0;
}
