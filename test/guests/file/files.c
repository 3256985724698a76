// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: files in a folder of /tmp: create, write, seek, positioned and
// vectored reads, append, truncate, holes, unlinked but open, rename, hard
// links, sync, descriptors that share an offset.
#include "guest.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>

static void text(int fd, const char *want) {
	char buf[256];
	ssize_t n = pread(fd, buf, sizeof buf, 0);
	CHECK_EQ(n, strlen(want));
	CHECK(memcmp(buf, want, n) == 0);
}

int main(void) {
	char buf[64];
	struct stat st, st2;
	scratch();
	umask(022);
	int fd = open("a", O_RDWR | O_CREAT | O_EXCL, 0666);
	CHECK(fd >= 0);
	CHECK_ERR(open("a", O_RDWR | O_CREAT | O_EXCL, 0666), EEXIST);
	CHECK_EQ(write(fd, "hello world", 11), 11);
	CHECK_EQ(lseek(fd, 6, SEEK_SET), 6);
	CHECK_EQ(read(fd, buf, 64), 5);
	CHECK_EQ(read(fd, buf, 64), 0);
	CHECK_EQ(lseek(fd, -3, SEEK_END), 8);
	CHECK_EQ(lseek(fd, 1, SEEK_CUR), 9);
	CHECK_ERR(lseek(fd, -1, SEEK_SET), EINVAL);
	CHECK_ERR(lseek(fd, 0, 99), EINVAL);
	CHECK_EQ(pwrite(fd, "W", 1, 6), 1);
	CHECK_EQ(lseek(fd, 0, SEEK_CUR), 9);
	text(fd, "hello World");
	CHECK_EQ(fstat(fd, &st), 0);
	printf("mode %o size %ld links %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);
	CHECK(st.st_uid == getuid() && st.st_blksize > 0);
	CHECK(llabs((long long)st.st_mtime - time(NULL)) < 100);

	CHECK_EQ(ftruncate(fd, 5), 0);
	text(fd, "hello");
	CHECK_EQ(ftruncate(fd, 8), 0);
	CHECK_EQ(pread(fd, buf, 64, 0), 8);
	CHECK(memcmp(buf, "hello\0\0\0", 8) == 0);
	CHECK_ERR(ftruncate(fd, -1), EINVAL);
	CHECK_EQ(truncate("a", 2), 0);
	text(fd, "he");
	CHECK_EQ(pwrite(fd, "!", 1, 1000000), 1);
	CHECK_EQ(pread(fd, buf, 10, 500000), 10);
	CHECK(memcmp(buf, "\0\0\0\0\0\0\0\0\0", 10) == 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 1000001);

	int ap = open("a", O_WRONLY | O_APPEND | O_TRUNC);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 0);
	CHECK_EQ(write(ap, "one", 3), 3);
	CHECK_EQ(lseek(ap, 0, SEEK_SET), 0);
	CHECK_EQ(write(ap, "two", 3), 3);
	text(fd, "onetwo");
	CHECK_ERR(read(ap, buf, 1), EBADF);
	CHECK_EQ(close(ap), 0);

	struct iovec v[2] = {{"AB", 2}, {"CD", 2}}, r[2] = {{buf, 3}, {buf + 10, 20}};
	CHECK_EQ(pwritev(fd, v, 2, 1), 4);
	CHECK_EQ(preadv(fd, r, 2, 0), 6);
	CHECK(memcmp(buf, "oAB", 3) == 0 && memcmp(buf + 10, "CDo", 3) == 0);

	// dup shares the offset, a second open does not.
	int d = dup(fd), o = open("a", O_RDONLY);
	CHECK_EQ(lseek(fd, 4, SEEK_SET), 4);
	CHECK_EQ(lseek(d, 0, SEEK_CUR), 4);
	CHECK_EQ(lseek(o, 0, SEEK_CUR), 0);
	CHECK_EQ(close(d), 0);
	CHECK_ERR(write(o, "x", 1), EBADF);
	CHECK_EQ(close(o), 0);

	CHECK_EQ(link("a", "b"), 0);
	CHECK_EQ(stat("a", &st), 0);
	CHECK_EQ(stat("b", &st2), 0);
	CHECK(st.st_ino == st2.st_ino && st2.st_nlink == 2);
	CHECK_EQ(rename("a", "c"), 0);
	CHECK_ERR(stat("a", &st), ENOENT);
	CHECK_ERR(rename("a", "c"), ENOENT);
	CHECK_EQ(unlink("b"), 0);
	int e = open("e", O_RDWR | O_CREAT, 0600);
	CHECK_EQ(write(e, "old", 3), 3);
	CHECK_EQ(rename("c", "e"), 0); // replaces; the old one stays open
	text(e, "old");
	CHECK_EQ(unlink("e"), 0);
	CHECK_ERR(unlink("e"), ENOENT);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_nlink, 0);
	CHECK_EQ(pwrite(fd, "still", 5, 0), 5);
	text(fd, "stillo");
	CHECK_EQ(fsync(fd), 0);
	CHECK_EQ(fdatasync(fd), 0);
	CHECK_EQ(fchmod(fd, 0640), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	printf("mode %o\n", st.st_mode);
	CHECK_EQ(fallocate(fd, 0, 0, 5000), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK_EQ(st.st_size, 5000);
	struct timespec ts[2] = {{1000, 5}, {2000, 6}};
	CHECK_EQ(futimens(fd, ts), 0);
	CHECK_EQ(fstat(fd, &st), 0);
	CHECK(st.st_mtim.tv_sec == 2000 && st.st_atim.tv_sec == 1000);
	CHECK_EQ(close(fd), 0);
	CHECK_EQ(close(e), 0);
	struct statfs sf;
	CHECK_EQ(statfs(".", &sf), 0);
	CHECK(sf.f_bsize > 0);
	printf("files ok\n");
	return 0;
}
