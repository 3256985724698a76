// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: a root made of a folder is read as it is, links included, and what
// the program changes in it (writes, appends, removals, renames, new files) is
// seen by the program at once. Argument: the folder that holds data/.
#include "guest.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static void show(const char *path) {
	char buf[4096];
	int fd = open(path, O_RDONLY);
	if (fd < 0) {
		printf("%s: %s\n", path, strerror(errno));
		return;
	}
	ssize_t n = read(fd, buf, sizeof buf);
	printf("%s: %zd bytes: %.*s\n", path, n, (int)(n > 0 ? n : 0), buf);
	close(fd);
}
static int skip(const struct dirent *e) { return e->d_name[0] != '.'; }
static void list(const char *path) {
	struct dirent **e;
	int n = scandir(path, &e, skip, alphasort);
	printf("%s has %d:", path, n);
	for (int i = 0; i < n; i++)
		printf(" %s", e[i]->d_name);
	printf("\n");
}

int main(int argc, char **argv) {
	char path[4096];
	CHECK(argc == 2);
	snprintf(path, sizeof path, "%s/data", argv[1]);
	CHECK_EQ(chdir(path), 0);
	list(".");
	list("sub/deeper");
	show("a.txt");
	show("link");
	show("sub/up");
	show("broken");
	struct stat st;
	CHECK_EQ(stat("a.txt", &st), 0);
	ino_t ino = st.st_ino;
	CHECK(S_ISREG(st.st_mode));

	int ro = open("a.txt", O_RDONLY);
	char *map = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, ro, 0);
	CHECK(map != MAP_FAILED && map[0] == 'a');
	int fd = open("a.txt", O_WRONLY | O_APPEND);
	CHECK_EQ(write(fd, " and more", 9), 9);
	close(fd);
	show("a.txt");
	show("link");
	CHECK_EQ(stat("a.txt", &st), 0);
	CHECK(st.st_ino == ino);
	fd = open("b.txt", O_WRONLY | O_TRUNC);
	CHECK_EQ(write(fd, "B", 1), 1);
	close(fd);
	show("b.txt");
	fd = open("new.txt", O_WRONLY | O_CREAT | O_EXCL, 0644);
	CHECK_EQ(write(fd, "new", 3), 3);
	close(fd);
	CHECK_EQ(unlink("c.txt"), 0);
	CHECK_ERR(unlink("c.txt"), ENOENT);
	show("c.txt");
	CHECK_EQ(rename("sub/deeper/x", "x-moved"), 0);
	CHECK_EQ(rename("b.txt", "a.txt"), 0);
	CHECK_EQ(mkdir("sub/made", 0755), 0);
	list(".");
	list("sub");
	list("sub/deeper");
	show("a.txt");
	show("x-moved");
	CHECK_ERR(rmdir("sub"), ENOTEMPTY);
	CHECK_EQ(rmdir("sub/deeper"), 0);
	// A folder made again under the name of a removed one is empty.
	CHECK_EQ(mkdir("sub/deeper", 0755), 0);
	list("sub/deeper");
	fd = open("c.txt", O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size == 0);
	printf("root ok\n");
	return 0;
}
