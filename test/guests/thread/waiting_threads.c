// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: threads that are parked in calls while the program waits for its event
// go on from there, also in a clone: a futex waiter is woken, a half-done write is
// finished, a signal ends sigsuspend, a sleep lasts no longer, processor time grows.
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>

enum { LENGTH = 100000 };

static int word, ends[2];
static volatile long futex_result = -99, written = -1;
static volatile int64_t slept = -1;
static volatile int caught, woken;

static void hit(int s, siginfo_t *si, void *c) { (void)s, (void)si, (void)c, caught = 1; }

static void *sleeper(void *a) {
	int64_t start = now(CLOCK_MONOTONIC);
	nanosleep(&(struct timespec){0, 600000000}, NULL);
	slept = now(CLOCK_MONOTONIC) - start;
	return a;
}

static void *waiter(void *a) {
	futex_result = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return a;
}

static void *writer(void *a) {
	static char b[LENGTH];
	for (int i = 0; i < LENGTH; i++)
		b[i] = i % 251;
	written = write(ends[1], b, LENGTH);
	return a;
}

static void *pauser(void *a) { // SIGUSR1 is blocked until it waits
	sigset_t none;
	sigemptyset(&none);
	CHECK_ERR(sigsuspend(&none), EINTR);
	woken = 1;
	return a;
}

int main(void) {
	void *(*starts[])(void *) = {sleeper, waiter, writer, pauser};
	pthread_t threads[4];
	CHECK_EQ(pipe(ends), 0);
	on(SIGUSR1, hit, 0);
	sigset_t usr1;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &usr1, NULL), 0);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, starts[i], NULL), 0);
	nanosleep(&(struct timespec){0, 100000000}, NULL); // they are parked now
	int64_t cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	char event[64];
	ssize_t n = read(0, event, sizeof event);
	printf("event of %zd bytes\n", n);

	while (syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0) != 1)
		sleep_ms(1);
	CHECK_EQ(pthread_kill(threads[3], SIGUSR1), 0);
	CHECK(now(CLOCK_PROCESS_CPUTIME_ID) >= cpu);
	static unsigned char b[LENGTH];
	for (int got = 0; got < LENGTH;) {
		ssize_t r = read(ends[0], b + got, LENGTH - got);
		CHECK(r > 0);
		for (int i = got; i < got + r; i++)
			CHECK_EQ(b[i], i % 251);
		got += r;
	}
	for (int i = 0; i < 4; i++)
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	CHECK_EQ(futex_result, 0);
	CHECK_EQ(written, LENGTH);
	CHECK(caught && woken);
	CHECK(slept >= 600000000);
	printf("all went on\n");
	return 0;
}
