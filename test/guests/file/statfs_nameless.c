// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: fstatfs(2) of files without a place in the tree, and statfs(2) by their names
// in /proc.
#include "guest.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/vfs.h>

static void show(const char *what, int fd) {
	struct statfs a, b;
	char path[64];
	CHECK(fd >= 0);
	memset(&a, 0xff, sizeof a);
	CHECK_EQ(fstatfs(fd, &a), 0);
	printf("%s: type %lx, block size %ld, fragment size %ld, %ld blocks, %ld free, %ld files, names of %ld, flags %lx\n", what,
	       (long)a.f_type, (long)a.f_bsize, (long)a.f_frsize, (long)a.f_blocks, (long)a.f_bfree, (long)a.f_files, (long)a.f_namelen,
	       (long)a.f_flags);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	CHECK_EQ(statfs(path, &b), 0);
	CHECK(a.f_type == b.f_type && a.f_flags == b.f_flags);
}

int main(void) {
	int p[2], s[2];
	sigset_t none;
	struct statfs st;
	sigemptyset(&none);
	CHECK(pipe(p) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, s) == 0);
	show("pipe", p[0]);
	show("pipe, other end", p[1]);
	show("socket", s[0]);
	show("UDP socket", socket(AF_INET, SOCK_DGRAM, 0));
	show("eventfd", eventfd(0, 0));
	show("epoll", epoll_create1(0));
	show("inotify", inotify_init());
	show("timerfd", timerfd_create(CLOCK_MONOTONIC, 0));
	show("signalfd", signalfd(-1, &none, 0));
	int fd = memfd_create("m", 0);
	CHECK(fd >= 0 && fstatfs(fd, &st) == 0);
	printf("memfd: type %lx\n", (long)st.f_type);
	SHOW(fstatfs(open("/", O_PATH), &st));
	SHOW(fstatfs(-1, &st));
	SHOW(fstatfs(p[0], BAD));
	SHOW(fstatfs(p[0], readonly_page()));
	SHOW(statfs("/proc/self/fd/999", &st));
	return 0;
}
