// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Watches, events that were not read, and a thread that waits for some, while the
// program waits for its event.
#include "guest.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/stat.h>

static int waiting;

static void *reader(void *arg) {
	char buf[256];
	CHECK_EQ(read(waiting, buf, sizeof buf), 32);
	printf("the other: %s\n", ((struct inotify_event *)buf)->name);
	return arg;
}

int main(void) {
	char buf[4096] __attribute__((aligned(8)));
	pthread_t t;
	scratch();
	CHECK_EQ(mkdir("d", 0755), 0);
	int in = inotify_init1(IN_NONBLOCK);
	waiting = inotify_init1(0);
	CHECK_EQ(inotify_add_watch(in, "d", IN_CREATE | IN_MOVE), 1);
	CHECK_EQ(inotify_add_watch(waiting, "d", IN_DELETE), 1);
	CHECK_EQ(close(open("d/before", O_CREAT | O_WRONLY, 0600)), 0);
	CHECK_EQ(rename("d/before", "d/moved"), 0);
	CHECK_EQ(pthread_create(&t, NULL, reader, NULL), 0);
	sleep_ms(5);

	CHECK_EQ(read(0, buf, 16), 5);

	CHECK_EQ(rename("d/moved", "d/again"), 0);
	CHECK_EQ(close(open("d/after", O_CREAT | O_WRONLY, 0600)), 0);
	uint32_t first = 0;
	ssize_t n = read(in, buf, sizeof buf);
	CHECK(n > 0);
	for (char *p = buf; p < buf + n;) {
		struct inotify_event *e = (void *)p;
		if (first == 0)
			first = e->cookie;
		printf("%d %x %s %s\n", e->wd, e->mask, e->name, e->cookie == 0 ? "" : e->cookie == first ? "first" : "second");
		p += 16 + e->len;
	}
	CHECK_EQ(unlink("d/again"), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(unlink("d/after"), 0);
	CHECK_EQ(inotify_rm_watch(in, 1), 0);
	CHECK_EQ(rmdir("d"), 0);
	return 0;
}
