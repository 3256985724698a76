// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: deferred cancellation of threads blocked in read, nanosleep,
// pthread_cond_wait and at pthread_testcancel, with clean-up handlers; and
// cancellation held off while it is disabled.
#include "guest.h"
#include <pthread.h>

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int fds[2], cleaned;

static void clean(void *arg) { cleaned += (int)(long)arg; }
static void unlock(void *arg) {
	(void)arg;
	cleaned += 1000;
	pthread_mutex_unlock(&mu);
}

static void *blocked(void *arg) {
	char c;
	pthread_cleanup_push(clean, (void *)1);
	switch ((long)arg) {
	case 0: read(fds[0], &c, 1); break;
	case 1: sleep(100); break;
	case 2:
		pthread_mutex_lock(&mu);
		pthread_cleanup_push(unlock, NULL);
		for (;;)
			pthread_cond_wait(&cond, &mu);
		pthread_cleanup_pop(1);
		break;
	case 3:
		for (;;)
			pthread_testcancel();
	}
	pthread_cleanup_pop(1);
	return NULL;
}

static void *disabled(void *arg) {
	int old;
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	sleep_ms(5);
	*(int *)arg = 1;
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
	pthread_testcancel();
	*(int *)arg = 2;
	return NULL;
}

int main(void) {
	pthread_t t;
	void *r;
	CHECK_EQ(pipe(fds), 0);
	for (long i = 0; i < 4; i++) {
		CHECK_EQ(pthread_create(&t, NULL, blocked, (void *)i), 0);
		sleep_ms(3);
		CHECK_EQ(pthread_cancel(t), 0);
		CHECK_EQ(pthread_join(t, &r), 0);
		CHECK(r == PTHREAD_CANCELED);
		printf("way %ld: cleaned %d\n", i, cleaned);
	}
	int reached = 0;
	CHECK_EQ(pthread_create(&t, NULL, disabled, &reached), 0);
	CHECK_EQ(pthread_cancel(t), 0);
	CHECK_EQ(pthread_join(t, &r), 0);
	CHECK(r == PTHREAD_CANCELED || reached == 0);
	printf("cancelled\n");
	return 0;
}
