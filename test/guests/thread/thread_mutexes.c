// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: error-checking, recursive, robust and timed mutexes do what POSIX
// says; a robust mutex of a thread that ended is handed on.
#include "guest.h"
#include <pthread.h>

static pthread_mutex_t mu;
static volatile int held;

static void init(int type, int robust) {
	pthread_mutexattr_t a;
	pthread_mutexattr_init(&a);
	pthread_mutexattr_settype(&a, type);
	if (robust)
		pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
	CHECK_EQ(pthread_mutex_init(&mu, &a), 0);
}
static void *leave_locked(void *arg) {
	pthread_mutex_lock(&mu);
	return arg;
}
static void *wait_locked(void *arg) {
	(void)arg;
	return (void *)(long)pthread_mutex_lock(&mu);
}
static void *hold(void *arg) {
	pthread_mutex_lock(&mu);
	held = 1;
	sleep_ms(20);
	return arg; // without unlocking
}
static void *try(void *arg) {
	(void)arg;
	return (void *)(long)pthread_mutex_trylock(&mu);
}
static void *unlock(void *arg) {
	(void)arg;
	return (void *)(long)pthread_mutex_unlock(&mu);
}
static long in_thread(void *(*f)(void *)) {
	pthread_t t;
	void *r;
	CHECK_EQ(pthread_create(&t, NULL, f, NULL), 0);
	CHECK_EQ(pthread_join(t, &r), 0);
	return (long)r;
}

int main(void) {
	init(PTHREAD_MUTEX_ERRORCHECK, 0);
	CHECK_EQ(pthread_mutex_unlock(&mu), EPERM);
	CHECK_EQ(pthread_mutex_lock(&mu), 0);
	CHECK_EQ(pthread_mutex_lock(&mu), EDEADLK);
	CHECK_EQ(in_thread(unlock), EPERM);
	CHECK_EQ(in_thread(try), EBUSY);
	CHECK_EQ(pthread_mutex_unlock(&mu), 0);
	printf("errorcheck ok\n");

	init(PTHREAD_MUTEX_RECURSIVE, 0);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(pthread_mutex_lock(&mu), 0);
	CHECK_EQ(in_thread(try), EBUSY);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(pthread_mutex_unlock(&mu), 0);
	CHECK_EQ(pthread_mutex_unlock(&mu), EPERM);
	printf("recursive ok\n");

	init(PTHREAD_MUTEX_NORMAL, 0);
	CHECK_EQ(pthread_mutex_lock(&mu), 0);
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += 3000000;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	CHECK_EQ(pthread_mutex_timedlock(&mu, &ts), ETIMEDOUT);
	CHECK_EQ(pthread_mutex_unlock(&mu), 0);
	printf("timed ok\n");

	init(PTHREAD_MUTEX_NORMAL, 1);
	in_thread(leave_locked);
	CHECK_EQ(pthread_mutex_lock(&mu), EOWNERDEAD);
	CHECK_EQ(pthread_mutex_consistent(&mu), 0);
	CHECK_EQ(pthread_mutex_unlock(&mu), 0);
	CHECK_EQ(pthread_mutex_lock(&mu), 0);
	CHECK_EQ(pthread_mutex_unlock(&mu), 0);
	// Somebody already waits when the owner ends.
	pthread_t a, b;
	void *r;
	CHECK_EQ(pthread_create(&a, NULL, hold, NULL), 0);
	while (!held)
		sleep_ms(1);
	CHECK_EQ(pthread_create(&b, NULL, wait_locked, NULL), 0);
	CHECK_EQ(pthread_join(a, NULL), 0);
	CHECK_EQ(pthread_join(b, &r), 0);
	CHECK_EQ((long)r, EOWNERDEAD);
	CHECK_EQ(pthread_mutex_lock(&mu), EOWNERDEAD);
	CHECK_EQ(pthread_mutex_unlock(&mu), 0); // not made consistent
	CHECK_EQ(pthread_mutex_lock(&mu), ENOTRECOVERABLE);
	printf("robust ok\n");
	return 0;
}
