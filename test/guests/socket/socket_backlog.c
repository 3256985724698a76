// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// A listener whose queue is full: who connects waits, or is told so, until somebody is
// accepted; and what becomes of those who wait when it closes. argv[1] is the family.
#include "sock.h"

static struct addr at;

static void *late(void *arg) {
	(void)arg;
	int s = dial(&at, SOCK_STREAM);
	CHECK(send(s, "late", 4, 0) == 4);
	return (void *)(intptr_t)s;
}

int main(int argc, char **argv) {
	CHECK(argc == 2);
	scratch();
	int un = family(argv[1]) == AF_UNIX;
	int l = listener(argv[1], SOCK_STREAM, 2, &at), s[8], n = 0;
	for (; n < 3; n++)
		s[n] = dial(&at, SOCK_STREAM);
	until(l, POLLIN);
	s[n] = socket(at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	SHOW(connect(s[n], &at.sa, at.len));
	if (un) {
		printf("not connected: %#x\n", conditions(s[n]));
	} else {
		printf("connecting: %#x\n", conditions(s[n]));
		SHOW(connect(s[n], &at.sa, at.len));
		char c;
		SHOW(recv(s[n], &c, 1, 0));
		SHOW(send(s[n], &c, 1, 0));
	}
	struct timeval tv = {0, 30000};
	int w = socket(at.sa.sa_family, SOCK_STREAM, 0);
	CHECK(setsockopt(w, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv) == 0);
	int64_t before = now(CLOCK_MONOTONIC);
	SHOW(connect(w, &at.sa, at.len));
	CHECK(now(CLOCK_MONOTONIC) - before >= 29 * 1000000);
	close(w);
	close(s[n]);

	pthread_t t;
	CHECK(pthread_create(&t, NULL, late, NULL) == 0);
	int c[5];
	for (int i = 0; i < 4; i++)
		CHECK((c[i] = accept(l, NULL, NULL)) >= 0);
	void *last;
	CHECK(pthread_join(t, &last) == 0);
	char buf[8] = "";
	CHECK(recv(c[3], buf, 8, 0) == 4);
	puts(buf);
	SHOW(listen(l, 5));
	for (int i = 0; i < 3; i++)
		s[4 + i] = dial(&at, SOCK_STREAM);
	CHECK(send(s[4], "x", 1, 0) == 1);
	close(l);
	for (int i = 0; i < 3; i++) {
		until(s[4 + i], POLLERR);
		printf("%#x error %d\n", conditions(s[4 + i]), get(s[4 + i], SOL_SOCKET, SO_ERROR));
	}
	w = socket(at.sa.sa_family, SOCK_STREAM, 0);
	SHOW(connect(w, &at.sa, at.len));
	return 0;
}
