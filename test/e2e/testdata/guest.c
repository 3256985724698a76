/* Copyright 2026 The Kontain Eventing Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * The C program of the tests; its first argument says what it does. It starts
 * in a fraction of the time that a Go program needs. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void drain(void)
{
	char buf[4096];

	while (read(0, buf, sizeof buf) > 0)
		;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	const char *arg = argc > 2 ? argv[2] : "";

	drain();
	if (!strcmp(mode, "print")) {
		printf("%s", arg);
		return 0;
	}
	if (!strcmp(mode, "id")) { /* the event's id, after some milliseconds */
		long ms = atol(arg);
		struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

		nanosleep(&t, NULL);
		printf("%s", getenv("CE_ID"));
		return 0;
	}
	if (!strcmp(mode, "exit")) {
		fprintf(stderr, "the reason why\n");
		return atoi(arg);
	}
	if (!strcmp(mode, "raise")) {
		raise(atoi(arg));
		return 0;
	}
	if (!strcmp(mode, "store")) { /* to an address where nothing is */
		*(volatile int *)0x1230 = 1;
		return 0;
	}
	if (!strcmp(mode, "memory")) {
		for (;;) {
			char *p = malloc(1 << 20);

			if (!p)
				return 7; /* a limit ends the program before this */
			memset(p, 1, 1 << 20);
		}
	}
	if (!strcmp(mode, "spin"))
		for (volatile unsigned n = 0;; n++)
			;
	return 2;
}
