// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: SEEK_DATA and SEEK_HOLE of lseek(2): holes before, between and behind data,
// what punching, truncating and a shared mapping make of them, errors.
#include "guest.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#define PAGE 4096L

// show prints the parts of the file from a position on.
static void show(const char *what, int fd, long from) {
	printf("%s:", what);
	for (long at = from;;) {
		long data = lseek(fd, at, SEEK_DATA);
		if (data < 0) {
			printf(" errno %d at %ld\n", errno, at);
			return;
		}
		CHECK_EQ(lseek(fd, 0, SEEK_CUR), data);
		long hole = lseek(fd, data, SEEK_HOLE);
		CHECK(hole > data);
		printf(" %ld-%ld", data, hole);
		at = hole;
	}
}

int main(void) {
	scratch();
	int fd = open("f", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0);
	show("empty", fd, 0);
	SHOW(lseek(fd, 0, SEEK_HOLE));
	CHECK_EQ(ftruncate(fd, 100 * PAGE + 10), 0);
	show("one hole", fd, 0);
	SHOW(lseek(fd, 0, SEEK_HOLE));
	SHOW(lseek(fd, 7, SEEK_HOLE));
	CHECK_EQ(pwrite(fd, "a", 1, 10 * PAGE + 5), 1);
	show("one byte", fd, 0);
	SHOW(lseek(fd, 10 * PAGE + 100, SEEK_DATA));
	SHOW(lseek(fd, 10 * PAGE + 100, SEEK_HOLE));
	SHOW(lseek(fd, 11 * PAGE, SEEK_HOLE));
	static char many[3 * PAGE];
	memset(many, 'b', sizeof many);
	CHECK_EQ(pwrite(fd, many, sizeof many, 20 * PAGE), sizeof many);
	CHECK_EQ(pwrite(fd, "end", 3, 100 * PAGE), 3);
	show("three parts", fd, 0);
	show("from the middle of one", fd, 21 * PAGE + 1);
	CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 21 * PAGE, PAGE), 0);
	show("punched", fd, 0);
	CHECK_EQ(ftruncate(fd, 22 * PAGE + 100), 0);
	show("cut off", fd, 0);
	SHOW(lseek(fd, 22 * PAGE, SEEK_HOLE));
	CHECK_EQ(ftruncate(fd, 50 * PAGE), 0);
	show("longer", fd, 0);

	char *m = mmap(NULL, 50 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(m != MAP_FAILED);
	m[30 * PAGE] = 'm';
	CHECK_EQ(msync(m, 50 * PAGE, MS_SYNC), 0);
	show("mapped", fd, 0);
	CHECK_EQ(munmap(m, 50 * PAGE), 0);
	show("unmapped", fd, 0);

	CHECK_EQ(lseek(fd, 5, SEEK_SET), 5);
	SHOW(lseek(fd, -1, SEEK_DATA));
	SHOW(lseek(fd, -1, SEEK_HOLE));
	SHOW(lseek(fd, 50 * PAGE, SEEK_DATA));
	SHOW(lseek(fd, 50 * PAGE, SEEK_HOLE));
	SHOW(lseek(fd, 31 * PAGE, SEEK_DATA));
	SHOW(lseek(fd, 0, 5));
	SHOW(lseek(fd, 0, SEEK_CUR));
	CHECK_EQ(pwrite(fd, many, sizeof many, 0), sizeof many);
	CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 3 * PAGE);
	char c;
	SHOW(read(fd, &c, 1));
	SHOW(c);
	CHECK_EQ(unlink("f"), 0);
	return 0;
}
