// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: masks, pending signals, order and nesting of handlers, SA_NODEFER,
// SA_RESETHAND, sa_mask, ignored signals, and what sigaction says back.
#include "guest.h"

static char trace[256];
static int depth;
static void note(const char *s) { strcat(trace, s); }
static void show(const char *what) {
	printf("%s: %s\n", what, trace);
	trace[0] = 0;
}

static void simple(int s, siginfo_t *si, void *c) {
	(void)c;
	CHECK(si->si_signo == s);
	note(s == SIGUSR1 ? "1" : s == SIGUSR2 ? "2" : s == SIGTERM ? "T" : "?");
}
static void nested(int s, siginfo_t *si, void *c) {
	(void)si, (void)c;
	note(s == SIGUSR1 ? "<1" : "<2");
	if (depth++ == 0)
		raise(SIGUSR2);
	if (depth < 3)
		raise(SIGUSR1);
	note(s == SIGUSR1 ? "1>" : "2>");
}

static void mask(int how, int a, int b) {
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, a);
	if (b)
		sigaddset(&s, b);
	CHECK_EQ(sigprocmask(how, &s, NULL), 0);
}

int main(void) {
	on(SIGUSR1, simple, 0);
	on(SIGUSR2, simple, 0);
	raise(SIGUSR1);
	kill(getpid(), SIGUSR2);
	show("raise and kill");

	mask(SIG_BLOCK, SIGUSR1, SIGUSR2);
	raise(SIGUSR2);
	raise(SIGUSR1);
	raise(SIGUSR1); // not queued twice
	sigset_t p;
	CHECK_EQ(sigpending(&p), 0);
	CHECK(sigismember(&p, SIGUSR1) && sigismember(&p, SIGUSR2) && !sigismember(&p, SIGTERM));
	show("blocked");
	mask(SIG_UNBLOCK, SIGUSR2, 0);
	show("one unblocked");
	mask(SIG_UNBLOCK, SIGUSR1, 0);
	show("both unblocked");

	// Two that become deliverable at once: the handler of the higher number
	// is entered on top of the lower one's.
	mask(SIG_BLOCK, SIGUSR1, SIGUSR2);
	raise(SIGUSR2);
	raise(SIGUSR1);
	mask(SIG_UNBLOCK, SIGUSR1, SIGUSR2);
	show("both at once");

	on(SIGUSR1, nested, 0);
	on(SIGUSR2, nested, 0);
	depth = 0;
	raise(SIGUSR1);
	show("nested");
	on(SIGUSR1, nested, SA_NODEFER);
	depth = 0;
	raise(SIGUSR1);
	show("nested with SA_NODEFER");
	struct sigaction sa = {.sa_sigaction = nested, .sa_flags = SA_SIGINFO}, old;
	sigaddset(&sa.sa_mask, SIGUSR2);
	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	depth = 0;
	raise(SIGUSR1);
	show("nested with SIGUSR2 in sa_mask");
	CHECK_EQ(sigaction(SIGUSR1, NULL, &old), 0);
	CHECK(old.sa_sigaction == nested && (old.sa_flags & SA_SIGINFO) && sigismember(&old.sa_mask, SIGUSR2) &&
	      !sigismember(&old.sa_mask, SIGUSR1));

	on(SIGTERM, simple, SA_RESETHAND);
	raise(SIGTERM);
	show("SA_RESETHAND");
	CHECK_EQ(sigaction(SIGTERM, NULL, &old), 0);
	CHECK(old.sa_handler == SIG_DFL);

	signal(SIGTERM, SIG_IGN);
	raise(SIGTERM);
	mask(SIG_BLOCK, SIGTERM, 0);
	raise(SIGTERM);
	on(SIGTERM, simple, 0);
	mask(SIG_UNBLOCK, SIGTERM, 0);
	show("ignored while blocked, then handled");
	raise(SIGCHLD); // ignored by default
	raise(SIGURG);
	raise(SIGWINCH);
	raise(SIGCONT);
	show("ignored by default");

	// Pending, then ignored: gone.
	mask(SIG_BLOCK, SIGTERM, 0);
	raise(SIGTERM);
	signal(SIGTERM, SIG_IGN);
	sigpending(&p);
	CHECK(!sigismember(&p, SIGTERM));

	sa.sa_sigaction = simple;
	CHECK_ERR(sigaction(SIGKILL, &sa, NULL), EINVAL);
	CHECK_ERR(sigaction(SIGSTOP, &sa, NULL), EINVAL);
	CHECK_ERR(sigaction(0, &sa, NULL), EINVAL);
	CHECK_ERR(sigaction(65, &sa, NULL), EINVAL);
	sigset_t all, now;
	sigfillset(&all);
	CHECK_EQ(sigprocmask(SIG_SETMASK, &all, NULL), 0);
	CHECK_EQ(sigprocmask(SIG_SETMASK, NULL, &now), 0);
	CHECK(!sigismember(&now, SIGKILL) && !sigismember(&now, SIGSTOP) && sigismember(&now, SIGUSR1));
	CHECK_ERR(sigprocmask(77, &all, NULL), EINVAL);
	CHECK_EQ(kill(getpid(), 0), 0);
	CHECK_ERR(kill(getpid(), 99), EINVAL);
	CHECK_ERR(kill(0x3fffffff, SIGUSR1), ESRCH);
	return 0;
}
