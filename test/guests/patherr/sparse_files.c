// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Files with holes and large offsets: what reads give, sizes, what fallocate and
// truncate leave, where writes beyond all limits end.
#include "guest.h"

#include <fcntl.h>
#include <sys/stat.h>

static int all(int fd, long off, long n, char want) {
	static char buf[65536];
	while (n > 0) {
		long m = n < (long)sizeof buf ? n : (long)sizeof buf;
		if (pread(fd, buf, m, off) != m)
			return 0;
		for (long i = 0; i < m; i++)
			if (buf[i] != want)
				return 0;
		off += m, n -= m;
	}
	return 1;
}

int main(void) {
	struct stat st;
	char buf[16];
	static char x[20000];
	memset(x, 'x', sizeof x);
	scratch();
	int fd = open("f", O_RDWR | O_CREAT, 0600);
	CHECK_EQ(pwrite(fd, "end", 3, 1L << 40), 3);
	CHECK_EQ(fstat(fd, &st), 0);
	printf("%lld %d\n", (long long)st.st_size, st.st_blocks < 100);
	CHECK(all(fd, 0, 1 << 20, 0));
	CHECK(all(fd, (1L << 40) - 70000, 70000, 0));
	CHECK_EQ(pread(fd, buf, 16, 1L << 40), 3);
	CHECK_EQ(pread(fd, buf, 16, 1L << 50), 0);
	CHECK_EQ(ftruncate(fd, 10000), 0);
	CHECK(all(fd, 0, 10000, 0));
	CHECK_EQ(pwrite(fd, x, sizeof x, 0), sizeof x);
	CHECK_EQ(ftruncate(fd, 5000), 0);
	CHECK_EQ(ftruncate(fd, 20000), 0);
	CHECK(all(fd, 0, 5000, 'x') && all(fd, 5000, 15000, 0));
	CHECK_EQ(pwrite(fd, x, sizeof x, 0), sizeof x);
	CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 3000, 9000), 0);
	CHECK(all(fd, 0, 3000, 'x') && all(fd, 3000, 9000, 0) && all(fd, 12000, 8000, 'x'));
	CHECK_EQ(fallocate(fd, FALLOC_FL_KEEP_SIZE, 30000, 10000), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 20000);
	CHECK_EQ(fallocate(fd, 0, 30000, 10000), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 40000);
	CHECK(all(fd, 20000, 20000, 0));
	CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 35000, 100000), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 40000);
	CHECK_EQ(lseek(fd, 0, SEEK_END), 40000);
	CHECK_EQ(lseek(fd, 100, SEEK_END), 40100);
	CHECK_EQ(write(fd, "y", 1), 1);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 40101);
	CHECK_EQ(lseek(fd, 0, SEEK_DATA), 0);
	CHECK_EQ(lseek(fd, 40100, SEEK_HOLE), 40101);
	CHECK_ERR(lseek(fd, 40101, SEEK_DATA), ENXIO);
	CHECK_ERR(lseek(fd, 40101, SEEK_HOLE), ENXIO);
	CHECK_EQ(ftruncate(fd, 0), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	printf("%lld %lld\n", (long long)st.st_size, (long long)st.st_blocks);
	CHECK_EQ(unlink("f"), 0);
	puts("ok");
	return 0;
}
