// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Modes, owners and times: umask, what chown takes away, set-group-ID folders, sticky
// bits, fchmodat2 and faccessat2 flags, utimensat's special values.
#include "guest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static void show(const char *name) {
	struct stat st;
	CHECK_EQ(lstat(name, &st), 0);
	printf("%s %o %d %d\n", name, st.st_mode, (int)st.st_uid, (int)st.st_gid);
}

int main(void) {
	struct stat st;
	scratch();
	umask(027);
	int fd = open("f", O_RDWR | O_CREAT, 0777);
	show("f");
	CHECK_EQ(mkdir("d", 01777), 0);
	show("d");
	umask(0);
	CHECK_EQ(fchmod(fd, 06755), 0);
	show("f");
	if (getuid() == 0) {
		CHECK_EQ(chown("f", 12, 34), 0);
		show("f");
		CHECK_EQ(chmod("f", 02644), 0);
		CHECK_EQ(chown("f", -1, 35), 0);
		show("f");
		CHECK_EQ(chown("d", 0, 77), 0);
		CHECK_EQ(chmod("d", 02777), 0);
		CHECK_EQ(mkdir("d/sub", 0700), 0);
		CHECK_EQ(close(open("d/file", O_CREAT | O_RDWR, 0600)), 0);
		show("d/sub");
		show("d/file");
		CHECK_EQ(symlink("f", "link"), 0);
		CHECK_EQ(lchown("link", 5, 6), 0);
		show("link");
		show("f");
		CHECK_EQ(unlink("link") | unlink("d/file") | rmdir("d/sub"), 0);
	}
	CHECK_EQ(chmod("f", 0), 0);
	CHECK_ERR(access("f", X_OK), EACCES);
	CHECK_EQ(access("f", R_OK | W_OK), 0);
	CHECK_EQ(syscall(SYS_faccessat2, fd, "", R_OK, AT_EMPTY_PATH), 0);
	CHECK_EQ(chmod("f", 0100), 0);
	CHECK_EQ(access("f", X_OK), 0);
	CHECK_EQ(symlink("f", "link"), 0);
	CHECK_ERR(syscall(SYS_fchmodat2, AT_FDCWD, "link", 0600, AT_SYMLINK_NOFOLLOW), EOPNOTSUPP);
	CHECK_EQ(syscall(SYS_fchmodat2, AT_FDCWD, "f", 0604, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_EQ(syscall(SYS_fchmodat2, fd, "", 0600, AT_EMPTY_PATH), 0);
	CHECK_ERR(syscall(SYS_fchmodat2, AT_FDCWD, "f", 0600, 1), EINVAL);
	show("f");

	struct timespec ts[2] = {{123456789, 987654321}, {-5, 1}};
	CHECK_EQ(utimensat(AT_FDCWD, "f", ts, 0), 0);
	CHECK_EQ(stat("f", &st), 0);
	printf("%ld.%09ld %ld.%09ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	ts[0].tv_nsec = UTIME_OMIT, ts[1].tv_nsec = UTIME_NOW;
	CHECK_EQ(futimens(fd, ts), 0);
	CHECK_EQ(stat("f", &st), 0);
	printf("%ld %d\n", (long)st.st_atim.tv_sec, st.st_mtim.tv_sec > 1000000000);
	ts[1].tv_nsec = UTIME_OMIT;
	CHECK_EQ(utimensat(AT_FDCWD, "none", ts, 0) == -1 ? errno : 0, 0);
	ts[0] = (struct timespec){7, 0}, ts[1] = (struct timespec){8, 0};
	CHECK_EQ(utimensat(AT_FDCWD, "link", ts, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_EQ(lstat("link", &st), 0);
	printf("%ld\n", (long)st.st_mtim.tv_sec);
	struct statx x;
	CHECK_EQ(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS | STATX_BTIME, &x), 0);
	printf("%o %u %llu %d\n", x.stx_mode, x.stx_nlink, (unsigned long long)x.stx_size, (x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
	CHECK_EQ(unlink("f") | unlink("link") | rmdir("d"), 0);
	return 0;
}
