// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: death by a signal, from the processor, from the program itself and by
// a default action, is reported as that signal, and output before it arrives.
#include "guest.h"
#include <pthread.h>

static volatile int zero;

static void *in_thread(void *arg) {
	(void)arg;
	*(volatile int *)8 = 1;
	return NULL;
}

static void *waits(void *arg) {
	for (;;)
		pause();
	return arg;
}

static void returns(int s, siginfo_t *si, void *c) { (void)s, (void)si, (void)c; }

int main(int argc, char **argv) {
	CHECK(argc == 2);
	const char *how = argv[1];
	printf("dying by %s\n", how);
	fflush(stdout);
	if (!strcmp(how, "segv"))
		*(volatile int *)8 = 1;
	else if (!strcmp(how, "segv-blocked")) {
		// A fault of the thread itself is not held back by its mask.
		sigset_t all;
		sigfillset(&all);
		sigprocmask(SIG_BLOCK, &all, NULL);
		*(volatile int *)8 = 1;
	} else if (!strcmp(how, "segv-ignored")) {
		signal(SIGSEGV, SIG_IGN);
		*(volatile int *)8 = 1;
	} else if (!strcmp(how, "segv-thread")) {
		pthread_t t;
		pthread_create(&t, NULL, in_thread, NULL);
		pthread_join(t, NULL);
	} else if (!strcmp(how, "segv-stack")) {
		// The handler's frame cannot be written.
		on(SIGSEGV, returns, 0);
		__asm__ volatile("mov $16, %rsp\n movb $1, 8");
	} else if (!strcmp(how, "abort"))
		abort();
	else if (!strcmp(how, "fpe"))
		printf("%d\n", 1000 / zero);
	else if (!strcmp(how, "ill"))
		__builtin_trap();
	else if (!strcmp(how, "trap"))
		__asm__ volatile("int3");
	else if (!strcmp(how, "kill"))
		kill(getpid(), SIGKILL);
	else if (!strcmp(how, "term"))
		raise(SIGTERM);
	else if (!strcmp(how, "usr1-thread")) {
		pthread_t t;
		pthread_create(&t, NULL, waits, NULL);
		pthread_kill(t, SIGUSR1);
		pthread_join(t, NULL);
	} else if (!strcmp(how, "rt"))
		raise(SIGRTMIN + 3);
	else if (!strcmp(how, "alarm")) {
		ualarm(2000, 0);
		for (;;)
			;
	} else if (!strcmp(how, "pipe")) {
		int fds[2];
		pipe(fds);
		close(fds[0]);
		write(fds[1], "x", 1);
	}
	printf("still alive\n");
	return 1;
}
