// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Process groups and sessions, kill(2) of groups, orphans and who takes them.
#include "process.h"
#include <sys/prctl.h>

static int pauses(void *arg) {
	(void)arg;
	for (;;)
		pause();
}

static int in_group(void *arg) {
	CHECK(setpgid(0, (pid_t)(intptr_t)arg) == 0);
	return pauses(NULL);
}

static int to[2];


static int session(void *arg) {
	(void)arg;
	pid_t sid = setsid();
	CHECK(sid == getpid() && getsid(0) == sid && getpgrp() == sid);
	CHECK_ERR(setsid(), EPERM);
	CHECK_ERR(setpgid(0, 0), EPERM);
	CHECK_ERR(setpgid(0, getppid()), EPERM);
	pid_t pid = start(pauses, NULL);
	CHECK(getpgid(pid) == sid && getsid(pid) == sid);
	CHECK(setpgid(pid, pid) == 0 && getpgid(pid) == pid);
	CHECK(setpgid(pid, sid) == 0 && getpgid(pid) == sid);
	CHECK(kill(pid, SIGKILL) == 0);
	wait_for(pid, 0);
	return 0;
}

int main(void) {
	pid_t self = getpid();
	CHECK(getpgid(0) == getpgrp() && getpgid(self) == getpgrp() && getsid(self) == getsid(0));
	CHECK_ERR(getpgid(1 << 30), ESRCH);
	CHECK_ERR(getsid(-1), ESRCH);
	CHECK_ERR(setpgid(-1, 0), EINVAL);
	CHECK_ERR(setpgid(0, -1), EINVAL);
	CHECK_ERR(setpgid(1 << 30, 0), ESRCH);
	CHECK_ERR(kill(-(1 << 30), 0), ESRCH);
	CHECK_ERR(kill(1 << 30, SIGTERM), ESRCH);

	pid_t a = start(in_group, NULL);
	while (getpgid(a) != a)
		sleep_ms(1);
	pid_t b = start(in_group, (void *)(intptr_t)a), c = start(in_group, (void *)(intptr_t)a);
	while (getpgid(b) != a || getpgid(c) != a)
		sleep_ms(1);
	CHECK_ERR(kill(-a, 65), EINVAL);
	CHECK(kill(-a, 0) == 0);
	CHECK_ERR(waitpid(-b, NULL, WNOHANG), ECHILD);
	CHECK(kill(b, SIGUSR1) == 0);
	siginfo_t si;
	CHECK(waitid(P_PGID, a, &si, WEXITED) == 0 && si.si_pid == b);
	CHECK(kill(-a, SIGSTOP) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(waitid(P_PGID, a, &si, WSTOPPED) == 0);
	CHECK(kill(-a, SIGCONT) == 0);
	for (int i = 0; i < 2; i++)
		CHECK(waitid(P_PGID, a, &si, WCONTINUED) == 0);
	CHECK(killpg(a, SIGTERM) == 0);
	show_status("a", wait_for(a, 0));
	show_status("c", wait_for(c, 0));
	CHECK_ERR(killpg(a, 0), ESRCH);

	show_status("session", wait_for(start(session, NULL), 0));

	// A leader's number stays taken by its group: setsid is refused.
	a = start(in_group, NULL);
	while (getpgid(a) != a)
		sleep_ms(1);
	CHECK(kill(a, SIGKILL) == 0);
	wait_for(a, 0);

	// An orphan has another parent; a subreaper gets it, and can wait for it.
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
	int on = 0;
	CHECK(prctl(PR_GET_CHILD_SUBREAPER, &on) == 0 && on == 1);
	CHECK(pipe(to) == 0);
	fflush(stdout);
	if ((a = fork()) == 0) {
		if (fork() == 0) {
			while (getppid() != self)
				sleep_ms(1);
			pid_t me = getpid();
			CHECK(write(to[1], &me, sizeof me) == sizeof me);
			_exit(11);
		}
		_exit(0);
	}
	show_status("between", wait_for(a, 0));
	CHECK(read(to[0], &b, sizeof b) == sizeof b && b != a);
	show_status("orphan", wait_for(b, 0));
	CHECK(prctl(PR_SET_CHILD_SUBREAPER, 0) == 0);

	// A signal at the parent's end.
	CHECK(prctl(PR_SET_PDEATHSIG, 65) == -1);
	fflush(stdout);
	if ((a = fork()) == 0) {
		if (fork() == 0) {
			signal(SIGUSR2, SIG_IGN);
			CHECK(prctl(PR_SET_PDEATHSIG, SIGTERM) == 0);
			int sig = 0;
			CHECK(prctl(PR_GET_PDEATHSIG, &sig) == 0 && sig == SIGTERM);
			CHECK(write(to[1], "r", 1) == 1);
			pauses(NULL);
		}
		char r;
		CHECK(read(to[0], &r, 1) == 1);
		_exit(0);
	}
	wait_for(a, 0);
	// Only that orphan still had the pipe: its end shows in the end of the file.
	close(to[1]);
	CHECK_EQ(read(to[0], &on, 1), 0);
	puts("done");
}
