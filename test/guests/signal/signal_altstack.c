// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the alternative stack: where handlers run, what sigaltstack says in them and
// refuses, SS_AUTODISARM, nested handlers, leaving by siglongjmp, an alternative stack
// for each thread.
#include "guest.h"
#include <pthread.h>
#include <setjmp.h>
#include <ucontext.h>

static char one[65536], two[65536];
static sigjmp_buf env;

static const char *where(void) {
	char here;
	return &here >= one && &here < one + sizeof one ? "one" : &here >= two && &here < two + sizeof two ? "two" : "ordinary";
}
static void show(const char *what) {
	stack_t s;
	CHECK_EQ(sigaltstack(NULL, &s), 0);
	printf("%s: on %s, stack %s flags %x size %zu\n", what, where(), s.ss_sp == one ? "one" : s.ss_sp == two ? "two" : "none",
	       (unsigned)s.ss_flags, s.ss_size);
}
static void handler(int s, siginfo_t *si, void *ctx) {
	ucontext_t *uc = ctx;
	show("handler");
	printf("  frame says stack %s flags %x size %zu\n", uc->uc_stack.ss_sp == one ? "one" : uc->uc_stack.ss_sp == two ? "two" : "none",
	       (unsigned)uc->uc_stack.ss_flags, uc->uc_stack.ss_size);
	stack_t other = {.ss_sp = two, .ss_size = sizeof two};
	SHOW(sigaltstack(&other, NULL));
	if (s == SIGUSR1)
		raise(SIGUSR2);
	if (s == SIGRTMIN)
		siglongjmp(env, 1);
}
static void *thread(void *arg) {
	show("new thread");
	stack_t s = {.ss_sp = two, .ss_size = sizeof two};
	CHECK_EQ(sigaltstack(&s, NULL), 0);
	raise(SIGUSR2);
	return NULL;
}
static long volatile grown;
static int deep(int n) { // ends on the guard page
	char volatile b[4096];
	b[0] = n;
	grown++;
	return deep(n + 1) + b[0];
}
static void overflow(int s, siginfo_t *si, void *c) {
	printf("overflow: on %s, code %d, deep %d\n", where(), si->si_code, grown > 100);
	siglongjmp(env, 2);
}

int main(void) {
	on(SIGUSR1, handler, SA_ONSTACK);
	on(SIGUSR2, handler, SA_ONSTACK);
	on(SIGRTMIN, handler, SA_ONSTACK);
	on(SIGRTMIN + 1, handler, 0);
	show("none");
	raise(SIGUSR2);
	stack_t s = {.ss_sp = two, .ss_flags = SS_DISABLE, .ss_size = 1};
	CHECK_EQ(sigaltstack(&s, NULL), 0);
	show("disabled");
	s = (stack_t){.ss_sp = one, .ss_size = 2047};
	SHOW(sigaltstack(&s, NULL));
	s.ss_size = 0;
	SHOW(sigaltstack(&s, NULL));
	s = (stack_t){.ss_sp = one, .ss_size = sizeof one, .ss_flags = 4};
	SHOW(sigaltstack(&s, NULL));
	s.ss_flags = SS_DISABLE | SS_ONSTACK;
	SHOW(sigaltstack(&s, NULL));
	SHOW(syscall(SYS_sigaltstack, BAD, NULL));
	SHOW(syscall(SYS_sigaltstack, NULL, BAD));
	s.ss_flags = SS_ONSTACK; // accepted, and means nothing
	SHOW(sigaltstack(&s, NULL));
	show("set");
	raise(SIGRTMIN + 1);
	raise(SIGUSR1);
	show("after");
	if (!sigsetjmp(env, 1))
		raise(SIGRTMIN);
	show("after a jump");
	pthread_t t;
	CHECK_EQ(pthread_create(&t, NULL, thread, NULL), 0);
	CHECK_EQ(pthread_join(t, NULL), 0);
	show("first thread still");

	s = (stack_t){.ss_sp = one, .ss_size = sizeof one, .ss_flags = (int)(1u << 31)};
	SHOW(sigaltstack(&s, NULL));
	show("autodisarm");
	raise(SIGUSR1); // sets another one in the handler, which is undone
	show("after");
	s.ss_flags = 0;
	CHECK_EQ(sigaltstack(&s, NULL), 0);
	on(SIGSEGV, overflow, SA_ONSTACK);
	if (sigsetjmp(env, 1) == 0)
		deep(0);
	show("after overflow");
	SHOW(syscall(SYS_sigaltstack, &s, readonly_page()));
	return 0;
}
