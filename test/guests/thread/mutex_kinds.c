// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the C library's mutexes on futexes: normal, recursive, errorcheck, robust,
// with priority inheritance, and both; an owner that dies leaves EOWNERDEAD, and
// ENOTRECOVERABLE when nobody repairs it; timed locks on both clocks.
#include "guest.h"
#include <pthread.h>
#include <stdatomic.h>

#define STEP(what, e) printf(" %s %d", what, e)

static pthread_mutex_t m;
static int counter;
static void *adds(void *arg) {
	for (int i = 0; i < 200; i++) {
		CHECK_EQ(pthread_mutex_lock(&m), 0);
		int v = counter;
		if (i % 50 == 0)
			sched_yield();
		counter = v + 1;
		CHECK_EQ(pthread_mutex_unlock(&m), 0);
	}
	return NULL;
}
static void *dies(void *arg) {
	CHECK_EQ(pthread_mutex_lock(&m), 0);
	return NULL;
}
static void *dies_later(void *arg) {
	CHECK_EQ(pthread_mutex_lock(&m), 0);
	*(atomic_int *)arg = 1;
	sleep_ms(20);
	return NULL;
}
static void *other(void *arg) {
	STEP("  other: trylock", pthread_mutex_trylock(&m));
	STEP("unlock", pthread_mutex_unlock(&m));
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec = (ts.tv_nsec + 5000000) % 1000000000;
	ts.tv_sec += ts.tv_nsec < 5000000;
	STEP("timedlock", pthread_mutex_timedlock(&m, &ts));
	printf("\n");
	return NULL;
}

int main(void) {
	static const int types[] = {PTHREAD_MUTEX_NORMAL, PTHREAD_MUTEX_RECURSIVE, PTHREAD_MUTEX_ERRORCHECK};
	pthread_t t[4];
	for (int protocol = 0; protocol < 2; protocol++)
		for (int robust = 0; robust < 2; robust++)
			for (int i = 0; i < 3; i++) {
				pthread_mutexattr_t a;
				pthread_mutexattr_init(&a);
				CHECK_EQ(pthread_mutexattr_settype(&a, types[i]), 0);
				CHECK_EQ(pthread_mutexattr_setrobust(&a, robust ? PTHREAD_MUTEX_ROBUST : PTHREAD_MUTEX_STALLED), 0);
				CHECK_EQ(pthread_mutexattr_setprotocol(&a, protocol ? PTHREAD_PRIO_INHERIT : PTHREAD_PRIO_NONE), 0);
				CHECK_EQ(pthread_mutex_init(&m, &a), 0);
				printf("type %d robust %d inherit %d\n", i, robust, protocol);
				counter = 0;
				for (int n = 0; n < 4; n++)
					CHECK_EQ(pthread_create(&t[n], NULL, adds, NULL), 0);
				for (int n = 0; n < 4; n++)
					pthread_join(t[n], NULL);
				printf("  counted %d\n", counter);
				if (types[i] != PTHREAD_MUTEX_NORMAL || robust) {
					CHECK_EQ(pthread_mutex_lock(&m), 0);
					if (types[i] != PTHREAD_MUTEX_NORMAL)
						printf("  again: %d\n", pthread_mutex_lock(&m));
					if (types[i] == PTHREAD_MUTEX_RECURSIVE)
						CHECK_EQ(pthread_mutex_unlock(&m), 0);
					pthread_create(&t[0], NULL, other, NULL);
					pthread_join(t[0], NULL);
					CHECK_EQ(pthread_mutex_unlock(&m), 0);
				}
				if (robust) {
					pthread_create(&t[0], NULL, dies, NULL);
					pthread_join(t[0], NULL);
					STEP("  after a death:", pthread_mutex_lock(&m));
					STEP("consistent", pthread_mutex_consistent(&m));
					STEP("unlock", pthread_mutex_unlock(&m));
					STEP("lock", pthread_mutex_lock(&m));
					STEP("unlock", pthread_mutex_unlock(&m));
					printf("\n");
					atomic_int held = 0;
					pthread_create(&t[0], NULL, dies_later, &held);
					while (!held)
						sleep_ms(1);
					STEP("  waited for a death:", pthread_mutex_lock(&m));
					pthread_join(t[0], NULL);
					STEP("unlock", pthread_mutex_unlock(&m));
					STEP("lock", pthread_mutex_lock(&m));
					STEP("trylock", pthread_mutex_trylock(&m));
					printf("\n");
				}
				pthread_mutex_destroy(&m);
			}
	return 0;
}
