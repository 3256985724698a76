// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: folders and links: mkdir, rmdir, getcwd, chdir, readdir with "." and
// "..", many entries, rewinding, symbolic links, the *at calls, access, and
// every common error.
#include "guest.h"
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

static int by_name(const void *a, const void *b) { return strcmp(a, b); }
static void list(const char *path) {
	char names[16][300];
	int n = 0;
	DIR *d = opendir(path);
	CHECK(d);
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		CHECK_EQ(fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW), 0);
		int type = S_ISDIR(st.st_mode) ? DT_DIR : S_ISLNK(st.st_mode) ? DT_LNK : DT_REG;
		CHECK(e->d_type == type || e->d_type == DT_UNKNOWN);
		if (strcmp(e->d_name, ".."))
			CHECK(e->d_ino == st.st_ino);
		snprintf(names[n++], 300, "%s%s", e->d_name, type == DT_DIR ? "/" : type == DT_LNK ? "@" : "");
	}
	closedir(d);
	qsort(names, n, 300, by_name);
	for (int i = 0; i < n; i++)
		printf("%s ", names[i]);
	printf("\n");
}

int main(void) {
	char buf[PATH_MAX], want[PATH_MAX];
	struct stat st;
	const char *dir = scratch();
	umask(022);
	CHECK(getcwd(buf, sizeof buf) && strcmp(buf, dir) == 0);
	CHECK_ERR(-(getcwd(buf, 3) == NULL), ERANGE);
	CHECK_EQ(mkdir("sub", 0755), 0);
	CHECK_ERR(mkdir("sub", 0755), EEXIST);
	CHECK_ERR(mkdir("no/sub", 0755), ENOENT);
	CHECK_EQ(stat("sub", &st), 0);
	CHECK(S_ISDIR(st.st_mode) && (st.st_mode & 0777) == 0755);
	CHECK_EQ(close(open("sub/file", O_WRONLY | O_CREAT, 0600)), 0);
	CHECK_EQ(symlink("sub/file", "link"), 0);
	CHECK_EQ(symlink("nowhere", "dangling"), 0);
	CHECK_EQ(symlink("loop2", "loop1"), 0);
	CHECK_EQ(symlink("loop1", "loop2"), 0);
	list(".");
	list("sub");

	CHECK_EQ(readlink("link", buf, sizeof buf), 8);
	CHECK(memcmp(buf, "sub/file", 8) == 0);
	CHECK_EQ(readlink("link", buf, 3), 3);
	CHECK_ERR(readlink("sub", buf, 3), EINVAL);
	CHECK_EQ(lstat("link", &st), 0);
	CHECK(S_ISLNK(st.st_mode) && st.st_size == 8);
	CHECK_EQ(stat("link", &st), 0);
	CHECK(S_ISREG(st.st_mode));
	CHECK_EQ(lstat("dangling", &st), 0);
	CHECK_ERR(stat("dangling", &st), ENOENT);
	CHECK_ERR(open("loop1", O_RDONLY), ELOOP);
	CHECK_ERR(open("link", O_RDONLY | O_NOFOLLOW), ELOOP);
	CHECK_ERR(symlink("x", "link"), EEXIST);
	int fd = open("dangling", O_WRONLY | O_CREAT, 0600); // makes its target
	CHECK(fd >= 0 && close(fd) == 0);
	CHECK_EQ(unlink("nowhere"), 0);

	CHECK_ERR(open("missing", O_RDONLY), ENOENT);
	CHECK_ERR(open("", O_RDONLY), ENOENT);
	CHECK_ERR(open("link/x", O_RDONLY), ENOTDIR);
	CHECK_ERR(open("link/", O_RDONLY), ENOTDIR);
	CHECK_ERR(open("sub/file", O_RDONLY | O_DIRECTORY), ENOTDIR);
	CHECK_ERR(open("sub", O_WRONLY), EISDIR);
	CHECK_ERR(rmdir("sub"), ENOTEMPTY);
	CHECK_ERR(rmdir("link"), ENOTDIR);
	CHECK_ERR(unlink("sub"), EISDIR);
	CHECK_ERR(rmdir("sub/."), EINVAL);
	CHECK_ERR(rename("sub", "sub/inside"), EINVAL);
	CHECK_ERR(rename("link", "sub"), EISDIR);
	CHECK_ERR(rename("sub", "link"), ENOTDIR);
	CHECK_ERR(chdir("link"), ENOTDIR);
	CHECK_ERR(chdir("missing"), ENOENT);
	memset(buf, 'n', 300);
	buf[300] = 0;
	CHECK_ERR(open(buf, O_RDONLY), ENAMETOOLONG);
	static char slashes[PATH_MAX + 1];
	memset(slashes, '/', PATH_MAX);
	CHECK_ERR(open(slashes, O_RDONLY), ENAMETOOLONG);
	fd = open("sub", O_RDONLY | O_DIRECTORY);
	CHECK(fd >= 0);
	CHECK_ERR(read(fd, buf, 1), EISDIR);

	// Relative to a descriptor.
	int f = openat(fd, "file", O_RDWR);
	CHECK(f >= 0);
	CHECK_EQ(close(f), 0);
	CHECK_EQ(mkdirat(fd, "deep", 0700), 0);
	CHECK_EQ(symlinkat("../file", fd, "deep/up"), 0);
	CHECK_EQ(renameat(fd, "deep/up", fd, "deep/up2"), 0);
	CHECK_EQ(faccessat(fd, "deep/up2", R_OK | W_OK, 0), 0);
	CHECK_ERR(renameat2(fd, "deep/up2", fd, "file", RENAME_NOREPLACE), EEXIST);
	CHECK_EQ(linkat(fd, "file", fd, "deep/hard", 0), 0);
	CHECK_ERR(openat(f, "file", O_RDONLY), EBADF);
	CHECK_EQ(access("sub/deep/hard", F_OK), 0);
	CHECK_ERR(access("sub/deep/none", F_OK), ENOENT);
	CHECK_EQ(fchdir(fd), 0);
	CHECK(getcwd(buf, sizeof buf));
	snprintf(want, sizeof want, "%s/sub", dir);
	CHECK(strcmp(buf, want) == 0);
	list("deep");
	CHECK(realpath("deep/../deep/./up2", buf));
	snprintf(want, sizeof want, "%s/sub/file", dir);
	CHECK(strcmp(buf, want) == 0);

	// More entries than one getdents buffer of a small reader holds.
	CHECK_EQ(mkdir("many", 0700), 0);
	CHECK_EQ(chdir("many"), 0);
	for (int i = 0; i < 1500; i++) {
		snprintf(buf, sizeof buf, "entry-with-a-longish-name-%04d", i);
		CHECK_EQ(close(open(buf, O_WRONLY | O_CREAT, 0600)), 0);
	}
	for (int round = 0; round < 2; round++) {
		static char seen[1500];
		memset(seen, 0, sizeof seen);
		DIR *d = opendir(".");
		int n = 0, i;
		for (struct dirent *e; (e = readdir(d));)
			if (sscanf(e->d_name, "entry-with-a-longish-name-%d", &i) == 1) {
				CHECK(!seen[i]++);
				n++;
			}
		CHECK_EQ(n, 1500);
		rewinddir(d);
		CHECK(readdir(d));
		closedir(d);
	}
	for (int i = 0; i < 1500; i++) {
		snprintf(buf, sizeof buf, "entry-with-a-longish-name-%04d", i);
		CHECK_EQ(unlink(buf), 0);
	}
	CHECK_EQ(chdir(dir), 0);
	const char *files[] = {"sub/deep/up2", "sub/deep/hard", "sub/file", "link", "dangling", "loop1", "loop2"};
	for (int i = 0; i < 7; i++)
		CHECK_EQ(unlink(files[i]), 0);
	const char *dirs[] = {"sub/many", "sub/deep", "sub"};
	for (int i = 0; i < 3; i++)
		CHECK_EQ(rmdir(dirs[i]), 0);
	printf("folders ok\n");
	return 0;
}
