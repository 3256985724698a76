// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the futex call itself: wait and wake, its counts, EAGAIN, timeouts
// relative and absolute, EINTR, bitsets, requeue, wrong arguments.
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#ifndef FUTEX_BITSET_MATCH_ANY
#define FUTEX_BITSET_MATCH_ANY 0xffffffff
#endif
static atomic_int a, b, begun, woken;

static long futex(void *addr, int op, int val, const void *ts, void *addr2, unsigned val3) {
	return syscall(SYS_futex, addr, op, val, ts, addr2, val3);
}

static void *waits(void *mask) {
	begun++;
	while (futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, (long)mask) != 0)
		CHECK(errno == EINTR);
	woken++;
	return NULL;
}

static pthread_t t[8];
static void start(int n, long mask) {
	woken = begun = 0;
	for (int i = 0; i < n; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, waits, (void *)mask), 0);
	while (begun < n)
		sleep_ms(1);
	sleep_ms(20); // until all of them wait
}
static void join(int n) {
	for (int i = 0; i < n; i++)
		CHECK_EQ(pthread_join(t[i], NULL), 0);
	CHECK_EQ(woken, n);
}
static void hit(int s, siginfo_t *si, void *c) { (void)s, (void)si, (void)c; }

int main(void) {
	CHECK_ERR(futex(&a, FUTEX_WAIT, 1, NULL, NULL, 0), EAGAIN);
	struct timespec ts = {0, 3000000};
	int64_t begin = now(CLOCK_MONOTONIC);
	CHECK_ERR(futex(&a, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0), ETIMEDOUT);
	CHECK(now(CLOCK_MONOTONIC) - begin >= 3000000);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_sec -= 1;
	CHECK_ERR(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, &ts, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += 3000000;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	CHECK_ERR(futex(&a, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 0, &ts, NULL, FUTEX_BITSET_MATCH_ANY), ETIMEDOUT);
	printf("timeouts ok\n");

	on(SIGALRM, hit, 0);
	ualarm(3000, 3000); // again, should the first one come too early
	ts = (struct timespec){10, 0};
	CHECK_ERR(futex(&a, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0), EINTR);
	ualarm(0, 0);
	printf("interrupted ok\n");

	CHECK_EQ(futex(&a, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
	start(4, FUTEX_BITSET_MATCH_ANY);
	CHECK_EQ(futex(&b, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
	CHECK_EQ(futex(&a, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), 1);
	CHECK_EQ(futex(&a, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 3);
	join(4);
	printf("wake ok\n");

	start(3, 2);
	CHECK_EQ(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 10, NULL, NULL, 1), 0);
	CHECK_EQ(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 2, NULL, NULL, 3), 2);
	CHECK_EQ(futex(&a, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 1);
	join(3);
	CHECK_ERR(futex(&a, FUTEX_WAKE_BITSET_PRIVATE, 1, NULL, NULL, 0), EINVAL);
	CHECK_ERR(futex(&a, FUTEX_WAIT_BITSET_PRIVATE, 0, NULL, NULL, 0), EINVAL);
	printf("bitset ok\n");

	start(5, FUTEX_BITSET_MATCH_ANY);
	CHECK_ERR(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)10, &b, 77), EAGAIN);
	CHECK_EQ(futex(&a, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &b, 0), 3); // 1 woken, 2 moved
	CHECK_EQ(futex(&b, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
	CHECK_EQ(futex(&a, FUTEX_REQUEUE_PRIVATE, 0, (void *)10, &b, 0), 2);
	CHECK_EQ(futex(&a, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 0);
	CHECK_EQ(futex(&b, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0), 2);
	join(5);
	printf("requeue ok\n");

	start(2, FUTEX_BITSET_MATCH_ANY);
	b = 5;
	// b += 1 and wake a; then wake b's waiters if b was 5.
	CHECK_EQ(futex(&a, FUTEX_WAKE_OP_PRIVATE, 10, (void *)10, &b, FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 5)), 2);
	CHECK_EQ(b, 6);
	join(2);
	printf("wake_op ok\n");

	CHECK_ERR(futex((char *)&a + 1, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0), EINVAL);
	CHECK_ERR(futex((void *)64, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0), EFAULT);
	ts = (struct timespec){0, -1};
	CHECK_ERR(futex(&a, FUTEX_WAIT_PRIVATE, 0, &ts, NULL, 0), EINVAL);
	CHECK_ERR(futex(&a, 99, 0, NULL, NULL, 0), ENOSYS);
	printf("errors ok\n");
	return 0;
}
