// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// execve(2) in a thread that is not the first: the others end, and it has the number of
// the process.
#include "process.h"
#include <pthread.h>

static char self[4096];

static void *exec(void *arg) {
	char *args[] = {"exec_thread", "after", arg, NULL}, *env[] = {NULL};
	CHECK(syscall(SYS_gettid) != getpid());
	execve(self, args, env);
	return NULL;
}

static void *spins(void *arg) {
	for (volatile int *i = arg;;)
		(*i)++;
}

static int threads(void) {
	char line[200];
	int n = -1;
	FILE *f = fopen("/proc/self/status", "r");
	CHECK(f);
	while (fgets(line, sizeof line, f))
		sscanf(line, "Threads: %d", &n);
	fclose(f);
	return n;
}

int main(int argc, char **argv) {
	CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
	if (argc > 2) {
		printf("pid kept %d, tid %d, threads %d\n", getpid() == atoi(argv[2]), syscall(SYS_gettid) == getpid(), threads());
		return 3;
	}
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		static volatile int counts[2];
		char me[20];
		sprintf(me, "%d", getpid());
		pthread_t t;
		for (int i = 0; i < 2; i++)
			CHECK(pthread_create(&t, NULL, spins, (void *)&counts[i]) == 0);
		CHECK(pthread_create(&t, NULL, exec, me) == 0);
		pthread_join(t, NULL);
		_exit(99);
	}
	show_status("exec in a thread", wait_for(pid, 0));

	// A fork in a program with threads has the one that forked.
	static volatile int counts[2];
	pthread_t t;
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&t, NULL, spins, (void *)&counts[i]) == 0);
	fflush(stdout);
	if ((pid = fork()) == 0)
		_exit(threads());
	show_status("threads after a fork", wait_for(pid, 0));
}
