// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the main stack grows by itself to megabytes, by deep recursion and by
// one large frame, and keeps its contents.
#include "guest.h"
#include <alloca.h>

static long __attribute__((noinline)) deep(int n) {
	volatile char frame[1000];
	frame[0] = n;
	frame[999] = n >> 3;
	long sum = n == 0 ? 0 : deep(n - 1);
	CHECK(frame[0] == (char)n && frame[999] == (char)(n >> 3));
	return sum + n;
}

static void __attribute__((noinline)) large(size_t n) {
	volatile char *p = alloca(n);
	p[0] = 1; // far below everything touched so far
	p[n - 1] = 2;
	CHECK(p[0] == 1 && p[n / 2] == 0);
}

int main(void) {
	large(3 << 20);
	printf("%ld\n", deep(6000));
	printf("%ld\n", deep(6000));
	return 0;
}
