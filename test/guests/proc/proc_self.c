// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what runtimes read of /proc/self: exe, cmdline, maps with the stack
// and the program in it, status, fd, and that what it says is true.
#include "guest.h"
#include <fcntl.h>
#include <libgen.h>

static char buf[1 << 16];
static size_t slurp(const char *path) {
	int fd = open(path, O_RDONLY);
	CHECK(fd >= 0);
	size_t n = 0;
	for (ssize_t r; (r = read(fd, buf + n, 1000)) != 0; n += r)
		CHECK(r > 0 && n < sizeof buf - 2000);
	buf[n] = 0;
	close(fd);
	return n;
}

int main(int argc, char **argv) {
	char exe[4096];
	CHECK(argc == 3);
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
	CHECK(n > 0);
	exe[n] = 0;
	CHECK(strcmp(exe, argv[0]) == 0);
	int fd = open("/proc/self/exe", O_RDONLY);
	CHECK_EQ(read(fd, buf, 4), 4);
	CHECK(memcmp(buf, "\177ELF", 4) == 0);

	size_t len = slurp("/proc/self/cmdline");
	CHECK(strcmp(buf, argv[0]) == 0);
	char *second = buf + strlen(buf) + 1;
	printf("cmdline: %s, %s, %zu bytes after argv[0]\n", second, second + strlen(second) + 1, len - strlen(argv[0]) - 1);

	slurp("/proc/self/maps");
	int local, in_stack = 0, in_text = 0, stack = 0;
	unsigned long last = 0;
	for (char *line = strtok(buf, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned long from, to;
		char prot[8];
		CHECK(sscanf(line, "%lx-%lx %7s", &from, &to, prot) == 3);
		CHECK(from < to && from >= last && from % 4096 == 0 && to % 4096 == 0);
		last = to;
		if ((unsigned long)&local >= from && (unsigned long)&local < to) {
			in_stack++;
			stack = strstr(line, "[stack]") != NULL;
			CHECK(strncmp(prot, "rw-p", 4) == 0);
		}
		if ((unsigned long)main >= from && (unsigned long)main < to) {
			in_text++;
			CHECK(strncmp(prot, "r-xp", 4) == 0);
			CHECK(strstr(line, exe) != NULL);
		}
	}
	printf("maps: stack %d %d, text %d\n", in_stack, stack, in_text);

	slurp("/proc/self/status");
	char *name = strstr(buf, "Name:\t"), *pid = strstr(buf, "\nPid:\t"), *threads = strstr(buf, "\nThreads:\t1\n");
	CHECK(name && pid && threads && strstr(buf, "\nVmRSS:"));
	CHECK_EQ(atoi(pid + 6), getpid());
	// The name is the start of the program's own, at most 15 bytes.
	char *base = basename(exe);
	CHECK(strncmp(name + 6, base, strlen(base) < 15 ? strlen(base) : 15) == 0);

	char link[64];
	snprintf(link, sizeof link, "/proc/self/fd/%d", open("/dev/null", O_RDONLY));
	n = readlink(link, exe, sizeof exe);
	CHECK(n == 9 && memcmp(exe, "/dev/null", 9) == 0);
	slurp("/proc/self/stat");
	CHECK_EQ(atoi(buf), getpid());
	CHECK(strchr(buf, '(') && strchr(buf, ')'));
	CHECK_ERR(open("/proc/self/none", O_RDONLY), ENOENT);
	printf("proc ok\n");
	return 0;
}
