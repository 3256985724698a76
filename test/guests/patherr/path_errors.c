// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Error tables of the calls that take paths: EFAULT on every pointer, EBADF, ENOTDIR,
// ENOENT, EINVAL, ENAMETOOLONG, ELOOP, EEXIST and the like.
#include "guest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <utime.h>

#define BAD ((char *)8)
#define S(...) syscall(__VA_ARGS__)

int main(void) {
	static char name[300], path[5000];
	char buf[512];
	struct stat st;
	scratch();
	memset(name, 'n', 256);
	memset(path, 'p', 4500);
	for (int i = 100; i < 4500; i += 100)
		path[i] = '/';
	int f = open("f", O_RDWR | O_CREAT, 0600), dir = open(".", O_RDONLY);
	CHECK_EQ(mkdir("d", 0700), 0);
	CHECK_EQ(symlink("loop", "loop"), 0);
	CHECK_EQ(symlink("f", "link"), 0);
	CHECK_EQ(symlink("none", "dangling"), 0);

	static const struct {
		const char *path;
		int want;
	} wrong[] = {{BAD, EFAULT}, {"", ENOENT}, {"none/x", ENOENT}, {"f/x", ENOTDIR}, {"loop/x", ELOOP}, {name, ENAMETOOLONG}, {path, ENAMETOOLONG}};
	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		const char *p = wrong[i].path;
		int e = wrong[i].want;
		CHECK_ERR(S(SYS_open, p, O_RDONLY), e);
		CHECK_ERR(S(SYS_openat, dir, p, O_RDWR | O_CREAT, 0600), e);
		CHECK_ERR(S(SYS_creat, p, 0600), e);
		CHECK_ERR(S(SYS_stat, p, &st), e);
		CHECK_ERR(S(SYS_lstat, p, &st), e);
		CHECK_ERR(S(SYS_newfstatat, dir, p, &st, 0), e);
		CHECK_ERR(S(SYS_access, p, F_OK), e);
		CHECK_ERR(S(SYS_faccessat, dir, p, F_OK), e);
		CHECK_ERR(S(SYS_mkdir, p, 0700), e);
		CHECK_ERR(S(SYS_rmdir, p), e);
		CHECK_ERR(S(SYS_unlink, p), e);
		CHECK_ERR(S(SYS_unlinkat, dir, p, AT_REMOVEDIR), e);
		CHECK_ERR(S(SYS_rename, p, "x"), e);
		CHECK_ERR(S(SYS_rename, "f", p), e);
		CHECK_ERR(S(SYS_link, p, "x"), e);
		CHECK_ERR(S(SYS_link, "f", p), e);
		CHECK_ERR(S(SYS_symlink, "x", p), e);
		CHECK_ERR(S(SYS_readlink, p, buf, sizeof buf), e);
		CHECK_ERR(S(SYS_chmod, p, 0600), e);
		CHECK_ERR(S(SYS_chown, p, -1, -1), e);
		CHECK_ERR(S(SYS_lchown, p, -1, -1), e);
		CHECK_ERR(S(SYS_truncate, p, 0L), e);
		CHECK_ERR(S(SYS_utimensat, dir, p, NULL, 0), e);
		CHECK_ERR(S(SYS_utimes, p, NULL), e);
		CHECK_ERR(S(SYS_utime, p, NULL), e);
		CHECK_ERR(S(SYS_statfs, p, buf), e);
		CHECK_ERR(S(SYS_chdir, p), e);
		CHECK_ERR(S(SYS_mknod, p, S_IFREG | 0600, 0), e);
		CHECK_ERR(S(SYS_statx, dir, p, 0, STATX_BASIC_STATS, buf), e);
	}
	// The other pointers.
	CHECK_ERR(S(SYS_stat, "f", BAD), EFAULT);
	CHECK_ERR(S(SYS_fstat, f, BAD), EFAULT);
	CHECK_ERR(S(SYS_newfstatat, dir, "f", BAD, 0), EFAULT);
	CHECK_ERR(S(SYS_statx, dir, "f", 0, STATX_BASIC_STATS, BAD), EFAULT);
	CHECK_ERR(S(SYS_statfs, "f", BAD), EFAULT);
	CHECK_ERR(S(SYS_fstatfs, f, BAD), EFAULT);
	CHECK_ERR(S(SYS_readlink, "link", BAD, 10), EFAULT);
	CHECK_ERR(S(SYS_symlink, BAD, "x"), EFAULT);
	CHECK_ERR(S(SYS_utimensat, dir, "f", BAD, 0), EFAULT);
	CHECK_ERR(S(SYS_utimes, "f", BAD), EFAULT);
	CHECK_ERR(S(SYS_utime, "f", BAD), EFAULT);
	CHECK_ERR(S(SYS_getcwd, BAD, 100), EFAULT);
	CHECK_ERR(S(SYS_getdents64, dir, BAD, 100), EFAULT);
	CHECK_ERR(S(SYS_openat2, dir, "f", BAD, 24L), EFAULT);
	// Descriptors.
	CHECK_ERR(S(SYS_openat, 99, "f", O_RDONLY), EBADF);
	CHECK_ERR(S(SYS_openat, f, "f", O_RDONLY), ENOTDIR);
	CHECK_ERR(S(SYS_newfstatat, 99, "f", &st, 0), EBADF);
	CHECK_ERR(S(SYS_newfstatat, 99, "", &st, AT_EMPTY_PATH), EBADF);
	CHECK_ERR(S(SYS_mkdirat, 99, "x", 0700), EBADF);
	CHECK_ERR(S(SYS_unlinkat, 99, "x", 0), EBADF);
	CHECK_ERR(S(SYS_fchmod, 99, 0), EBADF);
	CHECK_ERR(S(SYS_fchown, 99, 0, 0), EBADF);
	CHECK_ERR(S(SYS_ftruncate, 99, 0L), EBADF);
	CHECK_ERR(S(SYS_fstatfs, 99, buf), EBADF);
	CHECK_ERR(S(SYS_fchdir, 99), EBADF);
	CHECK_ERR(S(SYS_fchdir, f), ENOTDIR);
	CHECK_ERR(S(SYS_getdents64, f, buf, sizeof buf), ENOTDIR);
	CHECK_ERR(S(SYS_fsync, 99), EBADF);
	CHECK_ERR(S(SYS_fdatasync, 99), EBADF);
	CHECK_ERR(S(SYS_syncfs, 99), EBADF);
	CHECK_EQ(S(SYS_openat, 99, "/", O_RDONLY) >= 0, 1);
	// Flags and values.
	CHECK_ERR(S(SYS_newfstatat, dir, "f", &st, 0x4), EINVAL);
	CHECK_ERR(S(SYS_statx, dir, "f", 0x6000, STATX_BASIC_STATS, buf), EINVAL);
	CHECK_ERR(S(SYS_statx, dir, "f", 0, 0x80000000, buf), EINVAL);
	CHECK_ERR(S(SYS_unlinkat, dir, "f", 0x1), EINVAL);
	CHECK_ERR(S(SYS_linkat, dir, "f", dir, "x", 0x1), EINVAL);
	CHECK_ERR(S(SYS_faccessat2, dir, "f", 8, 0), EINVAL);
	CHECK_ERR(S(SYS_faccessat2, dir, "f", 0, 0x1), EINVAL);
	CHECK_ERR(S(SYS_fchownat, dir, "f", -1, -1, 0x1), EINVAL);
	CHECK_ERR(S(SYS_utimensat, dir, "f", NULL, 0x1), EINVAL);
	CHECK_ERR(S(SYS_readlink, "link", buf, 0), EINVAL);
	CHECK_ERR(S(SYS_readlink, "f", buf, sizeof buf), EINVAL);
	CHECK_ERR(S(SYS_truncate, "f", -1L), EINVAL);
	CHECK_ERR(S(SYS_ftruncate, f, -1L), EINVAL);
	CHECK_ERR(S(SYS_truncate, "d", 0L), EISDIR);
	CHECK_ERR(S(SYS_ftruncate, dir, 0L), EINVAL);
	CHECK_ERR(S(SYS_openat2, dir, "f", buf, 8L), EINVAL);
	CHECK_ERR(S(SYS_getcwd, buf, 2), ERANGE);
	struct timespec ts[2] = {{0, 1000000000}, {0, 0}};
	CHECK_ERR(S(SYS_utimensat, dir, "f", ts, 0), EINVAL);
	// Kinds.
	CHECK_ERR(open("d", O_WRONLY), EISDIR);
	CHECK_ERR(open("d", O_RDONLY | O_CREAT, 0600), EISDIR);
	CHECK_ERR(open("f", O_RDONLY | O_DIRECTORY), ENOTDIR);
	CHECK_ERR(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	CHECK_ERR(open("f", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	CHECK_ERR(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0600), EEXIST);
	CHECK_ERR(open("new/", O_RDWR | O_CREAT, 0600), EISDIR);
	CHECK_ERR(open("f/", O_RDONLY), ENOTDIR);
	CHECK_ERR(mkdir("f", 0700), EEXIST);
	CHECK_ERR(mkdir(".", 0700), EEXIST);
	CHECK_ERR(rmdir("f"), ENOTDIR);
	CHECK_ERR(rmdir("."), EINVAL);
	CHECK_ERR(rmdir("d/.."), ENOTEMPTY);
	CHECK_ERR(unlink("d"), EISDIR);
	CHECK_ERR(unlink("f/"), ENOTDIR);
	CHECK_ERR(link("d", "x"), EPERM);
	CHECK_ERR(link("f", "link"), EEXIST);
	CHECK_ERR(rename("d", "f"), ENOTDIR);
	CHECK_ERR(rename("f", "d"), EISDIR);
	CHECK_ERR(rename("d", "d/sub"), EINVAL);
	CHECK_ERR(rename(".", "x"), EBUSY);
	CHECK_ERR(syscall(SYS_renameat2, dir, "f", dir, "d", 1), EEXIST);
	CHECK_ERR(syscall(SYS_renameat2, dir, "f", dir, "none", 2), ENOENT);
	CHECK_ERR(syscall(SYS_renameat2, dir, "f", dir, "d", 3), EINVAL);
	CHECK_ERR(syscall(SYS_renameat2, dir, "f", dir, "d", 8), EINVAL);
	CHECK_ERR(symlink("", "x"), ENOENT);
	CHECK_EQ(unlink("f") | unlink("loop") | unlink("link") | unlink("dangling") | rmdir("d"), 0);
	puts("ok");
	return 0;
}
