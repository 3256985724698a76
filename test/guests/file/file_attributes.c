// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the calls that read and change what is known about a file, in all
// their forms: by path, by descriptor, relative to a folder; old and new ones.
#include "guest.h"
#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static struct stat st;

static unsigned mode_of(const char *name) {
	CHECK_EQ(syscall(SYS_lstat, name, &st), 0);
	return st.st_mode;
}

int main(void) {
	scratch();
	umask(022);
	int fd = syscall(SYS_creat, "a", 0640);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "0123456789", 10), 10);
	int dir = open(".", O_RDONLY | O_DIRECTORY);
	CHECK(dir >= 0);
	CHECK_EQ(syscall(SYS_mknod, "n", S_IFREG | 0666, 0), 0);
	CHECK_EQ(syscall(SYS_mknodat, dir, "m", S_IFREG | 0600, 0), 0);
	CHECK_ERR(syscall(SYS_mknod, "n", S_IFREG | 0666, 0), EEXIST);
	CHECK_EQ(symlink("a", "l"), 0);
	printf("modes %o %o %o %o\n", mode_of("a"), mode_of("n"), mode_of("m"), mode_of("l"));

	CHECK_EQ(syscall(SYS_chmod, "a", 0604), 0);
	CHECK_EQ(mode_of("a"), S_IFREG | 0604);
	CHECK_EQ(syscall(SYS_fchmodat, dir, "a", 0711), 0);
	CHECK_EQ(mode_of("a"), S_IFREG | 0711);
	// Linux has it since 6.6.
	long r = syscall(SYS_fchmodat2, dir, "a", 0700, 0);
	CHECK(r == 0 || errno == ENOSYS);
	CHECK_EQ(fchmod(fd, 0644), 0);
	CHECK_EQ(syscall(SYS_faccessat, dir, "a", R_OK | W_OK), 0);
	CHECK_ERR(syscall(SYS_faccessat, dir, "none", F_OK), ENOENT);
	CHECK_ERR(syscall(SYS_faccessat, dir, "a", 8), EINVAL);

	uid_t me = getuid();
	gid_t us = getgid();
	CHECK_EQ(syscall(SYS_chown, "a", me, us), 0);
	CHECK_EQ(syscall(SYS_lchown, "l", me, -1), 0);
	CHECK_EQ(syscall(SYS_fchown, fd, -1, us), 0);
	CHECK_EQ(syscall(SYS_fchownat, dir, "a", me, us, AT_SYMLINK_NOFOLLOW), 0);
	CHECK_EQ(syscall(SYS_fchownat, fd, "", me, us, AT_EMPTY_PATH), 0);
	CHECK_ERR(syscall(SYS_fchownat, fd, "", me, us, 0x8000), EINVAL);

	struct utimbuf ub = {1000, 2000};
	CHECK_EQ(syscall(SYS_utime, "a", &ub), 0);
	mode_of("a");
	printf("utime %ld %ld\n", (long)st.st_atime, (long)st.st_mtime);
	struct timeval tv[2] = {{3000, 5}, {4000, 999999}};
	CHECK_EQ(syscall(SYS_utimes, "a", tv), 0);
	mode_of("a");
	printf("utimes %ld.%09ld %ld.%09ld\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	tv[1].tv_sec = 5000;
	CHECK_EQ(syscall(SYS_futimesat, dir, "a", tv), 0);
	mode_of("a");
	CHECK_EQ(st.st_mtime, 5000);
	tv[0].tv_usec = 1000000;
	CHECK_ERR(syscall(SYS_futimesat, dir, "a", tv), EINVAL);

	struct statx sx;
	CHECK_EQ(syscall(SYS_statx, dir, "a", 0, STATX_BASIC_STATS, &sx), 0);
	printf("statx %o size %llu links %u mtime %lld\n", sx.stx_mode, (unsigned long long)sx.stx_size, sx.stx_nlink, (long long)sx.stx_mtime.tv_sec);
	CHECK((sx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS && sx.stx_ino == st.st_ino);
	CHECK_EQ(syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_SIZE, &sx), 0);
	CHECK_EQ(sx.stx_size, 10);
	CHECK_ERR(syscall(SYS_statx, dir, "a", 0, 0x80000000, &sx), EINVAL);

	struct statfs sf, sg;
	CHECK_EQ(statfs("a", &sf), 0);
	CHECK_EQ(fstatfs(fd, &sg), 0);
	CHECK(sf.f_type == sg.f_type && sf.f_bsize > 0 && sf.f_namelen >= 255);

	struct open_how how = {.flags = O_RDONLY, .resolve = RESOLVE_NO_SYMLINKS};
	CHECK_ERR(syscall(SYS_openat2, dir, "l", &how, sizeof how), ELOOP);
	how.resolve = RESOLVE_BENEATH;
	CHECK_ERR(syscall(SYS_openat2, dir, "../..", &how, sizeof how), EXDEV);
	int in = syscall(SYS_openat2, dir, "l", &how, sizeof how);
	CHECK(in >= 0);
	CHECK_EQ(close(in), 0);
	CHECK_ERR(syscall(SYS_openat2, dir, "a", &how, 8), EINVAL);
	how.mode = 0600;
	CHECK_ERR(syscall(SYS_openat2, dir, "a", &how, sizeof how), EINVAL);

	// Whether a file system has attributes is its own affair: here no file has one.
	char list[256];
	CHECK_EQ(syscall(SYS_listxattr, "a", list, sizeof list), 0);
	CHECK_EQ(syscall(SYS_llistxattr, "l", list, sizeof list), 0);
	CHECK_EQ(syscall(SYS_flistxattr, fd, list, sizeof list), 0);
	CHECK_ERR(syscall(SYS_listxattr, "none", list, sizeof list), ENOENT);

	// The old form of a listing has the type in the last byte of an entry.
	char ents[1024];
	long n = syscall(SYS_getdents, dir, ents, sizeof ents);
	int files = 0, folders = 0, links = 0;
	for (long at = 0; at < n;) {
		unsigned short len;
		memcpy(&len, ents + at + 16, 2);
		switch (ents[at + len - 1]) {
		case DT_REG: files++; break;
		case DT_DIR: folders++; break;
		case DT_LNK: links++; break;
		}
		at += len;
	}
	printf("files %d folders %d links %d\n", files, folders, links);
	CHECK_EQ(syscall(SYS_getdents, dir, ents, sizeof ents), 0);
	CHECK_EQ(lseek(dir, 0, SEEK_SET), 0);
	CHECK_ERR(syscall(SYS_getdents, dir, ents, 4), EINVAL);

	CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
	CHECK_EQ(flock(fd, LOCK_UN), 0);
	CHECK_ERR(flock(fd, 16), EINVAL);
	CHECK_EQ(syscall(SYS_syncfs, fd), 0);
	in = open("a", O_RDONLY);
	CHECK_EQ(syscall(SYS_readahead, in, 0L, 4096), 0);
	CHECK_EQ(syscall(SYS_fadvise64, in, 0L, 0L, POSIX_FADV_SEQUENTIAL), 0);
	CHECK_ERR(syscall(SYS_fadvise64, in, 0L, 0L, 99), EINVAL);
	for (const char *const *p = (const char *const[]){"a", "n", "m", "l", NULL}; *p; p++)
		CHECK_EQ(unlink(*p), 0);
	printf("done\n");
	return 0;
}
