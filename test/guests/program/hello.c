// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: a program starts, writes to both outputs and ends.
#define GUEST_BUFFERED
#include "guest.h"

int main(void) {
	puts("hello from a guest");
	fprintf(stderr, "and this is stderr\n");
	return 0;
}
