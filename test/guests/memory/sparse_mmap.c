// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: reservations cost no memory: 100 MB and 1 TB mapped, few pages
// touched, under a limit of 64 MB; holes read as zero.
#include "guest.h"
#include <sys/mman.h>

int main(void) {
	size_t size = 100 << 20;
	char *a = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(a != MAP_FAILED);
	for (size_t i = 0; i < size; i += 5 << 20)
		a[i] = i >> 20;
	unsigned sum = 0;
	for (size_t i = 0; i < size; i += 1 << 20)
		sum += a[i];
	printf("sum %u\n", sum);

	size_t huge = (size_t)1 << 40;
	char *b = mmap(NULL, huge, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(b != MAP_FAILED);
	for (int i = 0; i < 16; i++) {
		char *p = b + huge / 16 * i;
		CHECK_EQ(mprotect(p, 8192, PROT_READ | PROT_WRITE), 0);
		CHECK(p[5000] == 0);
		p[5000] = i;
	}
	for (int i = 0; i < 16; i++)
		CHECK(b[huge / 16 * i + 5000] == i);
	// Release and touch again: memory in use stays small.
	for (int round = 0; round < 20; round++) {
		for (size_t i = 0; i < size / 4; i += 4096)
			a[i] = round;
		CHECK_EQ(madvise(a, size / 4, MADV_DONTNEED), 0);
		CHECK(a[4096] == 0);
	}
	CHECK_EQ(munmap(b, huge), 0);
	printf("sparse ok\n");
	return 0;
}
