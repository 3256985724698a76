// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the event is a file like any other, also when the first look at it, whichever
// it is, comes before the event: its size, its text by read, pread and mmap, from its
// beginning in each open file, and stdin has the same.
#include "guest.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

static char path[4096];

static void *open_too(void *fd) {
	*(int *)fd = open(path, O_RDONLY);
	return NULL;
}

int main(int argc, char **argv) {
	const char *folder = getenv("K_EVENT_PATH"), *how = argc > 1 ? argv[1] : "open";
	if (!folder)
		folder = "/etc/jobsink-event";
	snprintf(path, sizeof path, "%s/event", folder);

	// What does not depend on the event does not wait for it.
	CHECK_EQ(access(path, R_OK), 0);
	CHECK_ERR(access(path, X_OK), EACCES);
	DIR *d = opendir(folder);
	CHECK(d != NULL);
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			printf("%s, type %d\n", e->d_name, e->d_type);
	closedir(d);
	printf("asks by %s\n", how);

	struct stat st;
	int fd = -1, other = -1;
	pthread_t thread;
	if (!strcmp(how, "stat")) {
		CHECK_EQ(stat(path, &st), 0);
	} else if (!strcmp(how, "statx")) {
		struct statx x;
		CHECK_EQ(statx(AT_FDCWD, path, 0, STATX_SIZE, &x), 0);
		st.st_size = x.stx_size;
	} else if (!strcmp(how, "path")) {
		int p = open(path, O_PATH);
		CHECK(p >= 0);
		CHECK_EQ(fstat(p, &st), 0);
		char self[64];
		snprintf(self, sizeof self, "/proc/self/fd/%d", p);
		fd = open(self, O_RDONLY);
		CHECK(close(p) == 0);
	} else if (!strcmp(how, "truncate")) {
		CHECK_EQ(truncate(path, 7), 0);
		CHECK_EQ(stat(path, &st), 0);
		CHECK_EQ(st.st_size, 7);
	} else if (!strcmp(how, "write")) {
		fd = open(path, O_RDWR | O_NONBLOCK);
		CHECK(fd >= 0);
		CHECK_EQ(pwrite(fd, "WROTE", 5, 2), 5);
		CHECK_EQ(fstat(fd, &st), 0);
	} else if (!strcmp(how, "threads")) {
		CHECK_EQ(pthread_create(&thread, NULL, open_too, &other), 0);
		fd = open(path, O_RDONLY);
		CHECK_EQ(pthread_join(thread, NULL), 0);
		CHECK(other >= 0);
		CHECK_EQ(fstat(fd, &st), 0);
	} else {
		fd = open(path, O_RDONLY);
		CHECK_EQ(fstat(fd, &st), 0);
	}
	if (fd < 0)
		fd = open(path, O_RDONLY);
	if (other < 0)
		other = openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && other >= 0);

	CHECK_EQ(stat(path, &st), 0);
	CHECK(S_ISREG(st.st_mode) && st.st_nlink == 1);
	CHECK_EQ(lseek(other, 0, SEEK_END), st.st_size);
	CHECK_EQ(lseek(other, 0, SEEK_SET), 0);
	char *text = calloc(1, st.st_size + 1), *again = calloc(1, st.st_size + 1);
	CHECK_EQ(read(fd, text, st.st_size + 1), st.st_size);
	CHECK_EQ(read(fd, again, 1), 0);
	CHECK_EQ(pread(other, again, st.st_size, 0), st.st_size);
	CHECK(memcmp(text, again, st.st_size) == 0);
	if (st.st_size > 0) {
		char *map = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, other, 0);
		CHECK(map != MAP_FAILED && memcmp(text, map, st.st_size) == 0);
	}
	printf("%lld bytes\n", (long long)st.st_size);
	fflush(stdout);
	if (st.st_size < 4096)
		CHECK_EQ(write(1, text, st.st_size), st.st_size);

	// The event on stdin is whole, whatever became of the file.
	size_t n = 0;
	unsigned sum = 0;
	unsigned char buf[4096];
	for (ssize_t r; (r = read(0, buf, sizeof buf)) > 0; n += r)
		for (ssize_t i = 0; i < r; i++)
			sum = sum * 31 + buf[i];
	printf("\nstdin: %zu bytes, sum %u\n", n, sum);

	// It is one of its own file system, and can be removed as any other.
	CHECK_EQ(unlink(path), 0);
	CHECK_ERR(open(path, O_RDONLY), ENOENT);
	CHECK_EQ(pread(fd, again, st.st_size, 0), st.st_size);
	return 0;
}
