// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: what CPUID offers works: the vector extensions it names run and give
// right results, and XGETBV agrees with them. Prints nothing of the processor.
#include "guest.h"
#include <cpuid.h>

static void __attribute__((target("avx2,fma"))) avx2(void) {
	typedef int v8 __attribute__((vector_size(32)));
	volatile v8 a = {1, 2, 3, 4, 5, 6, 7, 8}, b = {8, 7, 6, 5, 4, 3, 2, 1};
	v8 c = a + b;
	for (int i = 0; i < 8; i++)
		CHECK_EQ(c[i], 9);
	volatile double x = 3;
	CHECK(__builtin_fma(x, x, x) == 12);
}
static void __attribute__((target("avx512f"))) avx512(void) {
	typedef int v16 __attribute__((vector_size(64)));
	volatile v16 a = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
	v16 c = a * a;
	for (int i = 0; i < 16; i++)
		CHECK_EQ(c[i], (i + 1) * (i + 1));
}
static void __attribute__((target("bmi2,popcnt,sse4.2"))) scalar(void) {
	volatile uint64_t x = 0xf0f0;
	CHECK_EQ(__builtin_popcountll(x), 8);
	CHECK(__builtin_ia32_crc32di(0, x) != 0);
}

int main(void) {
	unsigned a, b, c, d;
	CHECK(__get_cpuid(1, &a, &b, &c, &d));
	CHECK((d & bit_SSE2) && (d & bit_FXSAVE));
	__builtin_cpu_init();
	if (c & (1u << 27)) { // OSXSAVE
		unsigned lo, hi;
		__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
		CHECK((lo & 3) == 3);
		if (__builtin_cpu_supports("avx"))
			CHECK((lo & 6) == 6);
		if (__builtin_cpu_supports("avx512f"))
			CHECK((lo & 0xe6) == 0xe6);
	}
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		avx2();
	if (__builtin_cpu_supports("avx512f"))
		avx512();
	if (__builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("sse4.2"))
		scalar();
	uint64_t t1 = __builtin_ia32_rdtsc(), t2 = __builtin_ia32_rdtsc();
	CHECK(t2 >= t1);
	printf("the processor keeps its promises\n");
	return 0;
}
