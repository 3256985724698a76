// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// madvise(2), mincore(2) and mremap(2) on file mappings: what MADV_DONTNEED brings
// back, MADV_POPULATE_*, errors.
#include "guest.h"

#include <fcntl.h>
#include <sys/mman.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

#define PAGE 4096L

int main(void) {
	unsigned char vec[8];
	scratch();
	int fd = open("f", O_RDWR | O_CREAT, 0600);
	CHECK_EQ(ftruncate(fd, 2 * PAGE), 0);
	CHECK_EQ(pwrite(fd, "file", 4, 0), 4);
	char *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	char *a = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED && a != MAP_FAILED);
	memcpy(p, "mine", 4);
	memcpy(a, "anon", 4);
	CHECK_EQ(madvise(p, PAGE, MADV_DONTNEED), 0);
	CHECK_EQ(madvise(a, PAGE, MADV_DONTNEED), 0);
	CHECK_EQ(memcmp(p, "file", 4), 0);
	CHECK_EQ(a[0], 0);
	CHECK_EQ(madvise(a, 3 * PAGE, MADV_POPULATE_WRITE), 0);
	CHECK_EQ(mincore(a, 3 * PAGE, vec), 0);
	printf("%d%d%d\n", vec[0] & 1, vec[1] & 1, vec[2] & 1);
	CHECK_EQ(madvise(p, 2 * PAGE, MADV_POPULATE_READ), 0);
	CHECK_ERR(madvise(p, 3 * PAGE, MADV_POPULATE_READ), EFAULT);
	CHECK_EQ(mprotect(a, PAGE, PROT_READ), 0);
	CHECK_ERR(madvise(a, PAGE, MADV_POPULATE_WRITE), EINVAL);
	CHECK_EQ(munmap(a + PAGE, PAGE), 0);
	CHECK_ERR(madvise(a, 3 * PAGE, MADV_POPULATE_READ), ENOMEM);
	CHECK_ERR(madvise(a, 3 * PAGE, MADV_DONTNEED), ENOMEM);
	CHECK_ERR(madvise(a, 3 * PAGE, MADV_WILLNEED), ENOMEM);
	CHECK_ERR(madvise(a + 1, PAGE, MADV_DONTNEED), EINVAL);
	CHECK_ERR(madvise(a, PAGE, 12345), EINVAL);
	CHECK_EQ(madvise(a, 0, MADV_DONTNEED), 0);
	CHECK_ERR(mincore(a, 3 * PAGE, vec), ENOMEM);
	CHECK_ERR(mincore(a, PAGE, (unsigned char *)8), EFAULT);
	CHECK_ERR(mincore(a + 1, PAGE, vec), EINVAL);
	CHECK_ERR((long)mremap(a, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE), EFAULT);
	CHECK_ERR((long)mremap(a + 1, PAGE, PAGE, 0), EINVAL);
	CHECK_ERR((long)mremap(a, PAGE, 0, 0), EINVAL);
	CHECK_ERR((long)mremap(a, PAGE, PAGE, 0x100), EINVAL);
	CHECK_ERR((long)mremap(a, PAGE, 2 * PAGE, MREMAP_FIXED, a), EINVAL);
	CHECK_ERR((long)mremap(a, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a), EINVAL);
	CHECK_ERR(munmap(a + 1, PAGE), EINVAL);
	CHECK_ERR(munmap(a, 0), EINVAL);
	CHECK_ERR(mprotect(a + 1, PAGE, PROT_READ), EINVAL);
	CHECK_ERR(mprotect(a + PAGE, PAGE, PROT_READ), ENOMEM);
	char *q = mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE);
	CHECK(q != MAP_FAILED);
	CHECK_EQ(memcmp(q, "file", 4), 0);
	CHECK_EQ(unlink("f"), 0);
	puts("ok");
	return 0;
}
