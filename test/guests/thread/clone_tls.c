// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: clone as a C library calls it: CLONE_SETTLS gives the thread its own
// FS base, PARENT_SETTID and CHILD_CLEARTID write and wake where they should,
// and arch_prctl reads and sets FS and GS.
#include "guest.h"
#include <asm/prctl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>

static char stack[64 << 10] __attribute__((aligned(16)));
static volatile int parent_tid, child_tid = -1, seen_tid;
static volatile long seen;
static struct {
	void *self;
	long value[15];
} block;

// The child makes raw calls only: it has no thread structure of a C library.
static int __attribute__((optimize("O2"))) child(void *arg) {
	long v, tid;
	(void)arg;
	__asm__ volatile("mov %%fs:8, %0" : "=r"(v));
	seen = v;
	__asm__ volatile("syscall" : "=a"(tid) : "a"(SYS_gettid) : "rcx", "r11", "memory");
	seen_tid = tid;
	__asm__ volatile("syscall" ::"a"(SYS_exit), "D"(0) : "rcx", "r11", "memory");
	return 0;
}

int main(void) {
	block.self = &block;
	block.value[0] = 0x1234;
	int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
		    CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
	int tid = clone(child, stack + sizeof stack, flags, NULL, &parent_tid, &block, &child_tid);
	CHECK(tid > 0);
	while (child_tid != 0)
		syscall(SYS_futex, &child_tid, FUTEX_WAIT, child_tid, NULL, NULL, 0);
	CHECK_EQ(parent_tid, tid);
	CHECK_EQ(seen_tid, tid);
	CHECK(tid != getpid());
	printf("the thread saw %#lx\n", seen);

	unsigned long fs, gs;
	CHECK_EQ(syscall(SYS_arch_prctl, ARCH_GET_FS, &fs), 0);
	unsigned long self;
	__asm__("mov %%fs:0, %0" : "=r"(self));
	CHECK(fs == self);
	CHECK_EQ(syscall(SYS_arch_prctl, ARCH_SET_GS, &block), 0);
	CHECK_EQ(syscall(SYS_arch_prctl, ARCH_GET_GS, &gs), 0);
	CHECK(gs == (unsigned long)&block);
	long v;
	__asm__ volatile("mov %%gs:8, %0" : "=r"(v));
	CHECK_EQ(v, 0x1234);
	CHECK_ERR(syscall(SYS_arch_prctl, ARCH_SET_FS, 0xffff800000000000), EPERM);
	CHECK_ERR(syscall(SYS_arch_prctl, 0x7777, 0), EINVAL);
	CHECK_ERR(clone(child, stack + sizeof stack, CLONE_THREAD, NULL), EINVAL);
	printf("clone ok\n");
	return 0;
}
