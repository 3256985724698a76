// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Calls on sockets that wait: time limits, signals with and without SA_RESTART, a
// listener and a reader that are shut down meanwhile.
#include "sock.h"

static int e[2];
static volatile int caught, writes;

static void on_alarm(int sig, siginfo_t *info, void *ctx) {
	(void)sig, (void)info, (void)ctx;
	if (++caught == writes)
		CHECK(write(e[0], "signal", 6) == 6);
}

// alarm_every is for a wait that begins who knows when: an alarm that comes before it is
// not the last one. 0 ends it.
static void alarm_every(int ms) {
	struct itimerval it = {.it_value = {0, ms * 1000}, .it_interval = {0, ms * 1000}};
	caught = 0;
	CHECK(setitimer(ITIMER_REAL, &it, NULL) == 0);
}

static void limit(int fd, int name, int ms) {
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};
	CHECK(setsockopt(fd, SOL_SOCKET, name, &tv, sizeof tv) == 0);
}

#define TIMED(least, e)                                                          \
	do {                                                                     \
		int64_t before_ = now(CLOCK_MONOTONIC);                          \
		SHOW(e);                                                         \
		CHECK(now(CLOCK_MONOTONIC) - before_ >= (least - 1) * 1000000LL); \
	} while (0)

static void *closes(void *arg) {
	sleep_ms(30);
	CHECK(shutdown((int)(intptr_t)arg, SHUT_RDWR) == 0);
	return NULL;
}

static void kind(const char *name) {
	printf("%s\n", name);
	char buf[64];
	static char big[4 << 20];
	struct addr at;
	int l = listener(name, SOCK_STREAM, 1, &at);
	e[0] = e[1] = -1;
	limit(l, SO_RCVTIMEO, 30);
	TIMED(30, accept(l, NULL, NULL));
	connected("pair", SOCK_STREAM, e);
	close(e[0]), close(e[1]);
	limit(l, SO_RCVTIMEO, 0);
	e[0] = dial(&at, SOCK_STREAM);
	e[1] = accept(l, NULL, NULL);
	limit(e[1], SO_RCVTIMEO, 30);
	TIMED(30, recv(e[1], buf, 64, 0));
	TIMED(30, read(e[1], buf, 64));
	struct msghdr m = {.msg_iov = &(struct iovec){buf, 64}, .msg_iovlen = 1};
	TIMED(30, recvmsg(e[1], &m, 0));
	TIMED(0, recv(e[1], buf, 64, MSG_DONTWAIT));
	CHECK(send(e[0], "abc", 3, 0) == 3);
	TIMED(30, recv(e[1], buf, 64, MSG_WAITALL));
	// Signals end a wait with a limit, whatever SA_RESTART says.
	on(SIGALRM, on_alarm, SA_RESTART);
	limit(e[1], SO_RCVTIMEO, 5000);
	alarm_every(20);
	SHOW(recv(e[1], buf, 64, 0));
	limit(e[1], SO_RCVTIMEO, 0);
	writes = 2; // the first one does not end the wait
	alarm_every(20);
	SHOW(recv(e[1], buf, 64, 0));
	writes = 0;
	on(SIGALRM, on_alarm, 0);
	SHOW(recv(e[1], buf, 64, 0));
	SHOW(accept(l, NULL, NULL));
	alarm_every(0);
	// A write that does not fit, into buffers that do not grow.
	int room = 64 << 10;
	CHECK(setsockopt(e[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
	CHECK(setsockopt(e[1], SOL_SOCKET, SO_RCVBUF, &room, sizeof room) == 0);
	limit(e[0], SO_SNDTIMEO, 30);
	ssize_t n = send(e[0], big, sizeof big, 0);
	printf("a part: %d\n", n > 0 && n < (ssize_t)sizeof big);
	TIMED(30, send(e[0], big, 1000, 0) == -1 && errno == EAGAIN);
	limit(e[0], SO_SNDTIMEO, 0);
	alarm_every(20);
	n = send(e[0], big, sizeof big, 0);
	int why = errno;
	alarm_every(0);
	printf("interrupted: %d\n", n < 0 ? why == EINTR : n < (ssize_t)sizeof big);
	close(e[0]), close(e[1]);

	// Somebody else ends the wait.
	pthread_t t;
	connected("pair", SOCK_STREAM, e);
	CHECK(pthread_create(&t, NULL, closes, (void *)(intptr_t)e[1]) == 0);
	SHOW(recv(e[1], buf, 64, 0));
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(pthread_create(&t, NULL, closes, (void *)(intptr_t)l) == 0);
	SHOW(accept(l, NULL, NULL));
	CHECK(pthread_join(t, NULL) == 0);
	close(l), close(e[0]), close(e[1]);
	if (at.sa.sa_family == AF_UNIX)
		unlink(at.un.sun_path);
}

int main(void) {
	scratch();
	kind("inet");
	kind("unix");
	return 0;
}
