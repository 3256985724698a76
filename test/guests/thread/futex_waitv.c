// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: futex_waitv: which of several futexes was woken, values that differ, timeouts
// on both clocks, signals, wrong arguments.
#include "guest.h"
#include <pthread.h>
#include <stdatomic.h>

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
struct waitv {
	uint64_t val, uaddr;
	uint32_t flags, reserved;
};
static atomic_uint words[128];
static struct waitv w[129];
static long waitv(void *v, unsigned n, unsigned flags, const void *ts, int clock) {
	return syscall(SYS_futex_waitv, v, n, flags, ts, clock);
}
static void *wakes(void *arg) {
	sleep_ms(5);
	long which = (long)arg;
	while (syscall(SYS_futex, &words[which], 1 | 128, 1, NULL, NULL, 0) != 1)
		sleep_ms(1);
	return NULL;
}
static void hit(int s, siginfo_t *si, void *c) { (void)s, (void)si, (void)c; }

int main(void) {
	for (int i = 0; i < 129; i++)
		w[i] = (struct waitv){0, (uintptr_t)&words[i % 128], 2 | 128, 0};
	for (long which = 0; which < 128; which += 63) {
		pthread_t t;
		pthread_create(&t, NULL, wakes, (void *)which);
		printf("woken: %ld\n", waitv(w, 128, 0, NULL, 0));
		pthread_join(t, NULL);
	}
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec = (ts.tv_nsec + 3000000) % 1000000000;
	ts.tv_sec += ts.tv_nsec < 3000000;
	SHOW(waitv(w, 3, 0, &ts, CLOCK_MONOTONIC));
	SHOW(waitv(w, 3, 0, &ts, CLOCK_REALTIME));
	SHOW(waitv(w, 3, 0, &ts, CLOCK_BOOTTIME));
	words[2] = 7;
	SHOW(waitv(w, 3, 0, NULL, 0));
	words[2] = 0;
	SHOW(waitv(w, 0, 0, NULL, 0));
	SHOW(waitv(w, 129, 0, NULL, 0));
	SHOW(waitv(w, 3, 1, NULL, 0));
	SHOW(waitv(NULL, 3, 0, NULL, 0));
	SHOW(waitv(BAD, 3, 0, NULL, 0));
	SHOW(waitv(w, 3, 0, BAD, 0));
	ts.tv_nsec = -1;
	SHOW(waitv(w, 3, 0, &ts, CLOCK_MONOTONIC));
	w[1].flags = 128;
	SHOW(waitv(w, 3, 0, NULL, 0));
	w[1].flags = 0x40 | 2;
	SHOW(waitv(w, 3, 0, NULL, 0));
	w[1].flags = 2 | 128, w[1].reserved = 1;
	SHOW(waitv(w, 3, 0, NULL, 0));
	w[1].reserved = 0, w[1].uaddr++;
	SHOW(waitv(w, 3, 0, NULL, 0));
	w[1].uaddr = 64;
	SHOW(waitv(w, 3, 0, NULL, 0));
	w[1].uaddr = (uintptr_t)&words[1], w[1].val = 1ull << 32;
	SHOW(waitv(w, 3, 0, NULL, 0));
	w[1].val = 0;
	on(SIGALRM, hit, 0);
	ualarm(3000, 3000);
	SHOW(waitv(w, 3, 0, NULL, 0));
	ualarm(0, 0);
	return 0;
}
