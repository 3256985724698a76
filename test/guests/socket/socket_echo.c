// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// An echo server and its clients in threads, on each kind of connection: argv[1] is
// the family, argv[2] the type. Names of both ends, half-close, end of data.
#include "sock.h"

static int type;
static struct addr at;

static void *serve(void *arg) {
	int l = (int)(intptr_t)arg;
	for (int i = 0; i < 3; i++) {
		int c = accept4(l, NULL, NULL, SOCK_CLOEXEC);
		CHECK(c >= 0);
		CHECK_EQ(fcntl(c, F_GETFD), FD_CLOEXEC);
		char buf[65536];
		ssize_t n;
		while ((n = read(c, buf, sizeof buf)) > 0)
			CHECK_EQ(write(c, buf, n), n);
		CHECK_EQ(n, 0);
		close(c);
	}
	return NULL;
}

static void *drain(void *arg) {
	int s = (int)(intptr_t)arg;
	size_t total = 0;
	unsigned sum = 0;
	unsigned char buf[5000];
	ssize_t n;
	while ((n = recv(s, buf, sizeof buf, 0)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			sum = sum * 31 + buf[i];
		total += n;
	}
	CHECK_EQ(n, 0);
	printf("%zu bytes, sum %u\n", total, sum);
	return NULL;
}

int main(int argc, char **argv) {
	CHECK(argc == 3);
	scratch();
	type = strcmp(argv[2], "stream") == 0 ? SOCK_STREAM : SOCK_SEQPACKET;
	int l = listener(argv[1], type, 5, &at);
	CHECK_EQ(get(l, SOL_SOCKET, SO_ACCEPTCONN), 1);
	CHECK_EQ(get(l, SOL_SOCKET, SO_TYPE), type);
	printf("domain %d\n", get(l, SOL_SOCKET, SO_DOMAIN));
	pthread_t server, reader;
	CHECK(pthread_create(&server, NULL, serve, (void *)(intptr_t)l) == 0);

	int s = dial(&at, type);
	struct addr peer = {.len = sizeof peer.ss};
	CHECK(getpeername(s, &peer.sa, &peer.len) == 0);
	CHECK_EQ(peer.len, at.len);
	CHECK(memcmp(&peer.ss, &at.ss, at.len) == 0);
	printf("peer of %d bytes, own name of %d\n", peer.len, name_of(s).len);
	CHECK_EQ(send(s, "hello", 5, 0), 5);
	char buf[64];
	CHECK_EQ(recv(s, buf, sizeof buf, 0), 5);
	CHECK(memcmp(buf, "hello", 5) == 0);
	CHECK(shutdown(s, SHUT_WR) == 0);
	CHECK_EQ(recv(s, buf, sizeof buf, 0), 0);
	close(s);

	// Much more than fits in the buffers, both ways at once.
	s = dial(&at, type);
	CHECK(pthread_create(&reader, NULL, drain, (void *)(intptr_t)s) == 0);
	static unsigned char big[1 << 20];
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = i * 7 + (i >> 9);
	size_t piece = type == SOCK_STREAM ? sizeof big : 30000;
	for (size_t i = 0; i < sizeof big; i += piece) {
		size_t n = sizeof big - i < piece ? sizeof big - i : piece;
		CHECK_EQ(send(s, big + i, n, 0), n);
	}
	CHECK(shutdown(s, SHUT_WR) == 0);
	CHECK(pthread_join(reader, NULL) == 0);
	close(s);

	s = dial(&at, type);
	close(s);
	CHECK(pthread_join(server, NULL) == 0);
	close(l);
	if (at.sa.sa_family == AF_UNIX && at.un.sun_path[0]) {
		s = socket(AF_UNIX, type, 0);
		CHECK_ERR(connect(s, &at.sa, at.len), ECONNREFUSED);
		CHECK(unlink(at.un.sun_path) == 0);
		CHECK_ERR(connect(s, &at.sa, at.len), ENOENT);
	} else {
		s = socket(at.sa.sa_family, type, 0);
		CHECK_ERR(connect(s, &at.sa, at.len), ECONNREFUSED);
	}
	puts("done");
	return 0;
}
