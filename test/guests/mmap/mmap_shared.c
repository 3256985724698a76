// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Shared file mappings: one memory with read and write, with each other and with the
// file after the last of them; sizes that change; rights; memfd; errors.
#include "guest.h"

#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE 4096L

static sigjmp_buf fault;
static volatile int signal_code;

static void faulted(int sig, siginfo_t *si, void *uc) {
	(void)uc;
	signal_code = sig * 100 + si->si_code;
	siglongjmp(fault, 1);
}

// try returns what a read, or a write, of a byte comes to: 0, or signal and code.
static int try(volatile char *p, int write) {
	signal_code = 0;
	if (sigsetjmp(fault, 1) == 0) {
		if (write)
			*p = 'w';
		else
			(void)*p;
	}
	return signal_code;
}

static void expect(int fd, off_t off, const char *want) {
	char buf[64];
	CHECK_EQ(pread(fd, buf, strlen(want), off), strlen(want));
	if (memcmp(buf, want, strlen(want)) != 0) {
		printf("at %ld: %.*s, want %s\n", (long)off, (int)strlen(want), buf, want);
		_exit(1);
	}
}

int main(void) {
	struct stat st;
	scratch();
	on(SIGSEGV, faulted, 0);
	on(SIGBUS, faulted, 0);
	int fd = open("f", O_RDWR | O_CREAT, 0644), ro = open("f", O_RDONLY), wo = open("f", O_WRONLY);
	CHECK(fd >= 0 && ro >= 0 && wo >= 0);
	CHECK_EQ(ftruncate(fd, 3 * PAGE + 100), 0);
	CHECK_EQ(pwrite(fd, "first", 5, 0), 5);
	CHECK_EQ(pwrite(fd, "second", 6, PAGE), 6);

	// One memory.
	char *a = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char *b = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, ro, PAGE);
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	CHECK(a != MAP_FAILED && b != MAP_FAILED && p != MAP_FAILED);
	CHECK_EQ(memcmp(a, "first", 5), 0);
	memcpy(a + PAGE + 6, " here", 5);
	CHECK_EQ(memcmp(b, "second here", 11), 0);
	expect(fd, PAGE, "second here");
	CHECK_EQ(pwrite(fd, "written", 7, PAGE + PAGE - 3), 7);
	CHECK_EQ(memcmp(a + 2 * PAGE - 3, "written", 7), 0);
	CHECK_EQ(memcmp(b + PAGE - 3, "written", 7), 0);
	p[0] = 'F';
	expect(fd, 0, "first");
	CHECK_EQ(munmap(b, 2 * PAGE), 0);
	CHECK_EQ(close(fd), 0); // a mapping outlives the descriptor
	a[2 * PAGE + 50] = 'x';
	expect(ro, 2 * PAGE + 50, "x");

	// The end of the file: the rest of its page can be used but is no part of it.
	a[3 * PAGE + 200] = 'z';
	CHECK_EQ(fstat(ro, &st), 0);
	CHECK_EQ(st.st_size, 3 * PAGE + 100);
	CHECK_EQ(truncate("f", 3 * PAGE + 300), 0);
	CHECK_EQ(a[3 * PAGE + 200], 0);
	a[3 * PAGE + 250] = 'y';
	expect(ro, 3 * PAGE + 250, "y");
	CHECK_EQ(truncate("f", PAGE + 10), 0);
	printf("cut: %d %d %d\n", try(a + PAGE, 1), try(a + 2 * PAGE, 0), try(a + 3 * PAGE, 1));
	CHECK_EQ(a[PAGE + 10], 0);
	CHECK_EQ(truncate("f", 4 * PAGE), 0);
	printf("grown: %d %d %d\n", try(a + 2 * PAGE, 0), a[2 * PAGE + 50], try(a + 3 * PAGE, 1));
	expect(ro, 3 * PAGE, "w");

	// Rights.
	CHECK_ERR((long)mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0), EACCES);
	CHECK_ERR((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, wo, 0), EACCES);
	CHECK_ERR((long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, wo, 0), EACCES);
	b = mmap(NULL, 2 * PAGE, PROT_READ, MAP_SHARED, ro, 0);
	CHECK(b != MAP_FAILED);
	CHECK_ERR(mprotect(b, PAGE, PROT_READ | PROT_WRITE), EACCES);
	CHECK_EQ(mprotect(b, PAGE, PROT_NONE), 0);
	CHECK_EQ(mprotect(b, PAGE, PROT_READ), 0);
	printf("read only: %d\n", try(b, 1));
	CHECK_EQ(mprotect(a, PAGE, PROT_READ), 0);
	printf("protected: %d\n", try(a, 1));
	CHECK_EQ(mprotect(a, PAGE, PROT_READ | PROT_WRITE), 0);
	printf("again: %d %c\n", try(a, 1), b[0]);
	CHECK_EQ(munmap(b, 2 * PAGE), 0);

	// Advice, msync, a move, a part that is unmapped.
	CHECK_EQ(madvise(a, 4 * PAGE, MADV_DONTNEED), 0);
	CHECK_EQ(a[0], 'w');
	CHECK_EQ(msync(a, 4 * PAGE, MS_SYNC), 0);
	CHECK_EQ(msync(a, 4 * PAGE, MS_ASYNC | MS_INVALIDATE), 0);
	CHECK_ERR(msync(a, PAGE, MS_SYNC | MS_ASYNC), EINVAL);
	CHECK_ERR(msync(a + 1, PAGE, MS_SYNC), EINVAL);
	CHECK_EQ(munmap(a + PAGE, PAGE), 0);
	CHECK_ERR(msync(a, 3 * PAGE, MS_SYNC), ENOMEM);
	char *moved = mremap(a + 2 * PAGE, 2 * PAGE, 4 * PAGE, MREMAP_MAYMOVE);
	CHECK(moved != MAP_FAILED);
	CHECK_EQ(moved[PAGE], 'w');
	moved[PAGE] = 'm';
	expect(ro, 3 * PAGE, "m");
	printf("past the end: %d\n", try(moved + 2 * PAGE, 0));
	CHECK_EQ(munmap(moved, 4 * PAGE), 0);
	a[1] = 'I';
	CHECK_EQ(munmap(a, PAGE), 0);
	expect(ro, 0, "wIrst");
	expect(ro, 3 * PAGE, "m");
	CHECK_EQ(p[0], 'F');

	// A removed file lives on in its mapping.
	fd = open("f", O_RDWR);
	a = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(a != MAP_FAILED);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(close(ro), 0);
	CHECK_EQ(close(wo), 0);
	CHECK_EQ(unlink("f"), 0);
	memcpy(a, "gone", 4);
	CHECK_EQ(memcmp(a, "gonet", 5), 0);
	CHECK_EQ(munmap(a, PAGE), 0);

	// Memory files.
	fd = memfd_create("m", 0);
	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, 2 * PAGE), 0);
	a = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	b = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(a != MAP_FAILED && b != MAP_FAILED);
	strcpy(a + PAGE, "both");
	CHECK_EQ(strcmp(b + PAGE, "both"), 0);
	CHECK_EQ(lseek(fd, PAGE, SEEK_SET), PAGE);
	char buf[8];
	CHECK_EQ(read(fd, buf, 5), 5);
	CHECK_EQ(strcmp(buf, "both"), 0);
	CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE + 1, 2), 0);
	CHECK_EQ(memcmp(b + PAGE, "b\0\0h", 5), 0);
	// A write from a mapping of the file itself.
	memcpy(a, "0123456789", 10);
	CHECK_EQ(pwrite(fd, a, 10, 4), 10);
	CHECK_EQ(memcmp(b, "0123", 4), 0);
	CHECK_EQ(pread(fd, b + PAGE, 4, 0), 4);
	CHECK_EQ(memcmp(a + PAGE, "0123", 4), 0);

	// /dev/zero: memory of its own each time.
	int zero = open("/dev/zero", O_RDWR);
	char *z = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
	char *z2 = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
	CHECK(z != MAP_FAILED && z2 != MAP_FAILED);
	z[7] = 7;
	CHECK_EQ(z2[7], 0);

	// What cannot be mapped.
	int dir = open(".", O_RDONLY), pipes[2];
	CHECK_EQ(pipe(pipes), 0);
	CHECK_ERR((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, dir, 0), ENODEV);
	CHECK_ERR((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, pipes[0], 0), ENODEV);
	CHECK_ERR((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, 99, 0), EBADF);
	CHECK_ERR((long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 1), EINVAL);
	CHECK_ERR((long)mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, 0), EINVAL);
	puts("ok");
	return 0;
}
