// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what the calls about signals answer to wrong arguments: numbers, sizes of
// sets, addresses that cannot be read or written, threads and processes that do not
// exist.
#include "guest.h"
#include <limits.h>

struct action {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

int main(void) {
	drop_privileges();
	uint64_t set = 0, *ro = readonly_page();
	struct action a = {SIG_IGN}, old;
	int pid = getpid(), tid = syscall(SYS_gettid);
	siginfo_t si = {.si_code = SI_QUEUE};
	struct timespec ts = {0, 0};

	SHOW(syscall(SYS_rt_sigaction, 0, NULL, &old, 8));
	SHOW(syscall(SYS_rt_sigaction, 65, NULL, &old, 8));
	SHOW(syscall(SYS_rt_sigaction, -1, NULL, &old, 8));
	SHOW(syscall(SYS_rt_sigaction, SIGKILL, &a, NULL, 8));
	SHOW(syscall(SYS_rt_sigaction, SIGSTOP, &a, NULL, 8));
	SHOW(syscall(SYS_rt_sigaction, SIGKILL, NULL, &old, 8));
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, &a, NULL, 4));
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, &a, NULL, 16));
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, BAD, NULL, 8));
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, NULL, BAD, 8));
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, &a, ro, 8)); // set before the old one is written
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, NULL, &old, 8));
	printf("handler is SIG_IGN: %d\n", old.handler == SIG_IGN);
	a.flags = ~0ul, a.mask = ~0ull;
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, &a, NULL, 8));
	SHOW(syscall(SYS_rt_sigaction, SIGUSR1, NULL, &old, 8));
	printf("flags %lx mask %llx\n", old.flags, (long long)old.mask);

	SHOW(syscall(SYS_rt_sigprocmask, 99, &set, NULL, 8));
	SHOW(syscall(SYS_rt_sigprocmask, 99, NULL, &set, 8));
	SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 4));
	SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, BAD, NULL, 8));
	SHOW(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, BAD, 8));
	set = ~0ull;
	SHOW(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, ro, 8));
	SHOW(syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &set, 8));
	printf("mask %llx\n", (long long)set);
	set = 0;
	SHOW(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &set, NULL, 8));

	SHOW(syscall(SYS_rt_sigpending, BAD, 8));
	SHOW(syscall(SYS_rt_sigpending, ro, 8));
	SHOW(syscall(SYS_rt_sigpending, &set, 9));
	SHOW(syscall(SYS_rt_sigpending, &set, 4));
	SHOW(syscall(SYS_rt_sigpending, BAD, 0));
	SHOW(syscall(SYS_rt_sigsuspend, BAD, 8));
	SHOW(syscall(SYS_rt_sigsuspend, &set, 4));
	SHOW(syscall(SYS_rt_sigtimedwait, BAD, NULL, &ts, 8));
	SHOW(syscall(SYS_rt_sigtimedwait, &set, NULL, BAD, 8));
	SHOW(syscall(SYS_rt_sigtimedwait, &set, NULL, &ts, 4));
	ts.tv_nsec = -1;
	SHOW(syscall(SYS_rt_sigtimedwait, &set, NULL, &ts, 8));
	ts = (struct timespec){-1, 0};
	SHOW(syscall(SYS_rt_sigtimedwait, &set, NULL, &ts, 8));
	ts = (struct timespec){0, 0};
	SHOW(syscall(SYS_rt_sigtimedwait, &set, BAD, &ts, 8));

	SHOW(kill(pid, 0));
	SHOW(kill(pid, 65));
	SHOW(kill(pid, -1));
	SHOW(kill(0x3ffffff, 0));
	SHOW(kill(0x3ffffff, SIGTERM));
	SHOW(kill(INT_MIN, 0));
	SHOW(kill(-0x3ffffff, SIGTERM));
	SHOW(syscall(SYS_tkill, tid, 0));
	SHOW(syscall(SYS_tkill, tid, 65));
	SHOW(syscall(SYS_tkill, 0, 0));
	SHOW(syscall(SYS_tkill, -1, 0));
	SHOW(syscall(SYS_tkill, 0x3ffffff, 0));
	SHOW(syscall(SYS_tgkill, pid, tid, 0));
	SHOW(syscall(SYS_tgkill, pid, tid, 65));
	SHOW(syscall(SYS_tgkill, 0, tid, 0));
	SHOW(syscall(SYS_tgkill, -1, tid, 0));
	SHOW(syscall(SYS_tgkill, pid, 0, 0));
	SHOW(syscall(SYS_tgkill, 0x3ffffff, tid, 0));
	SHOW(syscall(SYS_tgkill, pid, 0x3ffffff, 0));

	SHOW(syscall(SYS_rt_sigqueueinfo, pid, 0, &si));
	SHOW(syscall(SYS_rt_sigqueueinfo, pid, 65, &si));
	SHOW(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR2, BAD));
	SHOW(syscall(SYS_rt_sigqueueinfo, 0x3ffffff, 0, &si));
	SHOW(syscall(SYS_rt_sigqueueinfo, 0x3ffffff, 0, BAD));
	SHOW(syscall(SYS_rt_sigqueueinfo, 0, 0, &si));
	SHOW(syscall(SYS_rt_sigqueueinfo, -1, 0, &si));
	si.si_code = SI_USER; // only the kernel may say so to others
	SHOW(syscall(SYS_rt_sigqueueinfo, 0x3ffffff, SIGUSR1, &si));
	SHOW(syscall(SYS_rt_sigqueueinfo, 1, 0, &si));
	SHOW(syscall(SYS_rt_sigqueueinfo, pid, 0, &si));
	si.si_code = SI_TKILL;
	SHOW(syscall(SYS_rt_sigqueueinfo, 1, 0, &si));
	SHOW(syscall(SYS_rt_tgsigqueueinfo, pid, tid, 0, &si));
	SHOW(syscall(SYS_rt_tgsigqueueinfo, 0, tid, 0, &si));
	SHOW(syscall(SYS_rt_tgsigqueueinfo, pid, 0, 0, &si));
	SHOW(syscall(SYS_rt_tgsigqueueinfo, pid, tid, 65, &si));
	SHOW(syscall(SYS_rt_tgsigqueueinfo, pid, tid, 0, BAD));
	SHOW(syscall(SYS_rt_tgsigqueueinfo, pid, 0x3ffffff, 0, &si));
	return 0;
}
