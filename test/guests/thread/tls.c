// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: thread-local storage: FS and GS of each thread, arch_prctl to read and set
// them, what it refuses, and that both survive calls, switches and signals.
#include "guest.h"
#include <pthread.h>
#include <stdatomic.h>

#define ARCH_SET_GS 0x1001 // asm/prctl.h, which not every C library has
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define ARCH_GET_GS 0x1004
static __thread volatile long mine = 5;
static __thread volatile long zero;
static atomic_int round_;
static long arch(int code, void *addr) { return syscall(SYS_arch_prctl, code, addr); }
static unsigned long gs0(void) {
	unsigned long v;
	__asm__ volatile("mov %%gs:0, %0" : "=r"(v));
	return v;
}
static void in_signal(int s, siginfo_t *si, void *c) {
	unsigned long gs = 0;
	CHECK_EQ(arch(ARCH_GET_GS, &gs), 0);
	CHECK_EQ(gs0(), *(unsigned long *)gs);
	mine += 1000;
}
static void *thread(void *arg) {
	unsigned long area[2] = {(unsigned long)arg + 100, 0}, fs, gs;
	CHECK_EQ(mine, 5);
	CHECK_EQ(zero, 0);
	CHECK_EQ(arch(ARCH_GET_FS, &fs), 0);
	CHECK_EQ(*(unsigned long *)fs, fs); // the control block points to itself
	CHECK_EQ(arch(ARCH_SET_GS, area), 0);
	for (int i = 0; i < 200; i++) {
		mine = (long)arg, zero = -(long)arg;
		sched_yield();
		CHECK_EQ(mine, (long)arg);
		CHECK_EQ(zero, -(long)arg);
		CHECK_EQ(gs0(), area[0]);
	}
	CHECK_EQ(arch(ARCH_GET_GS, &gs), 0);
	CHECK_EQ(gs, (unsigned long)area);
	raise(SIGUSR1);
	CHECK_EQ(mine, (long)arg + 1000);
	CHECK_EQ(arch(ARCH_SET_GS, 0), 0);
	return NULL;
}

int main(void) {
	on(SIGUSR1, in_signal, 0);
	unsigned long v = 1;
	SHOW(arch(ARCH_GET_GS, &v));
	printf("gs %lx\n", v);
	pthread_t t[5];
	for (long i = 0; i < 5; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, thread, (void *)(i + 1)), 0);
	for (int i = 0; i < 5; i++)
		pthread_join(t[i], NULL);
	SHOW(arch(ARCH_SET_GS, (void *)0x8000000000000000));
	SHOW(arch(ARCH_SET_GS, (void *)0xffff800000000000));
	SHOW(arch(ARCH_SET_FS, (void *)0x8000000000000000));
	SHOW(arch(ARCH_SET_FS, (void *)0xffffffffffffffff));
	SHOW(arch(ARCH_GET_FS, BAD));
	SHOW(arch(ARCH_GET_GS, BAD));
	SHOW(arch(ARCH_GET_GS, readonly_page()));
	SHOW(arch(0, NULL));
	SHOW(arch(0x9999, NULL));
	printf("still %ld\n", mine);
	return 0;
}
