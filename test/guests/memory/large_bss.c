// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: a large zero-initialised segment is zero, is writable to its last
// byte, and costs nothing where it is not touched (200 MB under a limit of 64).
#include "guest.h"

static char big[200 << 20];
static char initialised[100000] = {1, 2, 3};
static char after[5000];

int main(void) {
	for (size_t i = 0; i < sizeof big; i += 8 << 20)
		CHECK(big[i] == 0);
	for (size_t i = 0; i < sizeof after; i++)
		CHECK(after[i] == 0);
	CHECK(initialised[2] == 3 && initialised[3] == 0);
	big[0] = 1;
	big[sizeof big - 1] = 2;
	initialised[99999] = 4;
	CHECK(big[1] == 0 && big[0] + big[sizeof big - 1] + initialised[99999] == 7);
	printf("%zu MB of zeros\n", sizeof big >> 20);
	return 0;
}
