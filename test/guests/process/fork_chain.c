// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// A chain of forks, each the child of the one before, and a tree: every process has
// the memory of its line, and every status comes back.
#include "process.h"

static int line[64];

static int deeper(void *arg) {
	int depth = (int)(intptr_t)arg;
	line[depth] = depth + 1;
	for (int i = 0; i <= depth; i++)
		CHECK_EQ(line[i], i + 1);
	CHECK_EQ(line[depth + 1], 0);
	if (depth == 30)
		return depth;
	int st = wait_for(start(deeper, (void *)(intptr_t)(depth + 1)), 0);
	CHECK(WIFEXITED(st));
	CHECK_EQ(line[depth + 1], 0);
	return WEXITSTATUS(st);
}

static int tree(int levels) {
	if (levels == 0)
		return 1;
	int sum = 0;
	pid_t pids[3];
	for (int i = 0; i < 3; i++) {
		fflush(stdout);
		if ((pids[i] = fork()) == 0)
			_exit(tree(levels - 1));
		CHECK(pids[i] > 0);
	}
	for (int i = 2; i >= 0; i--)
		sum += WEXITSTATUS(wait_for(pids[i], 0));
	return sum;
}

int main(void) {
	printf("chain: %d\n", WEXITSTATUS(wait_for(start(deeper, 0), 0)));
	printf("tree: %d leaves\n", tree(4));
	for (int i = 0; i < 400; i++) {
		pid_t pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			_exit(i & 127);
		CHECK_EQ(WEXITSTATUS(wait_for(pid, 0)), i & 127);
	}
	CHECK_ERR(wait(NULL), ECHILD);
	puts("done");
}
