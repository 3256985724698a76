// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: bytes moved between descriptors without a buffer of the program
// (sendfile, splice, tee), vectors at a position with flags, files without a
// name, and the less common forms of counters, timers and waits.
#include "guest.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

static char buf[70000], out[70000];

static void pipe_holds(int fd, const char *want) {
	ssize_t n = read(fd, out, sizeof out);
	CHECK_EQ(n, strlen(want));
	CHECK(memcmp(out, want, n) == 0);
}

int main(void) {
	int p[2], q[2];
	int f = syscall(SYS_memfd_create, "file", MFD_CLOEXEC);
	CHECK(f >= 0);
	CHECK_EQ(fcntl(f, F_GETFD), FD_CLOEXEC);
	for (unsigned i = 0; i < sizeof buf; i++)
		buf[i] = 'a' + i % 23;
	CHECK_EQ(write(f, buf, sizeof buf), sizeof buf);
	CHECK_ERR(syscall(SYS_memfd_create, "file", 0x8000), EINVAL);
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(pipe(q), 0);

	off_t off = 23;
	CHECK_EQ(sendfile(p[1], f, &off, 10), 10);
	CHECK_EQ(off, 33);
	pipe_holds(p[0], "abcdefghij");
	CHECK_EQ(lseek(f, 1, SEEK_SET), 1);
	CHECK_EQ(sendfile(p[1], f, NULL, 3), 3);
	CHECK_EQ(lseek(f, 0, SEEK_CUR), 4);
	pipe_holds(p[0], "bcd");
	CHECK_ERR(sendfile(p[1], q[0], NULL, 3), EINVAL);
	off = sizeof buf;
	CHECK_EQ(sendfile(p[1], f, &off, 10), 0);

	loff_t at = 46;
	CHECK_EQ(splice(f, &at, p[1], NULL, 5, 0), 5);
	CHECK_EQ(at, 51);
	CHECK_EQ(tee(p[0], q[1], 3, 0), 3);
	pipe_holds(q[0], "abc");
	CHECK_EQ(splice(p[0], NULL, q[1], NULL, 2, 0), 2);
	pipe_holds(q[0], "ab");
	at = 100;
	CHECK_EQ(splice(p[0], NULL, f, &at, 100, 0), 3);
	CHECK_EQ(at, 103);
	CHECK_EQ(pread(f, out, 3, 100), 3);
	CHECK(memcmp(out, "cde", 3) == 0);
	CHECK_ERR(splice(p[0], NULL, f, NULL, 5, SPLICE_F_NONBLOCK), EAGAIN);
	CHECK_ERR(splice(f, NULL, f, NULL, 5, 0), EINVAL);
	CHECK_ERR(splice(p[0], &at, q[1], NULL, 5, 0), ESPIPE);
	CHECK_ERR(tee(p[0], p[1], 5, 0), EINVAL);

	struct iovec v[2] = {{out, 4}, {out + 4, 4}};
	CHECK_EQ(lseek(f, 23, SEEK_SET), 23);
	CHECK_EQ(syscall(SYS_preadv2, f, v, 2, -1L, 0L, 0), 8); // at the position
	CHECK(memcmp(out, "abcdefgh", 8) == 0);
	CHECK_EQ(lseek(f, 0, SEEK_CUR), 31);
	CHECK_EQ(syscall(SYS_preadv2, f, v, 2, 2L, 0L, 0), 8);
	CHECK(memcmp(out, "cdefghij", 8) == 0);
	CHECK_EQ(lseek(f, 0, SEEK_CUR), 31);
	CHECK_EQ(syscall(SYS_pwritev2, f, v, 2, 0L, 0L, RWF_DSYNC), 8);
	CHECK_ERR(syscall(SYS_preadv2, f, v, 2, 0L, 0L, 1 << 30), EOPNOTSUPP);
	CHECK_ERR(syscall(SYS_preadv2, f, v, 2, -2L, 0L, 0), EINVAL);

	int e = syscall(SYS_eventfd, 3);
	uint64_t count = 0;
	CHECK_EQ(read(e, &count, 8), 8);
	CHECK_EQ(count, 3);
	CHECK_EQ(fcntl(e, F_GETFL) & O_NONBLOCK, 0);

	int t = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	struct itimerspec its = {{0, 0}, {1000, 0}}, got;
	CHECK_EQ(timerfd_settime(t, 0, &its, NULL), 0);
	CHECK_EQ(timerfd_gettime(t, &got), 0);
	CHECK(got.it_value.tv_sec >= 990 && got.it_value.tv_sec <= 1000 && got.it_interval.tv_sec == 0);
	CHECK_ERR(timerfd_gettime(e, &got), EINVAL);
	CHECK_ERR(read(t, &count, 8), EAGAIN);

	fd_set r, w;
	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_SET(p[0], &r);
	FD_SET(p[1], &w);
	struct timeval tv = {5, 0};
	CHECK_EQ(syscall(SYS_select, p[1] + 1, &r, &w, NULL, &tv), 1);
	CHECK(!FD_ISSET(p[0], &r) && FD_ISSET(p[1], &w));
	CHECK(tv.tv_sec <= 5);
	FD_SET(p[0], &r);
	tv.tv_sec = 0, tv.tv_usec = 2000;
	CHECK_EQ(syscall(SYS_select, p[0] + 1, &r, NULL, NULL, &tv), 0);
	CHECK(tv.tv_sec == 0 && tv.tv_usec == 0 && !FD_ISSET(p[0], &r));
	CHECK_ERR(syscall(SYS_select, -1, NULL, NULL, NULL, NULL), EINVAL);

	int ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 77};
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &ev), 0);
	struct timespec ts = {0, 1000000};
	CHECK_EQ(syscall(SYS_epoll_pwait2, ep, &ev, 1, &ts, NULL, 0), 0);
	CHECK_EQ(write(p[1], "x", 1), 1);
	CHECK_EQ(syscall(SYS_epoll_pwait2, ep, &ev, 1, NULL, NULL, 0), 1);
	CHECK_EQ(ev.data.u64, 77);
	printf("done\n");
	return 0;
}
