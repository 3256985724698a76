// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: FUTEX_WAIT_REQUEUE_PI and FUTEX_CMP_REQUEUE_PI, as a condition variable over a
// lock with an owner uses them: the first waiter gets a free lock, others wait for it in
// order; timeouts and signals before and after the move; what they must not be mixed with.
#include "guest.h"
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_uint cond, lock, other;
static atomic_int order, tids[4];
static int me(void) { return syscall(SYS_gettid); }
static long futex(void *addr, int op, unsigned val, const void *ts, void *addr2, unsigned val3) {
	return syscall(SYS_futex, addr, op | FUTEX_PRIVATE_FLAG, val, ts, addr2, val3);
}
static long wait_pi(unsigned val, const struct timespec *ts) { return futex(&cond, FUTEX_WAIT_REQUEUE_PI, val, ts, &lock, 0); }
static long requeue(long n) { return futex(&cond, FUTEX_CMP_REQUEUE_PI, 1, (void *)n, &lock, cond); }

// sleeps reports whether a thread waits in a call.
static int sleeps(int tid) {
	char path[64], text[128] = "";
	snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
	FILE *f = fopen(path, "r");
	CHECK(f != NULL && fgets(text, sizeof text, f) != NULL);
	fclose(f);
	return strstr(text, ") S") != NULL;
}

static pthread_t threads[4];
static void begin(long i, void *(*f)(void *)) {
	tids[i] = 0;
	CHECK_EQ(pthread_create(&threads[i], NULL, f, (void *)i), 0);
	while (tids[i] == 0 || !sleeps(tids[i]))
		sleep_ms(1);
}
static void unlock(void) {
	unsigned mine = me();
	if (!atomic_compare_exchange_strong(&lock, &mine, 0))
		CHECK_EQ(futex(&lock, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0), 0);
}

static void *waits(void *arg) {
	tids[(long)arg] = me();
	CHECK_EQ(wait_pi(cond, NULL), 0);
	CHECK_EQ(lock & FUTEX_TID_MASK, me());
	printf("thread %ld owns the lock, was number %d\n", (long)arg, ++order);
	unlock();
	return NULL;
}
static void *plain(void *arg) {
	tids[(long)arg] = me();
	CHECK_EQ(futex(&cond, FUTEX_WAIT, cond, NULL, NULL, 0), 0);
	return NULL;
}
static struct timespec in_ms(clockid_t clock, int ms) {
	struct timespec ts;
	int64_t t = now(clock) + ms * 1000000LL;
	ts.tv_sec = t / 1000000000, ts.tv_nsec = t % 1000000000;
	return ts;
}
static void *limited(void *arg) { // while it waits for the lock
	struct timespec soon = in_ms(CLOCK_MONOTONIC, 1000);
	tids[(long)arg] = me();
	SHOW(wait_pi(cond, &soon));
	return NULL;
}
static void *interrupted(void *arg) {
	tids[(long)arg] = me();
	SHOW(wait_pi(cond, NULL));
	return NULL;
}
static atomic_int handled;
static void handler(int sig, siginfo_t *info, void *context) {
	(void)sig, (void)info, (void)context;
	handled++;
}
static void send(int i) {
	int before = handled;
	CHECK_EQ(pthread_kill(threads[i], SIGUSR1), 0);
	while (handled == before)
		sleep_ms(1);
}

int main(void) {
	struct timespec past = {1, 0}, wrong = {0, -1};
	// Nobody waits.
	SHOW(requeue(INT_MAX));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI, 1, NULL, &lock, 1));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI, 2, NULL, &lock, 0));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI, 0, NULL, &lock, 0));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI, 1, (void *)-1, &lock, 0));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI, 1, NULL, &cond, 0));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI, 1, NULL, (char *)&lock + 1, 0));
	SHOW(futex((char *)&cond + 1, FUTEX_CMP_REQUEUE_PI, 1, NULL, &lock, 0));
	SHOW(futex(BAD, FUTEX_CMP_REQUEUE_PI, 1, NULL, &lock, 0));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI, 1, NULL, BAD, 0));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI | FUTEX_CLOCK_REALTIME, 1, NULL, &lock, 0));
	SHOW(wait_pi(1, NULL));
	SHOW(futex(&cond, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &cond, 0));
	SHOW(futex((char *)&cond + 2, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &lock, 0));
	SHOW(futex(&cond, FUTEX_WAIT_REQUEUE_PI, 0, NULL, (char *)&lock + 2, 0));
	SHOW(futex(BAD, FUTEX_WAIT_REQUEUE_PI, 0, NULL, &lock, 0));
	SHOW(wait_pi(0, &wrong));
	SHOW(wait_pi(0, BAD));
	SHOW(wait_pi(0, &past));
	SHOW(futex(&cond, FUTEX_WAIT_REQUEUE_PI | FUTEX_CLOCK_REALTIME, 0, &past, &lock, 0));
	struct timespec soon = in_ms(CLOCK_MONOTONIC, 20);
	int64_t start = now(CLOCK_MONOTONIC);
	SHOW(wait_pi(0, &soon));
	CHECK(now(CLOCK_MONOTONIC) - start >= 15000000);

	// The lock is held: all wait for it.
	CHECK_EQ(futex(&lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
	for (int i = 0; i < 4; i++)
		begin(i, waits);
	cond++;
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI, 1, (void *)1, &lock, 0));
	SHOW(requeue(1));
	SHOW(requeue(INT_MAX));
	CHECK_EQ(lock, me() | FUTEX_WAITERS);
	CHECK_EQ(order, 0);
	unlock();
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(lock, 0);

	// The lock is free: the first one gets it.
	order = 0;
	for (int i = 0; i < 3; i++)
		begin(i, waits);
	long moved = requeue(INT_MAX);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("moved %ld\n", moved);
	CHECK_EQ(lock, 0);
	order = 0;
	begin(0, waits);
	moved = requeue(0);
	pthread_join(threads[0], NULL);
	printf("moved %ld\n", moved);
	CHECK_EQ(lock, 0);

	// What must not be mixed.
	order = 0;
	begin(0, waits);
	SHOW(futex(&cond, FUTEX_WAKE, 1, NULL, NULL, 0));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE, 1, (void *)1, &other, cond));
	SHOW(futex(&cond, FUTEX_CMP_REQUEUE_PI, 1, (void *)1, &other, cond));
	lock = tids[0]; // the waiter's own
	SHOW(requeue(1));
	lock = 0x3ffffff; // nobody's
	SHOW(requeue(1));
	lock = 0;
	moved = requeue(1);
	pthread_join(threads[0], NULL);
	printf("moved %ld\n", moved);
	begin(0, plain);
	SHOW(requeue(1));
	SHOW(futex(&cond, FUTEX_WAKE, 1, NULL, NULL, 0));
	pthread_join(threads[0], NULL);

	// A signal does not end the wait before the move, and ends it after that, as a
	// timeout does.
	on(SIGUSR1, handler, 0);
	CHECK_EQ(futex(&lock, FUTEX_LOCK_PI, 0, NULL, NULL, 0), 0);
	begin(0, interrupted);
	send(0);
	while (!sleeps(tids[0]))
		sleep_ms(1);
	SHOW(requeue(1));
	SHOW(futex(&lock, FUTEX_WAKE, 1, NULL, NULL, 0));
	send(0);
	pthread_join(threads[0], NULL);
	begin(0, limited);
	SHOW(requeue(1));
	pthread_join(threads[0], NULL);
	unlock();
	CHECK_EQ(lock, 0);
	printf("handled %d\n", handled);
	return 0;
}
