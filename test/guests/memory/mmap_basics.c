// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what mmap, munmap, mprotect, mremap, madvise, mincore and mlock
// answer to ordinary and to wrong arguments.
#include "guest.h"
#include <sys/mman.h>

#define P 4096l

int main(void) {
	int rw = PROT_READ | PROT_WRITE, anon = MAP_PRIVATE | MAP_ANONYMOUS;
	char *a = mmap(NULL, 8 * P, rw, anon, -1, 0);
	CHECK(a != MAP_FAILED && (uintptr_t)a % P == 0);
	for (int i = 0; i < 8 * P; i++)
		CHECK(a[i] == 0);
	memset(a, 7, 8 * P);
	CHECK_EQ(munmap(a + 2 * P, P), 0);
	CHECK_EQ(munmap(a + 2 * P, P), 0); // nothing there: still success
	CHECK(mmap(a + 2 * P, P, rw, anon | MAP_FIXED, -1, 0) == a + 2 * P);
	CHECK(a[2 * P] == 0 && a[2 * P - 1] == 7 && a[3 * P] == 7);
	CHECK(mmap(a, P, rw, anon | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED && errno == EEXIST);

	CHECK(mmap(NULL, 0, rw, anon, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(a + 1, P, rw, anon | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, P, rw, MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mmap(NULL, P, rw, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
	CHECK(mmap(NULL, (size_t)1 << 60, rw, anon, -1, 0) == MAP_FAILED && errno == ENOMEM);
	CHECK(mmap((void *)0xffff800000000000, P, rw, anon | MAP_FIXED, -1, 0) == MAP_FAILED && errno == ENOMEM);
	CHECK_ERR(munmap(a + 1, P), EINVAL);
	CHECK_ERR(munmap(a, 0), EINVAL);
	CHECK_ERR(mprotect(a + 1, P, rw), EINVAL);
	CHECK_EQ(mprotect(a, 0, rw), 0);
	CHECK_ERR(madvise(a, P, 12345), EINVAL);
	CHECK_ERR(madvise(a + 1, P, MADV_DONTNEED), EINVAL);

	// A hint that is free is taken; one that is used is not.
	char *b = mmap(NULL, 4 * P, rw, anon, -1, 0);
	CHECK(b != MAP_FAILED && munmap(b, 4 * P) == 0);
	CHECK(mmap(b, 4 * P, rw, anon, -1, 0) == b);
	char *c = mmap(b, P, rw, anon, -1, 0);
	CHECK(c != MAP_FAILED && c != b);

	// mremap: shrink, grow where there is room or elsewhere, keep the contents.
	strcpy(b, "kept");
	CHECK(mremap(b, 4 * P, P, 0) == b);
	char *d = mremap(b, P, 64 * P, MREMAP_MAYMOVE);
	CHECK(d != MAP_FAILED && strcmp(d, "kept") == 0 && d[64 * P - 1] == 0);
	CHECK(mremap(d + 1, P, P, 0) == MAP_FAILED && errno == EINVAL);
	CHECK(mremap(d, P, 0, 0) == MAP_FAILED && errno == EINVAL);

	CHECK_EQ(madvise(d, 64 * P, MADV_DONTNEED), 0);
	CHECK(d[0] == 0);
	madvise(d, 64 * P, MADV_HUGEPAGE); // advice only: may be refused

	// Shared and anonymous: the same as private while there is one process.
	char *s = mmap(NULL, 2 * P, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(s != MAP_FAILED && s[0] == 0);
	s[0] = 1;
	CHECK_EQ(msync(s, 2 * P, MS_SYNC), 0);
	CHECK_EQ(munmap(s, 2 * P), 0);

	unsigned char in[2];
	char *m = mmap(NULL, 2 * P, rw, anon | MAP_POPULATE, -1, 0);
	CHECK(m != MAP_FAILED);
	CHECK_EQ(mincore(m, 2 * P, in), 0);
	CHECK((in[0] & 1) && (in[1] & 1));
	CHECK_EQ(munmap(m, 2 * P), 0);
	CHECK_ERR(mincore(m, 2 * P, in), ENOMEM);
	printf("mmap ok\n");
	return 0;
}
