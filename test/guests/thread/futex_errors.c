// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what each futex operation answers to wrong addresses, counts, bit sets,
// timeouts, flags and operations.
#include "guest.h"
#include <linux/futex.h>

static unsigned a, b;
static long futex(void *addr, int op, long val, const void *ts, void *addr2, unsigned val3) {
	return syscall(SYS_futex, addr, op, val, ts, addr2, val3);
}

int main(void) {
	unsigned *ro = readonly_page();
	char *high = (char *)0x7ffffffff000 + 4096 * 4;
	struct timespec zero = {0, 0}, bad = {0, 1000000000}, neg = {-1, 0};
	int pr = FUTEX_PRIVATE_FLAG;

	SHOW(futex((char *)&a + 1, FUTEX_WAIT | pr, 0, NULL, NULL, 0));
	SHOW(futex((char *)&a + 2, FUTEX_WAKE | pr, 1, NULL, NULL, 0));
	SHOW(futex(BAD, FUTEX_WAIT | pr, 0, NULL, NULL, 0));
	SHOW(futex(NULL, FUTEX_WAIT | pr, 0, NULL, NULL, 0));
	SHOW(futex(high, FUTEX_WAIT | pr, 0, NULL, NULL, 0));
	SHOW(futex((void *)0xffffffff81000000, FUTEX_WAIT | pr, 0, NULL, NULL, 0));
	SHOW(futex(BAD, FUTEX_WAKE | pr, 1, NULL, NULL, 0)); // a private address is only a name
	SHOW(futex((void *)0xffffffff81000000, FUTEX_WAKE | pr, 1, NULL, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT | pr, 1, NULL, NULL, 0));
	SHOW(futex(ro, FUTEX_WAIT | pr, 1, NULL, NULL, 0));
	SHOW(futex(ro, FUTEX_WAIT | pr, 0, &zero, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT | pr, 0, &zero, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT | pr, 0, &bad, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT | pr, 1, &bad, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT | pr, 0, &neg, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT | pr, 0, BAD, NULL, 0));
	SHOW(futex(BAD, FUTEX_WAIT | pr, 0, BAD, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT_BITSET | pr, 0, &zero, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT_BITSET | pr, 0, &zero, NULL, 1)); // long ago
	SHOW(futex(&a, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME | pr, 0, &zero, NULL, 1));
	SHOW(futex(&a, FUTEX_WAKE_BITSET | pr, 1, NULL, NULL, 0));
	SHOW(futex(&a, FUTEX_WAKE_BITSET | pr, 1, NULL, NULL, 1));
	SHOW(futex(&a, FUTEX_WAKE | pr, 0, NULL, NULL, 0));
	SHOW(futex(&a, FUTEX_WAKE | pr, -1, NULL, NULL, 0));
	SHOW(futex(&a, FUTEX_WAKE | FUTEX_CLOCK_REALTIME | pr, 1, NULL, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT | FUTEX_CLOCK_REALTIME | pr, 0, &zero, NULL, 0));

	SHOW(futex(&a, FUTEX_REQUEUE | pr, -1, (void *)1, &b, 0));
	SHOW(futex(&a, FUTEX_REQUEUE | pr, 1, (void *)-1, &b, 0));
	SHOW(futex(&a, FUTEX_REQUEUE | pr, 1, (void *)1, (char *)&b + 1, 0));
	SHOW(futex((char *)&a + 1, FUTEX_REQUEUE | pr, 1, (void *)1, &b, 0));
	SHOW(futex(&a, FUTEX_REQUEUE | pr, 1, (void *)1, &a, 0));
	SHOW(futex(&a, FUTEX_CMP_REQUEUE | pr, 1, (void *)1, &b, 1));
	SHOW(futex(&a, FUTEX_CMP_REQUEUE | pr, 1, (void *)1, &b, 0));
	SHOW(futex(BAD, FUTEX_CMP_REQUEUE | pr, 1, (void *)1, &b, 0));
	SHOW(futex(&a, FUTEX_CMP_REQUEUE | FUTEX_CLOCK_REALTIME | pr, 1, (void *)1, &b, 0));

	SHOW(futex(&a, FUTEX_WAKE_OP | pr, 1, (void *)1, BAD, FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0)));
	SHOW(futex(&a, FUTEX_WAKE_OP | pr, 1, (void *)1, ro, FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0)));
	SHOW(futex(&a, FUTEX_WAKE_OP | pr, 1, (void *)1, (char *)&b + 1, FUTEX_OP(FUTEX_OP_SET, 1, FUTEX_OP_CMP_EQ, 0)));
	SHOW(futex(&a, FUTEX_WAKE_OP | pr, 1, (void *)1, &b, FUTEX_OP(6, 1, FUTEX_OP_CMP_EQ, 0)));
	SHOW(futex(&a, FUTEX_WAKE_OP | pr, 1, (void *)1, &b, FUTEX_OP(FUTEX_OP_SET, 9, 6, 0)));
	printf("b %u\n", b);
	SHOW(futex(&a, 2, 0, NULL, NULL, 0)); // FUTEX_FD is gone
	SHOW(futex(&a, 14, 0, NULL, NULL, 0));
	SHOW(futex(&a, 99, 0, NULL, NULL, 0));
	SHOW(futex(&a, FUTEX_WAIT | 0x200 | pr, 0, &zero, NULL, 0));
	printf("a %u b %u\n", a, b);
	return 0;
}
