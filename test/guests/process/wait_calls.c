// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// wait4(2) and waitid(2): which child, which change, once each; and what they refuse.
#include "process.h"
#include <sys/resource.h>

static int exits(void *arg) { return (int)(intptr_t)arg; }

static int pauses(void *arg) {
	(void)arg;
	for (;;)
		pause();
}

static void show_info(const char *what, siginfo_t *si, pid_t pid) {
	printf("%s: signo %d code %d pid %s status %d\n", what, si->si_signo, si->si_code,
	       si->si_pid == pid ? "its own" : si->si_pid == 0 ? "0" : "another", si->si_status);
}

int main(void) {
	siginfo_t si;
	int st;
	CHECK_ERR(wait4(-1, NULL, 0, NULL), ECHILD);
	CHECK_ERR(wait4(-1, NULL, WNOHANG, NULL), ECHILD);
	CHECK_ERR(waitid(P_ALL, 0, NULL, WEXITED), ECHILD);

	// Each by number, in an order of our own.
	pid_t a = start(exits, (void *)1), b = start(exits, (void *)2), c = start(exits, (void *)300);
	show_status("b", wait_for(b, 0));
	CHECK_ERR(waitpid(b, &st, 0), ECHILD);
	show_status("c", wait_for(c, 0));
	show_status("a", wait_for(a, __WALL));

	// A look that leaves it, one that does not, and nothing after that.
	a = start(exits, (void *)7);
	for (int i = 0; i < 2; i++) {
		memset(&si, 0xff, sizeof si);
		CHECK(waitid(P_PID, a, &si, WEXITED | WNOWAIT) == 0);
		show_info("look", &si, a);
	}
	CHECK(kill(a, 0) == 0 && kill(a, SIGTERM) == 0); // a zombie can be signalled
	CHECK(waitid(P_PGID, getpgrp(), &si, WEXITED) == 0);
	show_info("take", &si, a);
	CHECK_ERR(waitid(P_PID, a, &si, WEXITED), ECHILD);
	CHECK_ERR(kill(a, 0), ESRCH);

	// Stops and continues.
	a = start(pauses, NULL);
	memset(&si, 0, sizeof si);
	CHECK(waitid(P_PID, a, &si, WEXITED | WSTOPPED | WCONTINUED | WNOHANG) == 0);
	show_info("nothing yet", &si, a);
	CHECK_EQ(waitpid(a, &st, WNOHANG | WUNTRACED), 0);
	CHECK(kill(a, SIGSTOP) == 0);
	CHECK(waitid(P_PID, a, &si, WSTOPPED) == 0);
	show_info("stop", &si, a);
	CHECK_EQ(waitpid(a, &st, WNOHANG | WUNTRACED), 0); // once
	CHECK(kill(a, SIGSTOP) == 0);			   // it is stopped already
	CHECK_EQ(waitpid(a, &st, WNOHANG | WUNTRACED), 0);
	CHECK(kill(a, SIGCONT) == 0);
	show_status("continue", wait_for(a, WCONTINUED));
	CHECK_EQ(waitpid(a, &st, WNOHANG | WCONTINUED), 0);
	CHECK(kill(a, SIGSTOP) == 0);
	show_status("again", wait_for(a, WUNTRACED));
	CHECK(kill(a, SIGKILL) == 0); // also while it is stopped
	CHECK(waitid(P_PID, a, &si, WEXITED) == 0);
	show_info("kill", &si, a);

	// Usage.
	struct rusage ru;
	memset(&ru, 0xff, sizeof ru);
	a = start(exits, NULL);
	CHECK_EQ(wait4(a, &st, 0, &ru), a);
	CHECK(ru.ru_utime.tv_sec == 0 && ru.ru_utime.tv_usec >= 0 && ru.ru_maxrss >= 0);
	CHECK(getrusage(RUSAGE_CHILDREN, &ru) == 0);

	// What is refused.
	a = start(pauses, NULL);
	SHOW(wait4(-1, NULL, 0x1000, NULL));
	SHOW(wait4(INT32_MIN, NULL, 0, NULL));
	SHOW(wait4(1 << 30, NULL, 0, NULL));
	SHOW(wait4(-(1 << 30), NULL, 0, NULL));
	SHOW(syscall(SYS_waitid, 9, 0, NULL, WEXITED, NULL));
	SHOW(syscall(SYS_waitid, P_ALL, 0, NULL, 0, NULL));
	SHOW(syscall(SYS_waitid, P_ALL, 0, NULL, WNOHANG, NULL));
	SHOW(syscall(SYS_waitid, P_ALL, 0, NULL, WEXITED | 0x100, NULL));
	SHOW(syscall(SYS_waitid, P_PID, 0, NULL, WEXITED, NULL));
	SHOW(syscall(SYS_waitid, P_PID, -1, NULL, WEXITED, NULL));
	SHOW(syscall(SYS_waitid, P_PGID, -1, NULL, WEXITED, NULL));
	SHOW(syscall(SYS_waitid, P_PIDFD, -1, NULL, WEXITED, NULL));
	SHOW(syscall(SYS_waitid, P_PIDFD, 0, NULL, WEXITED, NULL));
	SHOW(wait4(-1, NULL, __WCLONE | WNOHANG, NULL));
	SHOW(wait4(-1, BAD, WNOHANG, BAD)); // nothing to store
	CHECK(kill(a, SIGKILL) == 0);
	SHOW(wait4(a, BAD, 0, NULL));
	SHOW(wait4(a, NULL, 0, NULL)); // it is gone all the same
	a = start(exits, NULL);
	SHOW(syscall(SYS_waitid, P_PID, a, BAD, WEXITED, NULL));
	SHOW(syscall(SYS_waitid, P_PID, a, NULL, WEXITED, NULL));
	a = start(exits, NULL);
	SHOW(syscall(SYS_waitid, P_PID, a, NULL, WEXITED, BAD));
	SHOW(wait4(a, NULL, WNOHANG, NULL));
}
