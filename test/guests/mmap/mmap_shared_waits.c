// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Shared file mappings that are there while the program waits for its event: their
// pages, the file's, and what the event changes of both.
#include "guest.h"

#include <fcntl.h>
#include <sys/mman.h>

#define PAGE 4096L

int main(void) {
	char buf[64];
	scratch();
	int fd = open("f", O_RDWR | O_CREAT, 0644), gone = open("g", O_RDWR | O_CREAT, 0644), mem = memfd_create("m", 0);
	CHECK(fd >= 0 && gone >= 0 && mem >= 0);
	CHECK_EQ(ftruncate(fd, 3 * PAGE), 0);
	CHECK_EQ(ftruncate(gone, PAGE), 0);
	CHECK_EQ(ftruncate(mem, 2 * PAGE), 0);
	char *a = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *b = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
	char *g = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, gone, 0);
	char *m = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	CHECK(a != MAP_FAILED && b != MAP_FAILED && g != MAP_FAILED && m != MAP_FAILED);
	CHECK_EQ(close(gone), 0);
	CHECK_EQ(unlink("g"), 0);
	strcpy(a, "one");
	strcpy(b, "two");
	strcpy(g, "removed");
	strcpy(m, "memory");

	CHECK_EQ(read(0, buf, sizeof buf), 5);

	printf("%s %s %s %s %s\n", a, b, a + PAGE, g, m);
	CHECK_EQ(pread(fd, buf, 4, PAGE), 4);
	CHECK_EQ(strcmp(buf, "two"), 0);
	strcpy(b, "after");
	CHECK_EQ(pwrite(fd, "file", 5, 2 * PAGE), 5);
	CHECK_EQ(pwrite(mem, "late", 5, PAGE), 5);
	printf("%s %s %s\n", a + PAGE, a + 2 * PAGE, m + PAGE);
	CHECK_EQ(munmap(a, 3 * PAGE), 0);
	CHECK_EQ(munmap(b, PAGE), 0);
	CHECK_EQ(pread(fd, buf, 6, PAGE), 6);
	printf("%s\n", buf);
	CHECK_EQ(pread(fd, buf, 4, 0), 4);
	printf("%s\n", buf);
	CHECK_EQ(ftruncate(fd, 0), 0);
	CHECK_EQ(unlink("f"), 0);
	return 0;
}
