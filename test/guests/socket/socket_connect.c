// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Connecting without waiting: what connect says the first, the second and the third
// time, what poll and an edge-triggered epoll see of it, refusals, SO_ERROR. argv[1] is
// the family.
#include "sock.h"

static int ep;

static void watch(int fd, int events) {
	struct epoll_event e = {.events = events, .data.fd = fd};
	CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == 0);
}

// events prints what epoll has to say, in the order of descriptors.
static void events(const char *what, int timeout) {
	struct epoll_event e[8];
	int n = epoll_wait(ep, e, 8, timeout);
	printf("%s: %d", what, n);
	for (int fd = 0; fd < 64; fd++)
		for (int i = 0; i < n; i++)
			if (e[i].data.fd == fd)
				printf(" %#x", e[i].events);
	puts("");
}

int main(int argc, char **argv) {
	CHECK(argc == 2);
	struct addr at;
	ep = epoll_create1(0);
	int l = listener(argv[1], SOCK_STREAM, 5, &at), s = socket(at.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	nonblock(l);
	SHOW(accept(l, NULL, NULL));
	watch(l, EPOLLIN | EPOLLET);
	watch(s, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	events("fresh", 0);
	SHOW(connect(s, &at.sa, at.len));
	until(s, POLLOUT);
	until(l, POLLIN);
	events("connecting", 0);
	SHOW(get(s, SOL_SOCKET, SO_ERROR));
	SHOW(connect(s, &at.sa, at.len));
	SHOW(connect(s, &at.sa, at.len));
	int c = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	CHECK(c >= 0);
	printf("flags %#x\n", fcntl(c, F_GETFL));
	SHOW(accept(l, NULL, NULL));
	events("accepted", 0);
	watch(c, EPOLLOUT | EPOLLET);
	events("only for room", 0);
	CHECK(send(s, "abc", 3, 0) == 3);
	until(c, POLLIN);
	events("data for who waits for room", 0);
	char buf[8];
	CHECK(recv(c, buf, 8, 0) == 3);
	CHECK(send(c, "1", 1, 0) == 1);
	until(s, POLLIN);
	events("data", 0);
	events("the same data", 0);
	CHECK(send(c, "2", 1, 0) == 1);
	while (recv(s, buf, 8, MSG_PEEK) < 2)
		;
	events("more data", 0);
	CHECK(recv(s, buf, 1, 0) == 1);
	events("some was read", 0);
	CHECK(shutdown(c, SHUT_WR) == 0);
	until(s, POLLRDHUP);
	events("half closed", 0);
	close(c);
	events("closed", 0);
	close(s);

	// Nobody listens.
	close(l);
	s = socket(at.sa.sa_family, SOCK_STREAM, 0);
	SHOW(connect(s, &at.sa, at.len));
	printf("refused: %#x error %d\n", conditions(s), get(s, SOL_SOCKET, SO_ERROR));
	nonblock(s);
	watch(s, EPOLLIN | EPOLLOUT | EPOLLET);
	SHOW(connect(s, &at.sa, at.len));
	until(s, POLLERR);
	events("refused", 0);
	SHOW(get(s, SOL_SOCKET, SO_ERROR));
	printf("told: %#x\n", conditions(s));
	SHOW(connect(s, &at.sa, at.len));
	SHOW(connect(s, &at.sa, at.len));
	until(s, POLLERR);
	SHOW(connect(s, &at.sa, at.len));
	SHOW(connect(s, &at.sa, at.len));
	until(s, POLLERR);
	SHOW(recv(s, buf, 1, 0));
	SHOW(recv(s, buf, 1, 0));
	SHOW(send(s, "x", 1, MSG_NOSIGNAL));
	// The same socket, once somebody listens.
	close(s);
	l = listener(argv[1], SOCK_STREAM, 5, &at);
	s = socket(at.sa.sa_family, SOCK_STREAM, 0);
	struct addr other = at;
	if (other.sa.sa_family == AF_INET)
		other.in.sin_port = htons(1);
	else
		other.in6.sin6_port = htons(1);
	SHOW(connect(s, &other.sa, other.len));
	SHOW(connect(s, &at.sa, at.len));
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	SHOW(connect(s, &none, sizeof none));
	SHOW(send(s, "x", 1, MSG_NOSIGNAL) == -1);
	c = accept(l, NULL, NULL);
	SHOW(recv(c, buf, 1, 0));
	return 0;
}
