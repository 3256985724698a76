// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// inotify(7): masks, numbers of watches, readiness, short reads, waiting, overflow,
// and errors.
#include "guest.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static char buf[1 << 20] __attribute__((aligned(8)));

static struct inotify_event *next(int in) {
	CHECK(read(in, buf, 64) >= 16);
	return (void *)buf;
}

static int revents(int fd) {
	struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT};
	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents;
}

static void touch(const char *name) {
	int fd = open(name, O_WRONLY | O_CREAT, 0644);
	CHECK(fd >= 0);
	CHECK_EQ(close(fd), 0);
}

static void *later(void *arg) {
	sleep_ms(5);
	touch("f");
	return arg;
}

int main(void) {
	struct inotify_event *e;
	int n;
	scratch();
	touch("f");
	CHECK_EQ(symlink("f", "link"), 0);
	int in = inotify_init();
	CHECK(in >= 0);
	CHECK_EQ(fcntl(in, F_GETFD), 0);
	CHECK_EQ(fcntl(in, F_SETFL, O_NONBLOCK), 0);
	printf("ready: %x\n", revents(in));
	CHECK_ERR(read(in, buf, sizeof buf), EAGAIN);

	// One watch a file, however it is named.
	CHECK_EQ(inotify_add_watch(in, "f", IN_OPEN), 1);
	CHECK_EQ(inotify_add_watch(in, "link", IN_CLOSE), 1);
	CHECK_EQ(inotify_add_watch(in, "link", IN_OPEN | IN_DONT_FOLLOW), 2);
	touch("f");
	e = next(in);
	printf("replaced: %x\n", e->mask);
	CHECK_EQ(inotify_add_watch(in, "f", IN_OPEN | IN_MASK_ADD), 1);
	CHECK_ERR(inotify_add_watch(in, "f", IN_OPEN | IN_MASK_CREATE), EEXIST);
	touch("f");
	CHECK_EQ(ioctl(in, FIONREAD, &n), 0);
	printf("ready: %x, %d bytes\n", revents(in), n);
	CHECK_ERR(read(in, buf, 15), EINVAL);
	CHECK_EQ(read(in, buf, 31), 16);
	CHECK_EQ(read(in, buf, sizeof buf), 16);
	CHECK_ERR(read(in, (char *)8, 100), EAGAIN);

	// The end of a watch.
	CHECK_EQ(inotify_rm_watch(in, 1), 0);
	e = next(in);
	printf("removed: %d %x\n", e->wd, e->mask);
	CHECK_ERR(inotify_rm_watch(in, 1), EINVAL);
	CHECK_EQ(inotify_add_watch(in, "f", IN_OPEN | IN_ONESHOT), 3);
	touch("f");
	touch("f");
	CHECK_EQ(read(in, buf, sizeof buf), 32);
	printf("once: %x %x\n", ((struct inotify_event *)buf)->mask, ((struct inotify_event *)(buf + 16))->mask);

	// Two instances.
	int two = inotify_init1(0);
	CHECK_EQ(inotify_add_watch(two, "f", IN_CLOSE_WRITE), 1);
	CHECK_EQ(inotify_add_watch(in, "f", IN_CLOSE_WRITE), 4);
	touch("f");
	CHECK_EQ(next(two)->mask, IN_CLOSE_WRITE);
	CHECK_EQ(next(in)->mask, IN_CLOSE_WRITE);

	// Waiting, and epoll.
	pthread_t t;
	CHECK_EQ(pthread_create(&t, NULL, later, NULL), 0);
	CHECK_EQ(next(two)->mask, IN_CLOSE_WRITE);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(read(in, buf, sizeof buf), 16);
	int ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u32 = 7};
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, in, &ev), 0);
	CHECK_EQ(epoll_wait(ep, &ev, 1, 0), 0);
	touch("f");
	CHECK_EQ(epoll_wait(ep, &ev, 1, 0), 1);
	CHECK_EQ(epoll_wait(ep, &ev, 1, 0), 0);
	CHECK_EQ(read(in, buf, sizeof buf), 16);

	// Files that are removed while watched with IN_EXCL_UNLINK.
	CHECK_EQ(inotify_add_watch(in, ".", IN_MODIFY | IN_EXCL_UNLINK), 5);
	int fd = open("f", O_WRONLY);
	CHECK_EQ(write(fd, "1", 1), 1);
	CHECK_EQ(unlink("f"), 0);
	CHECK_EQ(write(fd, "2", 1), 1);
	CHECK_EQ(close(fd), 0);
	n = read(in, buf, sizeof buf);
	printf("excluded:");
	for (char *p = buf; p < buf + n; p += 16 + e->len) {
		e = (void *)p;
		printf(" %d %x", e->wd, e->mask);
	}
	printf("\n");

	// Overflow.
	touch("a");
	touch("b");
	CHECK_EQ(read(in, buf, 1) == -1 ? errno : 0, EAGAIN);
	CHECK_EQ(inotify_add_watch(in, ".", IN_OPEN), 5);
	int kept = 0;
	for (int i = 0; i < 9000; i++) {
		touch("a");
		touch("b");
	}
	while ((n = read(in, buf, sizeof buf)) > 0)
		for (char *p = buf; p < buf + n; p += 16 + e->len) {
			e = (void *)p;
			kept++;
		}
	printf("%d kept, the last one %d %x\n", kept, e->wd, e->mask);
	touch("a");
	CHECK_EQ(next(in)->wd, 5);

	// Errors.
	CHECK_ERR(inotify_init1(1), EINVAL);
	CHECK_ERR(inotify_add_watch(99, "a", IN_OPEN), EBADF);
	CHECK_ERR(inotify_add_watch(0, "a", IN_OPEN), EINVAL);
	CHECK_ERR(inotify_add_watch(in, "a", 0), EINVAL);
	CHECK_ERR(inotify_add_watch(in, "a", IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE), EINVAL);
	CHECK_ERR(inotify_add_watch(in, "a", IN_OPEN | IN_ONLYDIR), ENOTDIR);
	CHECK_ERR(inotify_add_watch(in, "none", IN_OPEN), ENOENT);
	CHECK_ERR(inotify_add_watch(in, (char *)8, IN_OPEN), EFAULT);
	CHECK_ERR(inotify_rm_watch(0, 1), EINVAL);
	CHECK_ERR(inotify_rm_watch(99, 1), EBADF);
	CHECK_ERR(inotify_rm_watch(in, 77), EINVAL);
	CHECK_ERR(write(in, "x", 1), EBADF);
	CHECK_EQ(lseek(in, 0, SEEK_SET), 0);
	CHECK_ERR(pread(in, buf, 16, 0), ESPIPE);
	CHECK_EQ(unlink("a"), 0);
	CHECK_EQ(unlink("b"), 0);
	CHECK_EQ(unlink("link"), 0);
	return 0;
}
