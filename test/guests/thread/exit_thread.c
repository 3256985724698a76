// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: exit_group from a second thread ends a program whose main thread
// waits, with that thread's status.
#include "guest.h"
#include <pthread.h>

static void *end(void *arg) {
	(void)arg;
	sleep_ms(5);
	printf("the second thread ends the program\n");
	exit(7);
}

int main(void) {
	pthread_t t;
	CHECK(pthread_create(&t, NULL, end, NULL) == 0);
	for (;;)
		pause();
}
