// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: affinity: sizes of sets, reading what was set, sets without a processor, threads
// of others; getcpu. How many processors there are is not compared.
#include "guest.h"
#include <pthread.h>
#include <sched.h>

static long get(int pid, size_t n, void *s) { return syscall(SYS_sched_getaffinity, pid, n, s); }
static long set(int pid, size_t n, void *s) { return syscall(SYS_sched_setaffinity, pid, n, s); }

int main(void) {
	unsigned long s[128] = {0}, mine[128] = {0};
	long n = get(0, sizeof s, s);
	CHECK(n >= 8 && n % 8 == 0);
	SHOW(get(0, 0, s));
	SHOW(get(0, 1, s));
	SHOW(get(0, 7, s));
	SHOW(get(0, sizeof s, BAD));
	SHOW(get(0, sizeof s - 1, s));
	SHOW(get(-1, sizeof s, s));
	SHOW(get(0x3ffffff, sizeof s, s));
	CHECK_EQ(get(getpid(), sizeof s, mine), n);
	int first = -1;
	for (int i = 0; i < n * 8 && first < 0; i++)
		if (mine[i / 64] >> i % 64 & 1)
			first = i;
	CHECK(first >= 0);
	memset(s, 0, sizeof s);
	s[first / 64] = 1ul << first % 64;
	SHOW(set(0, sizeof s, s));
	unsigned cpu = -1, node = -1;
	CHECK_EQ(syscall(SYS_getcpu, &cpu, &node, NULL), 0);
	CHECK_EQ(cpu, first);
	CHECK_EQ(sched_getcpu(), first);
	memset(s, 0, sizeof s);
	CHECK_EQ(get(0, sizeof s, s), n);
	CHECK(CPU_COUNT_S(n, (cpu_set_t *)s) == 1 && CPU_ISSET_S(first, n, (cpu_set_t *)s));
	memset(s, 0, sizeof s);
	SHOW(set(0, sizeof s, s));
	s[127] = 1ul << 63;
	SHOW(set(0, sizeof s, s)); // no such processor
	SHOW(set(0, 0, s));
	SHOW(set(0, 8, BAD));
	memset(s, 0xff, sizeof s);
	SHOW(set(0, sizeof s, s));
	SHOW(set(-1, sizeof s, s));
	SHOW(set(0x3ffffff, sizeof s, s));
	SHOW(syscall(SYS_getcpu, NULL, NULL, NULL));
	SHOW(syscall(SYS_getcpu, BAD, NULL, NULL));
	SHOW(syscall(SYS_getcpu, NULL, BAD, NULL));
	SHOW(sched_yield());
	return 0;
}
