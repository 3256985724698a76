// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: which calls go on after a handler with SA_RESTART and which end with EINTR,
// one by one; and that without the flag all of them end.
#include "guest.h"
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/timerfd.h>

static int in[2], out[2], ev, tfd, ep;
static int word, first_tid;
static pthread_t first;
static atomic_int hits, ended;
static char big[65536 * 2];

static void hit(int s, siginfo_t *si, void *c) { hits++; }

// sleeps reports whether the first thread waits in a call.
static int sleeps(void) {
	char path[64], text[128] = "";
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", first_tid);
	FILE *f = fopen(path, "r");
	CHECK(f != NULL && fgets(text, sizeof text, f) != NULL);
	fclose(f);
	return strstr(text, ") S") != NULL;
}

// The helper interrupts the call twice; when that does not end it, the handler's flag
// has worked, and the call is given what it waits for.
static void give(void);
static void *helper(void *arg) {
	for (int i = 0; i < 2; i++) {
		while (!ended && !sleeps())
			sleep_ms(1);
		if (ended)
			break;
		int before = hits;
		pthread_kill(first, SIGUSR1);
		while (hits == before)
			sleep_ms(1);
	}
	while (!ended && !sleeps())
		sleep_ms(1);
	if (!ended)
		give();
	return NULL;
}
static const char *name;
static void give(void) {
	printf("%s goes on\n", name);
	word = 1;
	syscall(SYS_futex, &word, FUTEX_WAKE, 10, NULL, NULL, 0);
	CHECK_EQ(write(in[1], "x", 1), 1);
	eventfd_write(ev, 1);
	struct itimerspec its = {.it_value.tv_nsec = 1};
	timerfd_settime(tfd, 0, &its, NULL);
	static char sink[65536];
	while (!ended && read(out[0], sink, sizeof sink) > 0)
		sleep_ms(1);
}

#define CALL(e)                                                                     \
	do {                                                                        \
		pthread_t t;                                                        \
		name = #e;                                                          \
		ended = hits = word = 0;                                            \
		CHECK_EQ(pthread_create(&t, NULL, helper, NULL), 0);                \
		errno = 0;                                                          \
		long r = (long)(e);                                                 \
		int err = errno;                                                    \
		ended = 1;                                                          \
		pthread_join(t, NULL);                                              \
		printf("%s: %s errno %d\n", #e, r < 0 ? "failed" : "ok", err);      \
		drain();                                                            \
	} while (0)

static void drain(void) {
	char b[4096];
	struct pollfd p = {in[0], POLLIN};
	while (poll(&p, 1, 0) > 0)
		CHECK(read(in[0], b, sizeof b) > 0);
	p.fd = out[0];
	while (poll(&p, 1, 0) > 0)
		CHECK(read(out[0], b, sizeof b) > 0);
	eventfd_write(ev, 1);
	eventfd_t v;
	eventfd_read(ev, &v);
	struct itimerspec its = {{0}};
	timerfd_settime(tfd, 0, &its, NULL);
}

int main(void) {
	CHECK(pipe(in) == 0 && pipe(out) == 0);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	ev = eventfd(0, 0);
	tfd = timerfd_create(CLOCK_MONOTONIC, 0);
	ep = epoll_create1(0);
	struct epoll_event e = {EPOLLIN};
	CHECK_EQ(epoll_ctl(ep, EPOLL_CTL_ADD, in[0], &e), 0);
	first = pthread_self();
	first_tid = syscall(SYS_gettid);
	char b[16];
	struct pollfd p = {in[0], POLLIN};
	struct timespec ts = {20, 0};
	sigset_t none, rt;
	sigemptyset(&none);
	sigemptyset(&rt);
	sigaddset(&rt, SIGRTMIN);
	for (int i = 0; i < 2; i++) {
		printf("%s\n", i ? "SA_RESTART" : "no flag");
		on(SIGUSR1, hit, i ? SA_RESTART : 0);
		CALL(read(in[0], b, 1));
		CALL(write(out[1], big, sizeof big) == sizeof big ? 0 : -1);
		CALL(read(ev, b, 8));
		if (i) {
			CALL(read(tfd, b, 8));
			CALL(syscall(SYS_futex, &word, FUTEX_WAIT, 0, NULL, NULL, 0));
		}
		CALL(syscall(SYS_futex, &word, FUTEX_WAIT, 0, &ts, NULL, 0));
		CALL(poll(&p, 1, -1));
		CALL(ppoll(&p, 1, NULL, &none));
		CALL(({ fd_set s; FD_ZERO(&s); FD_SET(in[0], &s); select(in[0] + 1, &s, NULL, NULL, NULL); }));
		CALL(({ fd_set s; FD_ZERO(&s); FD_SET(in[0], &s); pselect(in[0] + 1, &s, NULL, NULL, NULL, &none); }));
		CALL(epoll_wait(ep, &e, 1, -1));
		CALL(epoll_pwait(ep, &e, 1, -1, &none));
		CALL(pause());
		CALL(sigsuspend(&none));
		CALL(sigwaitinfo(&rt, NULL));
		CALL(nanosleep(&ts, NULL));
	}
	return 0;
}
