// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Shared file mappings and memory files between a parent and a child: both write to
// one memory, which the file has when both are gone.
#include "guest.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE 4096L

int main(void) {
	char c;
	int up[2], down[2], st;
	scratch();
	CHECK_EQ(pipe(up), 0);
	CHECK_EQ(pipe(down), 0);
	int fd = open("f", O_RDWR | O_CREAT, 0600), mem = memfd_create("m", 0);
	CHECK_EQ(ftruncate(fd, 3 * PAGE), 0);
	CHECK_EQ(ftruncate(mem, PAGE), 0);
	char *a = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *m = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mem, 0);
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(a != MAP_FAILED && m != MAP_FAILED && p != MAP_FAILED);
	strcpy(a, "parent");
	strcpy(p, "private");
	pid_t pid = fork();
	if (pid == 0) {
		CHECK_EQ(strcmp(a, "parent"), 0);
		strcpy(a + PAGE, "child");
		strcpy(m, "memory");
		strcpy(p, "changed");
		CHECK_EQ(write(up[1], "x", 1), 1);
		CHECK_EQ(read(down[0], &c, 1), 1);
		CHECK_EQ(strcmp(a + 2 * PAGE, "later"), 0);
		// A mapping of its own, of the same file.
		int again = open("f", O_RDWR);
		char *b = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, again, 2 * PAGE);
		CHECK(b != MAP_FAILED);
		CHECK_EQ(strcmp(b, "later"), 0);
		strcpy(b + 100, "own");
		CHECK_EQ(munmap(a, 3 * PAGE), 0);
		CHECK_EQ(write(up[1], "y", 1), 1);
		CHECK_EQ(read(down[0], &c, 1), 1);
		strcpy(b + 200, "last");
		_exit(0);
	}
	CHECK_EQ(read(up[0], &c, 1), 1);
	printf("%s %s %s\n", a + PAGE, m, p);
	strcpy(a + 2 * PAGE, "later");
	CHECK_EQ(write(down[1], "x", 1), 1);
	CHECK_EQ(read(up[0], &c, 1), 1);
	printf("%s\n", a + 2 * PAGE + 100);
	CHECK_EQ(munmap(a, 3 * PAGE), 0);
	CHECK_EQ(write(down[1], "x", 1), 1);
	CHECK_EQ(waitpid(pid, &st, 0), pid);
	CHECK_EQ(st, 0);
	char buf[64];
	CHECK_EQ(pread(fd, buf, 7, 0), 7);
	printf("%s", buf);
	CHECK_EQ(pread(fd, buf, 6, PAGE), 6);
	printf(" %s", buf);
	CHECK_EQ(pread(fd, buf, 5, 2 * PAGE + 200), 5);
	printf(" %s\n", buf);
	CHECK_EQ(unlink("f"), 0);
	return 0;
}
