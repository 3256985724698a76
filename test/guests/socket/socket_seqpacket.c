// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Seqpacket sockets of AF_UNIX: messages with connections. argv[1] is pair, unix or
// abstract.
#include "sock.h"

int main(int argc, char **argv) {
	CHECK(argc == 2);
	scratch();
	int e[2];
	connected(argv[1], SOCK_SEQPACKET, e);
	char buf[64] = "";
	printf("connected: %#x\n", conditions(e[0]));
	CHECK(send(e[0], "one", 3, 0) == 3 && send(e[0], "two two", 7, MSG_EOR) == 7 && write(e[0], "3", 1) == 1);
	SHOW(send(e[0], "", 0, 0));
	int n = -1;
	CHECK(ioctl(e[1], FIONREAD, &n) == 0);
	printf("%d to read\n", n);
	SHOW(recv(e[1], buf, 64, MSG_WAITALL));
	struct iovec v = {buf, 3};
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_flags = -1};
	SHOW(recvmsg(e[1], &m, MSG_PEEK));
	printf("flags %#x\n", m.msg_flags);
	SHOW(recvmsg(e[1], &m, MSG_TRUNC));
	printf("flags %#x\n", m.msg_flags);
	SHOW(read(e[1], buf, 64));
	SHOW(recv(e[1], buf, 64, 0));
	SHOW(recv(e[1], buf, 64, MSG_DONTWAIT));
	struct addr to = local("unix");
	SHOW(sendto(e[0], "x", 1, 0, &to.sa, to.len));
	SHOW(recv(e[1], buf, 64, 0));
	static char large[300000];
	SHOW(send(e[0], large, sizeof large, 0));
	SHOW(send(e[0], large, 100000, 0));
	SHOW(recv(e[1], large, sizeof large, 0));
	// Full, and room again.
	nonblock(e[0]);
	int sent = 0, got = 0;
	while (send(e[0], large, 1000, 0) == 1000)
		sent++;
	CHECK(errno == EAGAIN);
	printf("full: %#x\n", conditions(e[0]));
	while (recv(e[1], large, sizeof large, MSG_DONTWAIT) == 1000)
		got++;
	CHECK_EQ(got, sent);
	printf("empty: %#x\n", conditions(e[0]));
	signal(SIGPIPE, SIG_IGN);
	CHECK(send(e[0], "left", 4, 0) == 4 && close(e[0]) == 0);
	printf("closed: %#x\n", conditions(e[1]));
	SHOW(recv(e[1], buf, 64, 0));
	SHOW(recv(e[1], buf, 64, 0));
	SHOW(send(e[1], "x", 1, 0));
	int s = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	printf("fresh: %#x\n", conditions(s));
	SHOW(recv(s, buf, 1, 0));
	SHOW(send(s, "x", 1, 0));
	return 0;
}
