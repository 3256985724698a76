// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Forks as often as its first argument says, one after the other and a few at a time; with
// a second argument it forks until it may not, and goes on when there is room again. The
// memory, the tasks and the descriptors are what they were.
#include "process.h"
#include <dirent.h>

static char data[64 * 4096];

static long free_memory(void) {
	char line[200];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");
	CHECK(f);
	while (fgets(line, sizeof line, f))
		sscanf(line, "MemFree: %ld", &kb);
	fclose(f);
	return kb;
}

static void some(int n) {
	enum { AT_ONCE = 4 };
	pid_t pids[AT_ONCE];
	for (int i = 0; i < n; i += AT_ONCE) {
		for (int j = 0; j < AT_ONCE; j++) {
			pids[j] = fork();
			CHECK(pids[j] >= 0);
			if (pids[j] == 0) {
				data[j * 4096] = j;
				void *p = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | (j % 2 ? MAP_SHARED : MAP_PRIVATE), -1, 0);
				memset(p, j, 1 << 16);
				_exit(j);
			}
			data[i % sizeof data] = i;
		}
		for (int j = 0; j < AT_ONCE; j++)
			CHECK_EQ(WEXITSTATUS(wait_for(pids[j], 0)), j);
	}
}

static void until_refused(void) {
	static pid_t pids[100000];
	int n = 0;
	while ((pids[n] = fork()) > 0)
		n++;
	if (n < 100000 && pids[n] == 0)
		for (;;)
			pause();
	CHECK(pids[n] == -1 && errno == EAGAIN);
	CHECK_ERR(fork(), EAGAIN);
	printf("refused after some: %d\n", n > 10);
	for (int i = 0; i < n; i++)
		CHECK(kill(pids[i], SIGKILL) == 0);
	CHECK_ERR(fork(), EAGAIN); // zombies count
	for (int i = 0; i < n; i++)
		CHECK(WIFSIGNALED(wait_for(pids[i], 0)));
	some(8);
}

int main(int argc, char **argv) {
	CHECK(argc > 1);
	fflush(stdout);
	some(200);
	long before = free_memory();
	if (argc > 2)
		until_refused();
	else
		some(atoi(argv[1]));
	long lost = before - free_memory();
	if (argc > 2 || atoi(argv[1]) > 1000) // natively the machine is not this program's alone
		printf("lost %ld pages\n", lost / 4 > 64 ? lost / 4 : 0);
	puts("done");
}
