// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: /dev/null, zero, full, random and urandom, and getrandom: different
// bytes each time, and errors for wrong arguments.
#include "guest.h"
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int at(const char *path, int flags) {
	int fd = open(path, flags);
	struct stat st;
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode));
	printf("%s is device %u:%u\n", path, major(st.st_rdev), minor(st.st_rdev));
	return fd;
}

int main(void) {
	char a[4096], b[4096];
	int fd = at("/dev/null", O_RDWR);
	CHECK_EQ(write(fd, a, 4096), 4096);
	CHECK_EQ(read(fd, a, 4096), 0);
	fd = at("/dev/zero", O_RDWR);
	memset(a, 1, sizeof a);
	CHECK_EQ(read(fd, a, 4096), 4096);
	for (int i = 0; i < 4096; i++)
		CHECK(a[i] == 0);
	CHECK_EQ(write(fd, a, 100), 100);
	fd = at("/dev/full", O_RDWR);
	CHECK_EQ(read(fd, a, 10), 10);
	CHECK_ERR(write(fd, a, 1), ENOSPC);
	fd = at("/dev/urandom", O_RDONLY);
	CHECK_EQ(read(fd, a, 4096), 4096);
	CHECK_EQ(read(fd, b, 4096), 4096);
	CHECK(memcmp(a, b, 4096) != 0);
	fd = at("/dev/random", O_RDONLY);
	CHECK_EQ(read(fd, a, 32), 32);

	CHECK_EQ(getrandom(a, 256, 0), 256);
	CHECK_EQ(getrandom(b, 256, GRND_NONBLOCK), 256);
	CHECK(memcmp(a, b, 256) != 0);
	int ones = 0;
	for (int i = 0; i < 256; i++)
		ones += __builtin_popcount((unsigned char)a[i]);
	CHECK(ones > 850 && ones < 1200);
	CHECK_EQ(getentropy(a, 64), 0);
	CHECK_ERR(getrandom(a, 1, 0x100), EINVAL);
	CHECK_ERR(getrandom((void *)8, 16, 0), EFAULT);
	CHECK_ERR(open("/dev/null/x", O_RDONLY), ENOTDIR);
	CHECK_ERR(open("/dev/none", O_RDONLY), ENOENT);
	printf("devices ok\n");
	return 0;
}
