// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: scheduling policies, priorities and nice values: what may be set without
// privileges, what is read back, what is refused.
#include "guest.h"
#include <sched.h>
#include <sys/resource.h>

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

int main(void) {
	struct rlimit none = {0, 0};
	setrlimit(RLIMIT_NICE, &none);
	setrlimit(RLIMIT_RTPRIO, &none);
	drop_privileges();
	struct sched_param p = {0}, q = {5};
	struct timespec ts;
	for (int policy = -1; policy < 7; policy++) {
		printf("policy %d: max %d min %d", policy, sched_get_priority_max(policy), sched_get_priority_min(policy));
		if (policy != 5) // there is no way back from SCHED_IDLE
			printf(" set %d now", sched_setscheduler(0, policy, &p));
		printf(" %d\n", sched_getscheduler(0));
		sched_setscheduler(0, SCHED_OTHER, &p);
	}
	SHOW(sched_setscheduler(0, SCHED_BATCH, &p));
	SHOW(sched_getscheduler(0));
	SHOW(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &p));
	SHOW(sched_getscheduler(0));
	SHOW(sched_setscheduler(0, SCHED_OTHER, &p)); // the flag does not go without the right
	SHOW(sched_setscheduler(0, SCHED_OTHER, &q));
	SHOW(sched_setscheduler(0, SCHED_FIFO, &q));
	SHOW(sched_setscheduler(0, SCHED_FIFO, &p));
	SHOW(sched_setscheduler(0, SCHED_OTHER, NULL));
	SHOW(sched_setscheduler(0, SCHED_OTHER, BAD));
	SHOW(sched_setscheduler(-1, SCHED_OTHER, &p));
	SHOW(sched_setscheduler(0x3ffffff, SCHED_OTHER, &p));
	SHOW(sched_getscheduler(-1));
	SHOW(sched_getscheduler(0x3ffffff));
	SHOW(sched_getparam(0, NULL));
	SHOW(sched_getparam(0, BAD));
	SHOW(sched_getparam(-1, &p));
	SHOW(sched_getparam(0x3ffffff, &p));
	SHOW(sched_setparam(0, NULL));
	SHOW(sched_setparam(0, &q));
	SHOW(sched_setparam(0x3ffffff, &p));
	SHOW(sched_rr_get_interval(-1, &ts));
	SHOW(sched_rr_get_interval(0x3ffffff, &ts));
	SHOW(sched_rr_get_interval(0, BAD));

	struct attr a;
	memset(&a, 0xff, sizeof a);
	SHOW(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0));
	printf("size %u policy %u nice %d priority %u\n", a.size, a.policy, a.nice, a.priority);
	SHOW(syscall(SYS_sched_getattr, 0, &a, 47, 0));
	SHOW(syscall(SYS_sched_getattr, 0, &a, 4097, 0));
	SHOW(syscall(SYS_sched_getattr, 0, &a, sizeof a, 1));
	SHOW(syscall(SYS_sched_getattr, 0, NULL, sizeof a, 0));
	SHOW(syscall(SYS_sched_getattr, 0, BAD, sizeof a, 0));
	SHOW(syscall(SYS_sched_getattr, -1, &a, sizeof a, 0));
	SHOW(syscall(SYS_sched_getattr, 0x3ffffff, &a, sizeof a, 0));
	memset(&a, 0, sizeof a);
	a.size = sizeof a;
	SHOW(syscall(SYS_sched_setattr, 0, &a, 1));
	SHOW(syscall(SYS_sched_setattr, 0, NULL, 0));
	SHOW(syscall(SYS_sched_setattr, 0, BAD, 0));
	SHOW(syscall(SYS_sched_setattr, -1, &a, 0));
	a.policy = SCHED_FIFO, a.priority = 1;
	SHOW(syscall(SYS_sched_setattr, 0, &a, 0));
	a.policy = 99, a.priority = 0;
	SHOW(syscall(SYS_sched_setattr, 0, &a, 0));
	a.policy = SCHED_OTHER, a.nice = 3;
	SHOW(syscall(SYS_sched_setattr, 0, &a, 0));
	SHOW(getpriority(PRIO_PROCESS, 0));
	SHOW(syscall(SYS_sched_getattr, 0, &a, sizeof a, 0));
	printf("nice %d\n", a.nice);

	SHOW(setpriority(PRIO_PROCESS, 0, 7));
	SHOW(getpriority(PRIO_PROCESS, 0));
	SHOW(setpriority(PRIO_PROCESS, 0, 100));
	SHOW(getpriority(PRIO_PROCESS, 0));
	SHOW(setpriority(PRIO_PROCESS, 0, 10)); // no way back
	SHOW(setpriority(PRIO_PROCESS, 0, -5));
	SHOW(setpriority(3, 0, 0));
	SHOW(setpriority(PRIO_PROCESS, 0x3ffffff, 0));
	SHOW(getpriority(PRIO_PGRP, 0x3ffffff));
	SHOW(getpriority(-1, 0));
	return 0;
}
