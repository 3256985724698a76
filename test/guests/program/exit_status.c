// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the exit status arrives, cut to eight bits, and atexit handlers and
// buffered output run before it.
#define GUEST_BUFFERED
#include "guest.h"

static void last(void) { printf("last words\n"); }

int main(int argc, char **argv) {
	CHECK(argc == 2);
	atexit(last);
	printf("status %s\n", argv[1]);
	exit(atoi(argv[1]));
}
