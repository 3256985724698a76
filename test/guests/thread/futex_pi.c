// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: FUTEX_LOCK_PI, TRYLOCK_PI and UNLOCK_PI: the word, hand-over in order, the
// owner's own second lock, unlocking what is not owned, an owner that does not exist or
// has died, timeouts on the wall clock.
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_uint lock;
static atomic_int order;
static int me(void) { return syscall(SYS_gettid); }
static long futex(void *addr, int op, const void *ts) { return syscall(SYS_futex, addr, op | FUTEX_PRIVATE_FLAG, 0, ts, NULL, 0); }

static atomic_int tids[3];
// sleeps reports whether a thread waits in a call.
static int sleeps(int tid) {
	char path[64], text[128] = "";
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	FILE *f = fopen(path, "r");
	CHECK(f != NULL && fgets(text, sizeof text, f) != NULL);
	fclose(f);
	return strstr(text, ") S") != NULL;
}
static void *locks(void *arg) {
	tids[(long)arg] = me();
	CHECK_EQ(futex(&lock, FUTEX_LOCK_PI, NULL), 0);
	CHECK_EQ(lock & FUTEX_TID_MASK, me());
	printf("thread %ld locked, was number %d, others wait: %d\n", (long)arg, ++order, (lock & FUTEX_WAITERS) != 0);
	CHECK_EQ(futex(&lock, FUTEX_UNLOCK_PI, NULL), 0);
	return NULL;
}
static void *tries(void *arg) {
	struct timespec past = {1, 0}, soon;
	SHOW(futex(&lock, FUTEX_TRYLOCK_PI, NULL));
	SHOW(futex(&lock, FUTEX_UNLOCK_PI, NULL));
	SHOW(futex(&lock, FUTEX_LOCK_PI, &past));
	clock_gettime(CLOCK_REALTIME, &soon);
	int64_t start = now(CLOCK_MONOTONIC);
	soon.tv_nsec += 20000000;
	if (soon.tv_nsec >= 1000000000)
		soon.tv_sec++, soon.tv_nsec -= 1000000000;
	SHOW(futex(&lock, FUTEX_LOCK_PI, &soon));
	CHECK(now(CLOCK_MONOTONIC) - start >= 15000000);
	return NULL;
}
static void *holds(void *arg) { // ends without letting go
	CHECK_EQ(futex(&lock, FUTEX_LOCK_PI, NULL), 0);
	return NULL;
}

int main(void) {
	SHOW(futex(&lock, FUTEX_LOCK_PI, NULL));
	CHECK_EQ(lock, me());
	SHOW(futex(&lock, FUTEX_LOCK_PI, NULL));
	SHOW(futex(&lock, FUTEX_TRYLOCK_PI, NULL));
	pthread_t t[3];
	CHECK_EQ(pthread_create(&t[0], NULL, tries, NULL), 0);
	pthread_join(t[0], NULL);
	for (long i = 0; i < 3; i++) {
		CHECK_EQ(pthread_create(&t[i], NULL, locks, (void *)i), 0);
		while (tids[i] == 0 || !sleeps(tids[i]))
			sleep_ms(1);
	}
	CHECK_EQ(lock, me() | FUTEX_WAITERS);
	CHECK_EQ(futex(&lock, FUTEX_UNLOCK_PI, NULL), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	printf("word %x\n", (unsigned)lock);
	SHOW(futex(&lock, FUTEX_UNLOCK_PI, NULL));
	SHOW(futex(&lock, FUTEX_TRYLOCK_PI, NULL));
	SHOW(futex(&lock, FUTEX_UNLOCK_PI, NULL));

	lock = 0x3ffffff; // nobody's
	SHOW(futex(&lock, FUTEX_LOCK_PI, NULL));
	SHOW(futex(&lock, FUTEX_TRYLOCK_PI, NULL));
	lock = FUTEX_OWNER_DIED;
	SHOW(futex(&lock, FUTEX_LOCK_PI, NULL));
	CHECK_EQ(lock & FUTEX_TID_MASK, me());
	printf("died bit kept: %d\n", (lock & FUTEX_OWNER_DIED) != 0);
	lock = 0;
	CHECK_EQ(pthread_create(&t[0], NULL, holds, NULL), 0);
	pthread_join(t[0], NULL);
	SHOW(futex(&lock, FUTEX_LOCK_PI, NULL)); // its owner is gone
	lock = 0;
	struct timespec bad = {0, -1};
	SHOW(futex(&lock, FUTEX_LOCK_PI, &bad));
	SHOW(futex(&lock, FUTEX_LOCK_PI, BAD));
	SHOW(futex((char *)&lock + 1, FUTEX_LOCK_PI, NULL));
	SHOW(futex(BAD, FUTEX_LOCK_PI, NULL));
	SHOW(futex(readonly_page(), FUTEX_LOCK_PI, NULL));
	SHOW(futex(BAD, FUTEX_UNLOCK_PI, NULL));
	SHOW(futex((char *)&lock + 1, FUTEX_UNLOCK_PI, NULL));
	SHOW(futex(&lock, FUTEX_LOCK_PI | FUTEX_CLOCK_REALTIME, NULL));
	return 0;
}
