// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: plain computing gives native's results: a large sort, a sieve,
// matrices, 128-bit arithmetic, mathematical functions.
#include "guest.h"
#include <math.h>

static int cmp(const void *a, const void *b) {
	uint32_t x = *(uint32_t *)a, y = *(uint32_t *)b;
	return x < y ? -1 : x > y;
}

int main(void) {
	size_t n = 300000;
	uint32_t *v = malloc(n * sizeof *v), s = 1;
	CHECK(v);
	for (size_t i = 0; i < n; i++)
		v[i] = s = s * 1103515245 + 12345;
	qsort(v, n, sizeof *v, cmp);
	for (size_t i = 1; i < n; i++)
		CHECK(v[i - 1] <= v[i]);
	printf("sorted: %u %u %u\n", v[0], v[n / 2], v[n - 1]);
	uint32_t key = v[777];
	CHECK(*(uint32_t *)bsearch(&key, v, n, sizeof *v, cmp) == key);
	free(v);

	static char sieve[2000000];
	int primes = 0;
	for (int i = 2; i < 2000000; i++) {
		if (sieve[i])
			continue;
		primes++;
		for (long k = (long)i * i; k < 2000000; k += i)
			sieve[k] = 1;
	}
	printf("%d primes\n", primes);

	static double a[100][100], b[100][100], c[100][100];
	for (int i = 0; i < 100; i++)
		for (int k = 0; k < 100; k++)
			a[i][k] = sin(i) + k, b[i][k] = cos(k) - i;
	for (int i = 0; i < 100; i++)
		for (int k = 0; k < 100; k++)
			for (int j = 0; j < 100; j++)
				c[i][j] += a[i][k] * b[k][j];
	printf("%.9f %.9f\n", c[3][7], c[99][50]);
	unsigned __int128 x = 1;
	for (int i = 2; i < 34; i++)
		x *= i;
	printf("%016lx%016lx\n", (unsigned long)(x >> 64), (unsigned long)x);
	printf("%.12f %.12f %.12f\n", exp(1.5), pow(2.5, 3.5), tgamma(5.5));
	return 0;
}
