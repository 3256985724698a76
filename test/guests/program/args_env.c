// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: arguments and environment arrive byte for byte and in order, and
// argv[0] is the program's path.
#define GUEST_BUFFERED
#include "guest.h"

extern char **environ;

int main(int argc, char **argv) {
	printf("argc %d\n", argc);
	CHECK(argc >= 1 && argv[0][0] == '/');
	for (int i = 1; i < argc; i++)
		printf("argv[%d] = [%s] %zu bytes\n", i, argv[i], strlen(argv[i]));
	CHECK(argv[argc] == NULL);
	int n = 0;
	for (char **e = environ; *e; e++, n++)
		printf("env[%d] = [%s]\n", n, *e);
	printf("A is %s\n", getenv("A") ? getenv("A") : "unset");
	CHECK(setenv("NEW", "value", 1) == 0 && strcmp(getenv("NEW"), "value") == 0);
	return 0;
}
