// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// MSG_PEEK, MSG_WAITALL, MSG_TRUNC, MSG_DONTWAIT, SO_RCVLOWAT, FIONREAD and vectors on
// a stream. argv[1] is the kind of connection.
#include "sock.h"

static int e[2];

static void *late(void *arg) {
	(void)arg;
	sleep_ms(30);
	CHECK_EQ(send(e[0], "456", 3, 0), 3);
	sleep_ms(30);
	CHECK_EQ(send(e[0], "789", 3, 0), 3);
	return NULL;
}

int main(int argc, char **argv) {
	CHECK(argc == 2);
	scratch();
	connected(argv[1], SOCK_STREAM, e);
	char buf[64] = "";
	int n = -1;
	SHOW(recv(e[1], buf, 8, MSG_DONTWAIT));
	SHOW(recv(e[1], buf, 0, MSG_DONTWAIT));
	CHECK(send(e[0], "hello", 5, 0) == 5);
	CHECK(send(e[0], "world", 5, MSG_MORE) == 5);
	CHECK(set(e[0], IPPROTO_TCP, TCP_NODELAY, 1) == 0 || argv[1][0] != 'i');
	do
		CHECK(ioctl(e[1], FIONREAD, &n) == 0);
	while (n < 10);
	printf("%d to read\n", n);
	SHOW(recv(e[1], buf, 7, MSG_PEEK));
	printf("%.7s\n", buf);
	SHOW(recv(e[1], buf, 64, MSG_PEEK | MSG_DONTWAIT));
	printf("%.10s\n", buf);
	struct iovec v[3] = {{buf, 2}, {buf + 10, 0}, {buf + 20, 5}};
	SHOW(readv(e[1], v, 3));
	printf("%.2s %.5s\n", buf, buf + 20);
	SHOW(recv(e[1], buf, 0, 0));
	SHOW(recv(e[1], buf, 64, 0));
	struct iovec w[3] = {{"ab", 2}, {"", 0}, {"cde", 3}};
	SHOW(writev(e[0], w, 3));
	memset(buf, 0, sizeof buf);
	SHOW(recv(e[1], buf, 5, MSG_WAITALL));
	puts(buf);

	// A whole that comes in pieces.
	pthread_t t;
	CHECK(send(e[0], "123", 3, 0) == 3);
	CHECK(pthread_create(&t, NULL, late, NULL) == 0);
	memset(buf, 0, sizeof buf);
	SHOW(recv(e[1], buf, 9, MSG_WAITALL));
	puts(buf);
	CHECK(pthread_join(t, NULL) == 0);
	CHECK(send(e[0], "123", 3, 0) == 3);
	CHECK(pthread_create(&t, NULL, late, NULL) == 0);
	memset(buf, 0, sizeof buf);
	SHOW(recv(e[1], buf, 9, MSG_WAITALL | MSG_PEEK));
	puts(buf);
	CHECK(pthread_join(t, NULL) == 0);
	SHOW(recv(e[1], buf, 64, 0));

	if (argv[1][0] == 'i') {
		CHECK(send(e[0], "0123456789", 10, 0) == 10);
		until(e[1], POLLIN);
		memset(buf, 'z', sizeof buf);
		SHOW(recv(e[1], buf, 4, MSG_TRUNC));
		printf("%c\n", buf[0]);
		SHOW(recv(e[1], NULL, 2, MSG_TRUNC));
		SHOW(recv(e[1], buf, 64, 0));
		printf("%.4s\n", buf);
		SHOW(set(e[1], SOL_SOCKET, SO_RCVLOWAT, 4));
		CHECK(send(e[0], "abc", 3, 0) == 3);
		do
			CHECK(ioctl(e[1], FIONREAD, &n) == 0);
		while (n < 3);
		printf("below the mark: %#x\n", conditions(e[1]) & POLLIN);
		CHECK(send(e[0], "d", 1, 0) == 1);
		until(e[1], POLLIN);
		SHOW(recv(e[1], buf, 64, 0));
		SHOW(recv(e[1], buf, 64, MSG_OOB));
	}
	// What was sent before the end of data counts as a whole.
	CHECK(send(e[0], "end", 3, 0) == 3 && close(e[0]) == 0);
	SHOW(recv(e[1], buf, 9, MSG_WAITALL));
	SHOW(recv(e[1], buf, 9, MSG_WAITALL));
	SHOW(pread(e[1], buf, 1, 0));
	SHOW(pwrite(e[1], buf, 1, 0));
	SHOW(lseek(e[1], 0, SEEK_CUR));
	return 0;
}
