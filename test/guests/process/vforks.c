// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// vfork(2): the child runs in the parent's memory while the parent waits; what clone(2)
// shares and what it copies; what it refuses.
#include "process.h"
#include <fcntl.h>
#include <linux/sched.h>
#include <sys/stat.h>

static char stack[1 << 16] __attribute__((aligned(16)));
static volatile int seen, order;

// raw makes a child on a stack of its own, in which f runs.
static pid_t raw(unsigned long flags, int (*f)(void), pid_t *parent_tid, pid_t *child_tid) {
	long ret;
	fflush(stdout);
	void **sp = (void **)(stack + sizeof stack) - 2;
	sp[0] = (void *)f;
	register pid_t *r10 __asm__("r10") = child_tid;
	__asm__ volatile("syscall\n\t"
			 "test %%eax, %%eax\n\t"
			 "jnz 1f\n\t"
			 "pop %%rax\n\t"
			 "call *%%rax\n\t"
			 "mov %%eax, %%edi\n\t"
			 "mov $60, %%eax\n\t"
			 "syscall\n\t"
			 "1:"
			 : "=a"(ret)
			 : "0"((long)SYS_clone), "D"(flags), "S"(sp), "d"(parent_tid), "r"(r10)
			 : "rcx", "r11", "memory");
	if (ret < 0) {
		errno = -ret;
		return -1;
	}
	return ret;
}

static int changes(void) {
	seen = 42;
	syscall(SYS_close, 100);
	syscall(SYS_umask, 077);
	syscall(SYS_chdir, "/dev");
	return 5;
}

static int slow(void) {
	struct timespec ts = {0, 20000000};
	syscall(SYS_nanosleep, &ts, NULL);
	order = order * 10 + 1;
	return 0;
}

static const char *where(void) {
	static char b[100];
	CHECK(syscall(SYS_getcwd, b, sizeof b) > 0);
	return b;
}

static volatile sig_atomic_t hits;
static void count(int sig, siginfo_t *si, void *uc) { (void)sig, (void)si, (void)uc, hits++; }

int main(void) {
	umask(022);
	CHECK(chdir("/") == 0);
	CHECK_EQ(dup2(1, 100), 100);
	pid_t pid = vfork();
	if (pid == 0) {
		seen = 1;
		_exit(3);
	}
	CHECK_EQ(seen, 1);
	show_status("vfork", wait_for(pid, 0));

	// The parent waits until the child is gone, whatever signals come.
	on(SIGALRM, count, SA_RESTART);
	alarm(0);
	pid = raw(CLONE_VM | CLONE_VFORK | SIGCHLD, slow, NULL, NULL);
	order = order * 10 + 2;
	printf("order %d\n", order);
	wait_for(pid, 0);

	static const struct {
		const char *name;
		unsigned long flags;
	} cases[] = {
		{"nothing", 0},
		{"CLONE_VM", CLONE_VM},
		{"CLONE_FILES", CLONE_FILES},
		{"CLONE_FS", CLONE_FS},
		{"all", CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_SIGHAND},
		{"spawn", CLONE_VM | CLONE_VFORK},
	};
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		seen = 0;
		umask(022);
		CHECK(chdir("/") == 0);
		CHECK_EQ(dup2(1, 100), 100);
		show_status(cases[i].name, wait_for(raw(cases[i].flags | SIGCHLD, changes, NULL, NULL), 0));
		printf("  memory %d, descriptor %s, umask %03o, in %s\n", seen, fcntl(100, F_GETFD) == -1 ? "closed" : "open", umask(022), where());
	}
	CHECK(chdir("/") == 0);

	// Thread ids are stored on either side.
	static pid_t parent_tid, child_tid;
	pid = raw(CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | SIGCHLD, changes, &parent_tid, &child_tid);
	CHECK(parent_tid == pid && child_tid == 0);
	wait_for(pid, 0);
	pid = raw(CLONE_VM | CLONE_CHILD_SETTID | CLONE_VFORK | SIGCHLD, changes, NULL, &child_tid);
	CHECK_EQ(child_tid, pid);
	wait_for(pid, 0);
	// It is zeroed at the end, while others have the memory.
	pid = raw(CLONE_VM | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD, changes, NULL, &child_tid);
	wait_for(pid, 0);
	CHECK_EQ(child_tid, 0);

	// Refused.
	drop_privileges();
	static const struct {
		const char *name;
		unsigned long flags;
	} bad[] = {
		{"SIGHAND without VM", CLONE_SIGHAND},
		{"THREAD without SIGHAND", CLONE_THREAD | CLONE_VM},
		{"NEWNS and FS", CLONE_NEWNS | CLONE_FS},
		{"NEWPID", CLONE_NEWPID},
		{"NEWNET", CLONE_NEWNET},
		{"NEWUTS", CLONE_NEWUTS},
		{"NEWIPC", CLONE_NEWIPC},
	};
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		errno = 0;
		pid = raw(bad[i].flags | SIGCHLD, changes, NULL, NULL);
		printf("%s: %d errno %d\n", bad[i].name, (int)pid, errno);
	}
	struct clone_args a = {.exit_signal = SIGCHLD};
	SHOW(syscall(SYS_clone3, &a, 32));
	SHOW(syscall(SYS_clone3, BAD, sizeof a));
	SHOW(syscall(SYS_clone3, &a, 5000));
	a.exit_signal = 65;
	SHOW(syscall(SYS_clone3, &a, sizeof a));
	a.exit_signal = SIGCHLD, a.flags = CLONE_CLEAR_SIGHAND | CLONE_SIGHAND | CLONE_VM;
	SHOW(syscall(SYS_clone3, &a, sizeof a));
	a.flags = 0, a.stack = (uint64_t)(uintptr_t)stack;
	SHOW(syscall(SYS_clone3, &a, sizeof a));

	// Handlers are reset when that is asked for.
	on(SIGUSR1, count, 0);
	signal(SIGUSR2, SIG_IGN);
	struct clone_args b = {.exit_signal = SIGCHLD, .flags = CLONE_CLEAR_SIGHAND};
	fflush(stdout);
	pid = syscall(SYS_clone3, &b, sizeof b);
	CHECK(pid >= 0);
	if (pid == 0) {
		struct sigaction one, two;
		CHECK(sigaction(SIGUSR1, NULL, &one) == 0 && sigaction(SIGUSR2, NULL, &two) == 0);
		_exit(one.sa_handler == SIG_DFL && two.sa_handler == SIG_IGN ? 0 : 1);
	}
	show_status("CLONE_CLEAR_SIGHAND", wait_for(pid, 0));
#ifdef SYS_fork
	if ((pid = syscall(SYS_fork)) == 0)
		_exit(12);
	show_status("fork", wait_for(pid, 0));
#endif
}
