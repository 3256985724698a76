// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Named pipes that are open, hold data, or are waited for while the program waits
// for its event.
#include "guest.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

static int opened;

static void *reader(void *arg) {
	opened = open("late", O_RDONLY);
	return arg;
}

int main(void) {
	char buf[64];
	pthread_t t;
	scratch();
	CHECK_EQ(mkfifo("p", 0600), 0);
	CHECK_EQ(mkfifo("late", 0600), 0);
	int r = open("p", O_RDONLY | O_NONBLOCK), w = open("p", O_WRONLY), w2 = open("p", O_WRONLY);
	CHECK_EQ(write(w, "before", 6), 6);
	CHECK_EQ(close(w2), 0);
	CHECK_EQ(pthread_create(&t, NULL, reader, NULL), 0);
	sleep_ms(5);

	CHECK_EQ(read(0, buf, sizeof buf), 5);

	CHECK_EQ(write(w, " after", 6), 6);
	CHECK_EQ(read(r, buf, sizeof buf), 12);
	printf("%.12s\n", buf);
	CHECK_ERR(read(r, buf, sizeof buf), EAGAIN);
	CHECK_EQ(close(w), 0);
	CHECK_EQ(read(r, buf, sizeof buf), 0);
	w = open("late", O_WRONLY);
	CHECK(w >= 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(write(w, "late", 4), 4);
	CHECK_EQ(close(w), 0);
	CHECK_EQ(read(opened, buf, sizeof buf), 4);
	CHECK_EQ(read(opened, buf, sizeof buf), 0);
	CHECK_EQ(close(opened), 0);
	CHECK_ERR(open("late", O_WRONLY | O_NONBLOCK), ENXIO);
	CHECK_EQ(unlink("p"), 0);
	CHECK_EQ(unlink("late"), 0);
	puts("ok");
	return 0;
}
