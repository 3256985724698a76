// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: eventfd: counting, semaphores, blocking until room, the largest value, poll,
// flags, wrong sizes and addresses; what is waiting in another thread.
#include "guest.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>

static int ev;
static void *reads(void *arg) {
	eventfd_t v;
	sleep_ms(3);
	CHECK_EQ(eventfd_read(ev, &v), 0);
	CHECK_EQ(v, ~0ull - 1);
	return NULL;
}
static void *writes(void *arg) {
	sleep_ms(3);
	CHECK_EQ(eventfd_write(ev, 5), 0);
	return NULL;
}
static void state(int fd) {
	struct pollfd p = {fd, POLLIN | POLLOUT};
	poll(&p, 1, 0);
	printf("  revents %x\n", p.revents);
}

int main(void) {
	uint64_t v = 0, max = ~0ull, most = ~0ull - 1;
	ev = eventfd(3, EFD_NONBLOCK);
	state(ev);
	SHOW(read(ev, &v, 8));
	SHOW(v);
	SHOW(read(ev, &v, 8));
	state(ev);
	v = 0;
	SHOW(write(ev, &v, 8));
	state(ev);
	SHOW(write(ev, &max, 8));
	SHOW(write(ev, &most, 8));
	state(ev);
	v = 1;
	SHOW(write(ev, &v, 8));
	SHOW(read(ev, &v, 16)); // more room than is needed
	CHECK_EQ(v, most);
	SHOW(read(ev, &v, 7));
	SHOW(write(ev, &v, 7));
	v = 2;
	SHOW(write(ev, &v, 8));
	SHOW(read(ev, BAD, 8));
	SHOW(write(ev, BAD, 8));
	SHOW(pread(ev, &v, 8, 0));
	SHOW(pwrite(ev, &v, 8, 0));
	SHOW(lseek(ev, 5, SEEK_SET));
	SHOW(fcntl(ev, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
	close(ev);

	ev = eventfd(3, EFD_SEMAPHORE | EFD_CLOEXEC);
	SHOW(fcntl(ev, F_GETFD));
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(read(ev, &v, 8), 8);
		printf("semaphore gave %llu\n", (long long)v);
	}
	pthread_t t;
	pthread_create(&t, NULL, writes, NULL);
	CHECK_EQ(read(ev, &v, 8), 8); // waits
	pthread_join(t, NULL);
	close(ev);
	ev = eventfd(0, 0);
	CHECK_EQ(write(ev, &most, 8), 8);
	pthread_create(&t, NULL, reads, NULL);
	v = 7;
	SHOW(write(ev, &v, 8)); // waits for room
	pthread_join(t, NULL);
	SHOW(read(ev, &v, 8));
	CHECK_EQ(v, 7);
	SHOW(eventfd(0, 0x1000));
	SHOW(syscall(SYS_eventfd2, 0, ~0u));
	SHOW(syscall(SYS_eventfd, 0xffffffffu) > 0);
	return 0;
}
