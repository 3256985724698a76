// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: a file mapped privately shows its contents at an offset, changes stay
// private, it outlives close and unlink, and rights follow the descriptor.
#include "guest.h"
#include <fcntl.h>
#include <sys/mman.h>

int main(void) {
	scratch();
	int fd = open("f", O_RDWR | O_CREAT, 0600);
	char page[4096];
	for (int i = 0; i < 10; i++) {
		memset(page, 'a' + i, sizeof page);
		CHECK_EQ(write(fd, page, sizeof page), 4096);
	}
	CHECK_EQ(write(fd, "tail", 4), 4);
	char *p = mmap(NULL, 10 * 4096 + 4, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED);
	for (int i = 0; i < 10; i++)
		CHECK(p[i * 4096] == 'a' + i && p[i * 4096 + 4095] == 'a' + i);
	CHECK(strcmp(p + 40960, "tail") == 0);
	p[0] = 'X';
	p[40960] = 'T';
	char c;
	CHECK_EQ(pread(fd, &c, 1, 0), 1);
	CHECK(c == 'a');
	char *q = mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, fd, 3 * 4096);
	CHECK(q != MAP_FAILED && q[0] == 'd' && q[4096] == 'e');
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 100) == MAP_FAILED && errno == EINVAL);
	int ro = open("f", O_RDONLY), wo = open("f", O_WRONLY);
	CHECK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED && errno == EACCES);
	CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, wo, 0) == MAP_FAILED && errno == EACCES);
	char *r = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0);
	CHECK(r != MAP_FAILED);
	r[1] = 'Y';
	CHECK(r[0] == 'a');
	close(ro), close(wo), close(fd);
	CHECK_EQ(unlink("f"), 0);
	CHECK(q[8191] == 'e' && p[9 * 4096] == 'j');
	// MADV_DONTNEED throws private changes away: the file shows again.
	CHECK_EQ(madvise(p, 4096, MADV_DONTNEED), 0);
	CHECK(p[0] == 'a');
	CHECK_EQ(munmap(p, 10 * 4096 + 4), 0);
	printf("mapped files ok\n");
	return 0;
}
