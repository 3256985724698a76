// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: each thread keeps its own vector, x87 and rounding state while others
// compute in between: every thread's result is what it is alone.
#include "guest.h"
#include <fenv.h>
#include <math.h>
#include <pthread.h>

static double alone[6];

static double compute(int id, int rounds) {
	static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
	fesetround(modes[id % 4]);
	double sum = 0;
	long double x87 = id;
	for (int i = 1; i < rounds; i++) {
		sum += sqrt(i) / (id + 3);
		x87 += 1.0L / i;
	}
	CHECK_EQ(fegetround(), modes[id % 4]);
	fesetround(FE_TONEAREST);
	return sum + (double)x87;
}

static void __attribute__((target("avx512f"))) wide(int id, int rounds) {
	typedef double v8 __attribute__((vector_size(64)));
	v8 v = {1, 2, 3, 4, 5, 6, 7, 8}, d = v * 0 + id;
	for (int i = 0; i < rounds; i++) {
		v += d;
		__asm__ volatile("" : "+v"(v), "+v"(d));
	}
	for (int k = 0; k < 8; k++)
		CHECK(v[k] == k + 1 + (double)id * rounds);
}

static void __attribute__((target("avx2"))) narrow(int id, int rounds) {
	typedef double v4 __attribute__((vector_size(32)));
	v4 v = {1, 2, 3, 4}, d = v * 0 + id;
	for (int i = 0; i < rounds; i++) {
		v += d;
		__asm__ volatile("" : "+x"(v), "+x"(d));
	}
	for (int k = 0; k < 4; k++)
		CHECK(v[k] == k + 1 + (double)id * rounds);
}

static void *thread(void *arg) {
	int id = (int)(long)arg;
	for (int i = 0; i < 3; i++) {
		CHECK(compute(id, 1000000) == alone[id]);
		if (__builtin_cpu_supports("avx2"))
			narrow(id, 2000000);
		if (__builtin_cpu_supports("avx512f"))
			wide(id, 2000000);
	}
	return NULL;
}

int main(void) {
	__builtin_cpu_init();
	for (int i = 0; i < 6; i++)
		alone[i] = compute(i, 1000000);
	pthread_t t[6];
	for (long i = 0; i < 6; i++)
		CHECK_EQ(pthread_create(&t[i], NULL, thread, (void *)i), 0);
	for (int i = 0; i < 6; i++)
		CHECK_EQ(pthread_join(t[i], NULL), 0);
	printf("nearest %.10f up %.10f down %.10f\n", alone[0], alone[1], alone[2]);
	return 0;
}
