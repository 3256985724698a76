// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: FUTEX_WAKE_OP: each operation and each comparison, with signed arguments and
// shifted ones, and who it wakes.
#include "guest.h"
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>

static atomic_uint a, b;
static atomic_int begun, woken[2];
static long futex(void *addr, int op, long val, const void *ts, void *addr2, unsigned val3) {
	return syscall(SYS_futex, addr, op | FUTEX_PRIVATE_FLAG, val, ts, addr2, val3);
}
static atomic_uint aside;
// waiting counts the waiters of a word, by moving them to another and back.
static long waiting(void *word) {
	long n = futex(word, FUTEX_REQUEUE, 0, (void *)100, &aside, 0);
	futex(&aside, FUTEX_REQUEUE, 0, (void *)100, word, 0);
	return n;
}
static void *waits(void *arg) {
	long which = (long)arg;
	unsigned v = which ? b : a;
	begun++;
	while (futex(which ? &b : &a, FUTEX_WAIT, v, NULL, NULL, 0) != 0 && errno == EINTR)
		;
	woken[which]++;
	return NULL;
}

int main(void) {
	static const char *ops[] = {"set", "add", "or", "andn", "xor"};
	static const int args[] = {0, 1, 5, -1, 2047, -2048};
	for (int op = 0; op < 5; op++)
		for (int shift = 0; shift <= 8; shift += 8)
			for (int i = 0; i < 6; i++) {
				b = 0x12345678;
				long r = futex(&a, FUTEX_WAKE_OP, 1, (void *)1, &b, FUTEX_OP(op | shift, args[i], FUTEX_OP_CMP_EQ, 0));
				printf("%s%s %d: %ld %x\n", ops[op], shift ? " shifted" : "", args[i], r, (unsigned)b);
			}
	static const int olds[] = {-5, 0, 7};
	for (int cmp = 0; cmp < 6; cmp++)
		for (int i = 0; i < 3; i++) {
			b = olds[i];
			begun = woken[0] = woken[1] = 0;
			pthread_t t[4];
			for (long n = 0; n < 4; n++)
				CHECK_EQ(pthread_create(&t[n], NULL, waits, (void *)(n & 1)), 0);
			while (waiting(&a) < 2 || waiting(&b) < 2)
				sleep_ms(1);
			long r = futex(&a, FUTEX_WAKE_OP, 1, (void *)2, &b, FUTEX_OP(FUTEX_OP_SET, 3, cmp, 0));
			printf("comparison %d of %d with 0: %ld woken, word %u\n", cmp, olds[i], r, (unsigned)b);
			futex(&a, FUTEX_WAKE, 10, NULL, NULL, 0);
			futex(&b, FUTEX_WAKE, 10, NULL, NULL, 0);
			for (int n = 0; n < 4; n++)
				pthread_join(t[n], NULL);
		}
	return 0;
}
