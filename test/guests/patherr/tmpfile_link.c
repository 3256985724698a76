// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// O_TMPFILE and files that get a name later: by AT_EMPTY_PATH, by /proc/self/fd, never
// with O_EXCL; renameat2(2) with NOREPLACE and EXCHANGE; link counts.
#include "guest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static long links(int fd) {
	struct stat st;
	CHECK_EQ(fstat(fd, &st), 0);
	return st.st_nlink;
}

static void put(const char *name, const char *text) {
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	CHECK_EQ(close(fd), 0);
}

static void show(const char *name) {
	char buf[16] = "";
	int fd = open(name, O_RDONLY);
	printf(" %s=%s", name, fd < 0 ? "none" : read(fd, buf, sizeof buf) < 0 ? "?" : buf);
	close(fd);
}

int main(void) {
	char path[64];
	scratch();
	int fd = open(".", O_TMPFILE | O_RDWR, 0640);
	CHECK(fd >= 0);
	CHECK_EQ(links(fd), 0);
	CHECK_EQ(write(fd, "temp", 4), 4);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	CHECK_EQ(linkat(AT_FDCWD, path, AT_FDCWD, "one", AT_SYMLINK_FOLLOW), 0);
	CHECK_EQ(links(fd), 1);
	CHECK_EQ(linkat(fd, "", AT_FDCWD, "two", AT_EMPTY_PATH), 0);
	CHECK_EQ(links(fd), 2);
	show("one"), show("two");
	printf("\n");
	CHECK_ERR(linkat(fd, "", AT_FDCWD, "two", AT_EMPTY_PATH), EEXIST);
	CHECK_EQ(unlink("one"), 0);
	CHECK_EQ(unlink("two"), 0);
	CHECK_EQ(links(fd), 0);
	CHECK_ERR(linkat(fd, "", AT_FDCWD, "three", AT_EMPTY_PATH), ENOENT);
	int ex = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
	CHECK_ERR(linkat(ex, "", AT_FDCWD, "three", AT_EMPTY_PATH), ENOENT);
	CHECK_ERR(open(".", O_TMPFILE | O_RDONLY, 0600), EINVAL);
	CHECK_ERR(open("none", O_TMPFILE | O_RDWR, 0600), ENOENT);

	put("a", "A");
	put("b", "B");
	CHECK_EQ(mkdir("d", 0700), 0);
	CHECK_ERR(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "b", 1), EEXIST);
	CHECK_EQ(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "c", 1), 0);
	CHECK_EQ(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "c", 2), 0);
	show("a"), show("b"), show("c");
	printf("\n");
	CHECK_EQ(syscall(SYS_renameat2, AT_FDCWD, "b", AT_FDCWD, "d", 2), 0);
	struct stat st;
	CHECK_EQ(stat("b", &st), 0);
	printf("%d", S_ISDIR(st.st_mode));
	show("d");
	printf("\n");
	CHECK_EQ(link("d", "b/e"), 0);
	CHECK_EQ(rename("d", "b/e"), 0); // the same file: nothing
	CHECK_EQ(stat("d", &st), 0);
	printf("%ld\n", (long)st.st_nlink);
	CHECK_EQ(unlink("b/e") | unlink("d") | unlink("c") | rmdir("b"), 0);
	return 0;
}
