// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: ETXTBSY: a program that runs cannot be opened for writing or cut off, and one
// that is open for writing, or mapped so, cannot be run; nor can a script. That ends with
// the process, with another exec, with the last descriptor. What runs can be removed,
// renamed and replaced, and /proc/PID/exe leads to it all the same.
#include "guest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define WAITS "EXEC_BUSY_WAITS"

static char self[4096], *empty[] = {NULL};

// copy makes a copy of this program.
static void copy(const char *to) {
	static char b[1 << 16];
	int in = open("/proc/self/exe", O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0700);
	CHECK(in >= 0 && out >= 0);
	for (ssize_t n; (n = read(in, b, sizeof b)) > 0;)
		CHECK_EQ(write(out, b, n), n);
	CHECK(close(in) == 0 && close(out) == 0);
}

static int ends[2];
// start runs a program as a child that waits until finish.
static pid_t start(const char *path) {
	int in[2], out[2];
	CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(in[0], 0), dup2(out[1], 1);
		setenv(WAITS, "1", 1);
		unsetenv("GUEST_WAIT");
		execl(path, path, NULL);
		_exit(errno == ETXTBSY ? 26 : 1);
	}
	char c;
	close(in[0]), close(out[1]);
	CHECK_EQ(read(out[0], &c, 1), 1);
	ends[0] = in[1], ends[1] = out[0];
	return pid;
}
static void finish(pid_t pid) {
	int status;
	close(ends[0]), close(ends[1]);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}
// runs tries to run a program and returns the exit status of the child.
static int runs(const char *path) {
	pid_t pid = fork();
	if (pid == 0) {
		setenv(WAITS, "0", 1);
		unsetenv("GUEST_WAIT");
		execl(path, path, NULL);
		_exit(errno);
	}
	int status;
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return status;
}

static void closed(int fd) {
	if (fd >= 0)
		close(fd);
}
#define OPEN(...)                                                                           \
	do {                                                                                \
		SHOW((fd = open(__VA_ARGS__, 0)) >= 0 ? 0 : -1);                            \
		closed(fd);                                                                 \
	} while (0)

int main(void) {
	const char *waits = getenv(WAITS);
	if (waits != NULL) {
		char c = 'r';
		if (waits[0] == '1' && (write(1, &c, 1) != 1 || read(0, &c, 1) != 0))
			return 1;
		return 0;
	}
	scratch();
	ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
	CHECK(n > 0);
	int fd = -1;

	// What runs.
	copy("a");
	CHECK_EQ(link("a", "b"), 0);
	pid_t pid = start("./a");
	OPEN("a", O_WRONLY);
	OPEN("a", O_RDWR);
	OPEN("b", O_RDWR);
	OPEN("a", O_RDONLY | O_TRUNC);
	OPEN("a", O_WRONLY | O_CREAT);
	OPEN("a", O_WRONLY | O_PATH);
	OPEN("a", O_RDONLY);
	SHOW(truncate("a", 0));
	SHOW(chmod("a", 0755));
	SHOW(runs("./b"));
	char exe[64], target[4096] = "";
	struct stat st, st2;
	snprintf(exe, sizeof exe, "/proc/%d/exe", pid);
	SHOW(open(exe, O_RDWR));
	CHECK_EQ(rename("a", "c"), 0);
	copy("a");
	CHECK(readlink(exe, target, sizeof target - 1) > 0 && strcmp(strrchr(target, '/'), "/c") == 0);
	CHECK(stat(exe, &st) == 0 && stat("c", &st2) == 0 && st.st_ino == st2.st_ino);
	OPEN("a", O_WRONLY);
	CHECK(unlink("b") == 0 && unlink("c") == 0);
	memset(target, 0, sizeof target);
	CHECK(readlink(exe, target, sizeof target - 1) > 0 && strcmp(strrchr(target, '/'), "/c (deleted)") == 0);
	CHECK(stat(exe, &st) == 0 && st.st_ino == st2.st_ino && st.st_nlink == 0);
	SHOW(runs(exe));
	finish(pid);

	// Once it has ended, and while it is open.
	pid = start("./a");
	OPEN("a", O_WRONLY);
	finish(pid);
	SHOW((fd = open("a", O_RDWR)) >= 0 ? 0 : -1);
	fd = open("a", O_WRONLY);
	int fd2 = dup(fd);
	CHECK(fd >= 0 && fd2 >= 0);
	close(fd);
	SHOW(WEXITSTATUS(runs("./a")));
	SHOW((execv("./a", empty), -1));
	close(fd2);
	for (int i = 3; i < 20; i++)
		close(i);
	SHOW(runs("./a"));

	// A mapping that is left of an open file.
	fd = open("a", O_RDWR);
	char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(fd >= 0 && m != MAP_FAILED && close(fd) == 0);
	SHOW((execv("./a", empty), -1));
	CHECK_EQ(munmap(m, 4096), 0);
	SHOW(runs("./a"));

	// A descriptor that is only for reading.
	fd = open("a", O_RDONLY);
	SHOW(runs("./a"));
	close(fd);

	// A script, and its interpreter.
	fd = open("s", O_WRONLY | O_CREAT, 0700);
	CHECK(fd >= 0 && write(fd, "#!./a\n", 6) == 6);
	SHOW((execv("./s", empty), -1));
	close(fd);
	SHOW(runs("./s"));
	fd = open("a", O_WRONLY);
	SHOW((execv("./s", empty), -1));
	close(fd);

	// Memory is run while it is open.
	fd = memfd_create("m", 0);
	int in = open("a", O_RDONLY);
	CHECK(fd >= 0 && in >= 0);
	static char b[1 << 16];
	for (ssize_t k; (k = read(in, b, sizeof b)) > 0;)
		CHECK_EQ(write(fd, b, k), k);
	close(in);
	snprintf(exe, sizeof exe, "/proc/self/fd/%d", fd);
	SHOW(runs(exe));
	CHECK(unlink("a") == 0 && unlink("s") == 0);
	return 0;
}
