// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Scripts: their interpreter is this program, which shows its arguments; programs that
// were just written; programs behind descriptors, without a name at all.
#include "process.h"
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static char self[4096];

static const char *shown(const char *s) {
	if (strcmp(s, self) == 0)
		return "(self)";
	const char *slash = strrchr(s, '/');
	return strncmp(s, "/tmp/guest", 10) == 0 ? slash + 1 : s;
}

static int show(int argc, char **argv) {
	char name[16];
	CHECK(prctl(PR_GET_NAME, name) == 0);
	printf("  %s, by %s:", name, shown((char *)getauxval(AT_EXECFN)));
	for (int i = 0; i < argc; i++)
		printf(" [%s]", shown(argv[i]));
	puts("");
	return 0;
}

static void put(const char *name, const char *format, ...) {
	char b[5000];
	__builtin_va_list ap;
	__builtin_va_start(ap, format);
	int n = vsnprintf(b, sizeof b, format, ap), fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0700);
	CHECK(fd >= 0 && write(fd, b, n) == n && close(fd) == 0);
}

static void run(const char *what, int dirfd, const char *name, int flags) {
	printf("%s\n", what);
	fflush(stdout);
	char *args[] = {"zero", "one", "two words", NULL}, *env[] = {"SHOW=1", NULL};
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		syscall(SYS_execveat, dirfd, name, args, env, flags);
		printf("  errno %d\n", errno);
		fflush(stdout);
		_exit(1);
	}
	wait_for(pid, 0);
}

static void copy(int to) {
	static char b[1 << 16];
	int from = open(self, O_RDONLY);
	ssize_t n;
	while ((n = read(from, b, sizeof b)) > 0)
		CHECK(write(to, b, n) == n);
	CHECK(n == 0 && close(from) == 0);
}

int main(int argc, char **argv) {
	CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
	if (getenv("SHOW"))
		return show(argc, argv);
	scratch();
	put("plain", "#!%s\nanything\n", self);
	run("plain", AT_FDCWD, "plain", 0);
	put("argument", "#! \t%s \t an argument, all one \t \n", self);
	run("argument", AT_FDCWD, "./argument", 0);
	put("unended", "#!%s", self);
	run("unended", AT_FDCWD, "unended", 0);
	put("nested", "#!./argument nested\n");
	run("nested", AT_FDCWD, "nested", 0);
	put("n1", "#!./plain\n"), put("n2", "#!./n1\n"), put("n3", "#!./n2\n"), put("n4", "#!./n3\n"), put("n5", "#!./n4\n");
	run("three", AT_FDCWD, "n3", 0);
	run("four", AT_FDCWD, "n4", 0);
	run("five", AT_FDCWD, "n5", 0);
	int dir = open(".", O_RDONLY | O_DIRECTORY);
	run("folder", dir, "argument", 0);
	int script = open("plain", O_RDONLY);
	CHECK(symlink("plain", "link") == 0);
	run("link", AT_FDCWD, "link", 0);

	// A copy of the program: as a new file, as one that is removed, as none.
	int fd = open("copy", O_CREAT | O_RDWR, 0700);
	copy(fd);
	CHECK(close(fd) == 0);
	run("copy", AT_FDCWD, "./copy", 0);
	fd = open("copy", O_RDONLY);
	CHECK(unlink("copy") == 0);
	int at = fd;
	CHECK(dup2(fd, 100) == 100);
	run("removed", 100, "", AT_EMPTY_PATH);
	close(at);
	int mem = syscall(SYS_memfd_create, "program", 0);
	if (mem >= 0) {
		copy(mem);
		CHECK(dup2(mem, 101) == 101);
		run("memfd", 101, "", AT_EMPTY_PATH);
	}
	(void)script;
	const char *files[] = {"plain", "argument", "unended", "nested", "n1", "n2", "n3", "n4", "n5", "link"};
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
		CHECK(unlink(files[i]) == 0);
}
