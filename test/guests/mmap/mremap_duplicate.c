// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: mremap(2) with an old size of 0, which makes a second mapping of shared memory:
// anonymous, of a file, of a part, at a fixed place, in a child; errors.
#include "guest.h"

#include <fcntl.h>
#include <sys/wait.h>

#define PAGE 4096L
#define FAILED(e) (errno = 0, (e) == MAP_FAILED ? -1L : 0L)

int main(void) {
	scratch();
	char *a = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(a != MAP_FAILED && p != MAP_FAILED);
	strcpy(a, "first");
	strcpy(a + PAGE, "second");
	char *b = mremap(a, 0, 4 * PAGE, MREMAP_MAYMOVE);
	CHECK(b != MAP_FAILED && b != a);
	printf("%s %s\n", b, b + PAGE);
	strcpy(b + 3 * PAGE, "through the copy");
	printf("%s\n", a + 3 * PAGE);
	char *c = mremap(a + PAGE, 0, PAGE, MREMAP_MAYMOVE);
	CHECK(c != MAP_FAILED);
	printf("%s\n", c);

	// The memory lives as long as one of the mappings.
	CHECK_EQ(munmap(a, 4 * PAGE), 0);
	CHECK_EQ(munmap(b, 4 * PAGE), 0);
	printf("%s\n", c);
	pid_t pid = fork();
	if (pid == 0) {
		strcpy(c, "by the child");
		char *d = mremap(c, 0, PAGE, MREMAP_MAYMOVE);
		CHECK(d != MAP_FAILED && strcmp(d, "by the child") == 0);
		CHECK_EQ(munmap(c, PAGE), 0);
		strcat(d, ", twice");
		_exit(0);
	}
	int status;
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	printf("%s\n", c);

	// Of a file, at a fixed place.
	int fd = open("f", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0);
	char *f = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(f != MAP_FAILED);
	CHECK(mremap(f + PAGE, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + PAGE) == p + PAGE);
	strcpy(p + PAGE, "in the file");
	char text[12];
	CHECK_EQ(pread(fd, text, sizeof text, PAGE), sizeof text);
	printf("%s\n", text);
	CHECK_EQ(p[0] | p[2 * PAGE], 0);

	SHOW(FAILED(mremap(c, 0, PAGE, 0)));
	SHOW(FAILED(mremap(c, 0, 0, MREMAP_MAYMOVE)));
	SHOW(FAILED(mremap(p, 0, PAGE, MREMAP_MAYMOVE)));
	SHOW(FAILED(mremap(p, 0, PAGE, 0)));
	SHOW(FAILED(mremap(a, 0, PAGE, MREMAP_MAYMOVE)));
	SHOW(FAILED(mremap(c + 1, 0, PAGE, MREMAP_MAYMOVE)));
	SHOW(FAILED(mremap(c, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 1)));
	SHOW(FAILED(mremap(c, 0, 1L << 50, MREMAP_MAYMOVE)));
	CHECK_EQ(unlink("f"), 0);
	return 0;
}
