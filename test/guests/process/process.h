// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Shared by the guests about processes.
#ifndef PROCESS_H
#define PROCESS_H
#include "../guest.h"
#include <sys/wait.h>

// start runs f in a child, which ends with what f returns.
__attribute__((unused)) static pid_t start(int (*f)(void *), void *arg) {
	fflush(stdout);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		int status = f(arg);
		fflush(stdout);
		_exit(status);
	}
	return pid;
}

// wait_for waits for one child, through interruptions, and returns its status.
__attribute__((unused)) static int wait_for(pid_t pid, int options) {
	int status = -1;
	pid_t got;
	while ((got = waitpid(pid, &status, options)) == -1 && errno == EINTR)
		;
	CHECK_EQ(got, pid);
	return status;
}

// show_status prints how a child ended, stopped or went on.
__attribute__((unused)) static void show_status(const char *what, int st) {
	if (WIFEXITED(st))
		printf("%s: exited %d\n", what, WEXITSTATUS(st));
	else if (WIFSIGNALED(st))
		printf("%s: signal %d\n", what, WTERMSIG(st));
	else if (WIFSTOPPED(st))
		printf("%s: stopped by %d\n", what, WSTOPSIG(st));
	else if (WIFCONTINUED(st))
		printf("%s: continued\n", what);
	else
		printf("%s: %#x\n", what, st);
}

#endif
