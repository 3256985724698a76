// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: threads that make no system calls share the processor: two threads
// hand a number to and fro by spinning, and a signal reaches a spinning thread.
#include "guest.h"
#include <pthread.h>
#include <stdatomic.h>

static atomic_int turn, stop;

static void *spin(void *arg) {
	int me = (long)arg;
	for (int i = 0; i < 20; i++) {
		while (turn % 2 != me)
			;
		turn++;
	}
	return NULL;
}

static void *forever(void *arg) {
	double x = 1;
	while (!stop)
		x = x * 1.0000001 + 1e-9;
	*(double *)arg = x;
	return NULL;
}

static void halt(int s, siginfo_t *si, void *c) { (void)s, (void)si, (void)c, stop = 1; }

int main(void) {
	pthread_t a, b;
	CHECK_EQ(pthread_create(&a, NULL, spin, (void *)0), 0);
	CHECK_EQ(pthread_create(&b, NULL, spin, (void *)1), 0);
	pthread_join(a, NULL);
	pthread_join(b, NULL);
	printf("turn %d\n", turn);

	double x = 0;
	on(SIGUSR1, halt, 0);
	CHECK_EQ(pthread_create(&a, NULL, forever, &x), 0);
	sleep_ms(5);
	CHECK_EQ(pthread_kill(a, SIGUSR1), 0);
	pthread_join(a, NULL);
	CHECK(x >= 1);

	stop = 0;
	on(SIGALRM, halt, 0);
	ualarm(5000, 0);
	forever(&x); // no other thread: the timer alone must break in
	printf("spinning threads were interrupted\n");
	return 0;
}
