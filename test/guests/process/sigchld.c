// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// SIGCHLD: what it tells, when it comes, and how a parent says that it does not care.
#include "process.h"
#include <sched.h>

static volatile sig_atomic_t hits;
static volatile siginfo_t last;

static void handler(int sig, siginfo_t *si, void *uc) {
	(void)sig, (void)uc;
	last = *si;
	hits++;
}

static sigset_t old, none, chld;

static void await_hit(const char *what, pid_t pid) {
	while (hits == 0)
		sigsuspend(&none);
	printf("%s: %d, code %d, pid %s, uid %d, status %d\n", what, hits, last.si_code, last.si_pid == pid ? "its own" : "another",
	       last.si_uid == getuid(), last.si_status);
	hits = 0;
}

static int exits(void *arg) { return (int)(intptr_t)arg; }
static int pauses(void *arg) {
	(void)arg;
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (;;)
		pause();
}

int main(void) {
	sigemptyset(&none);
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	CHECK(sigprocmask(SIG_BLOCK, &chld, &old) == 0);
	on(SIGCHLD, handler, 0);
	pid_t pid = start(exits, (void *)3);
	await_hit("exit", pid);
	show_status("exit", wait_for(pid, 0));
	pid = start(pauses, NULL);
	CHECK(kill(pid, SIGSTOP) == 0);
	await_hit("stop", pid);
	CHECK(kill(pid, SIGCONT) == 0);
	await_hit("continue", pid);
	CHECK(kill(pid, SIGUSR1) == 0);
	await_hit("kill", pid);
	show_status("kill", wait_for(pid, 0));

	on(SIGCHLD, handler, SA_NOCLDSTOP);
	pid = start(pauses, NULL);
	CHECK(kill(pid, SIGSTOP) == 0);
	show_status("quiet stop", wait_for(pid, WUNTRACED));
	CHECK(kill(pid, SIGCONT) == 0);
	show_status("quiet continue", wait_for(pid, WCONTINUED));
	CHECK_EQ(hits, 0);
	CHECK(kill(pid, SIGKILL) == 0);
	await_hit("quiet kill", pid);
	CHECK(WIFSIGNALED(wait_for(pid, 0)));

	// Two that end while it is blocked are one signal.
	pid_t a = start(exits, (void *)1), b = start(exits, (void *)2);
	siginfo_t si;
	CHECK(waitid(P_PID, a, &si, WEXITED | WNOWAIT) == 0 && waitid(P_PID, b, &si, WEXITED | WNOWAIT) == 0);
	while (hits == 0)
		sigsuspend(&none);
	CHECK_EQ(hits, 1);
	hits = 0;
	CHECK(WEXITSTATUS(wait_for(a, 0)) == 1 && WEXITSTATUS(wait_for(b, 0)) == 2);

	// No zombies: wait comes back when the last one is gone.
	on(SIGCHLD, handler, SA_NOCLDWAIT);
	pid = start(exits, NULL);
	CHECK_ERR(waitpid(pid, NULL, 0), ECHILD);
	CHECK(sigprocmask(SIG_SETMASK, &none, NULL) == 0);
	printf("no wait: %d\n", hits > 0);
	hits = 0;
	signal(SIGCHLD, SIG_IGN);
	start(exits, NULL), start(exits, NULL);
	CHECK_ERR(wait(NULL), ECHILD);
	CHECK_EQ(hits, 0);
	signal(SIGCHLD, SIG_DFL);
	CHECK_EQ(WEXITSTATUS(wait_for(start(exits, (void *)4), 0)), 4);

	// Another signal, or none, at the end; such a child is waited for by __WCLONE or __WALL.
	on(SIGUSR1, handler, 0);
	fflush(stdout);
	pid = syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0);
	if (pid == 0)
		_exit(6);
	while (hits == 0)
		sleep_ms(1);
	await_hit("SIGUSR1", pid);
	CHECK_ERR(waitpid(pid, NULL, WNOHANG), ECHILD);
	show_status("__WCLONE", wait_for(pid, __WCLONE));
	pid = syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (pid == 0)
		_exit(8);
	show_status("__WALL", wait_for(pid, __WALL));
	CHECK_EQ(hits, 0);
}
