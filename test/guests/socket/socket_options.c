// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Options of sockets: what is there at first, what a change does, and errors.
#include "sock.h"

static void table(const char *what, int fd) {
	printf("%s\n", what);
#define OPT(level, name)                                                         \
	do {                                                                     \
		int before = get(fd, level, name), ok = set(fd, level, name, 1); \
		int err = ok == 0 ? 0 : errno, one = get(fd, level, name);       \
		ok = set(fd, level, name, 77);                                   \
		int err2 = ok == 0 ? 0 : errno, more = get(fd, level, name);     \
		int err3 = set(fd, level, name, -1) == 0 ? 0 : errno;            \
		printf("  %s: %d; 1: %d %d; 77: %d %d; -1: %d %d\n", #name, before, err, one, err2, more, err3, get(fd, level, name)); \
	} while (0)
	OPT(SOL_SOCKET, SO_REUSEADDR);
	if (get(fd, SOL_SOCKET, SO_DOMAIN) != AF_UNIX) // there it depends on the version of Linux
		OPT(SOL_SOCKET, SO_REUSEPORT);
	OPT(SOL_SOCKET, SO_KEEPALIVE);
	OPT(SOL_SOCKET, SO_BROADCAST);
	OPT(SOL_SOCKET, SO_DONTROUTE);
	OPT(SOL_SOCKET, SO_OOBINLINE);
	OPT(SOL_SOCKET, SO_TYPE);
	OPT(SOL_SOCKET, SO_DOMAIN);
	OPT(SOL_SOCKET, SO_PROTOCOL);
	OPT(SOL_SOCKET, SO_ERROR);
	OPT(SOL_SOCKET, SO_ACCEPTCONN);
	OPT(SOL_SOCKET, 9999);
	OPT(IPPROTO_TCP, TCP_NODELAY);
	OPT(IPPROTO_TCP, TCP_CORK);
	OPT(IPPROTO_TCP, TCP_KEEPIDLE);
	OPT(IPPROTO_TCP, TCP_KEEPINTVL);
	OPT(IPPROTO_TCP, TCP_KEEPCNT);
	OPT(IPPROTO_TCP, TCP_SYNCNT);
	OPT(IPPROTO_TCP, TCP_USER_TIMEOUT);
	OPT(IPPROTO_TCP, TCP_DEFER_ACCEPT);
	OPT(IPPROTO_TCP, 9999);
	OPT(IPPROTO_IP, IP_TOS);
	OPT(IPPROTO_IP, IP_TTL);
	OPT(IPPROTO_IP, IP_RECVERR);
	OPT(IPPROTO_IP, IP_PKTINFO);
	OPT(IPPROTO_IP, IP_RECVTTL);
	OPT(IPPROTO_IP, IP_RECVTOS);
	OPT(IPPROTO_IP, 9999);
	OPT(IPPROTO_IPV6, IPV6_V6ONLY);
	OPT(IPPROTO_IPV6, IPV6_RECVPKTINFO);
	OPT(IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
	OPT(IPPROTO_IPV6, IPV6_RECVTCLASS);
	OPT(IPPROTO_IPV6, IPV6_TCLASS);
	OPT(IPPROTO_IPV6, IPV6_UNICAST_HOPS);
	OPT(9999, 1);
}

int main(void) {
	drop_privileges();
	int tcp = socket(AF_INET, SOCK_STREAM, 0), tcp6 = socket(AF_INET6, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0);
	int un = socket(AF_UNIX, SOCK_STREAM, 0), dgram = socket(AF_UNIX, SOCK_DGRAM, 0), seq = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	table("tcp", tcp);
	table("tcp6", tcp6);
	table("udp", udp);
	table("unix", un);
	table("unix datagram", dgram);
	printf("seqpacket %d\n", get(seq, SOL_SOCKET, SO_TYPE));

	int sizes[] = {0, 1, 3000, 10000, 50000, 100000};
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		CHECK(set(tcp, SOL_SOCKET, SO_SNDBUF, sizes[i]) == 0 && set(tcp, SOL_SOCKET, SO_RCVBUF, sizes[i]) == 0);
		printf("buffers of %d: %d %d\n", sizes[i], get(tcp, SOL_SOCKET, SO_SNDBUF), get(tcp, SOL_SOCKET, SO_RCVBUF));
	}
	SHOW(set(tcp, SOL_SOCKET, SO_SNDBUFFORCE, 5000));
	SHOW(set(tcp, SOL_SOCKET, SO_DEBUG, 1));
	SHOW(set(tcp, SOL_SOCKET, SO_PRIORITY, 3));
	SHOW(set(tcp, SOL_SOCKET, SO_PRIORITY, 7));
	SHOW(set(un, SOL_SOCKET, SO_PASSCRED, 5));
	SHOW(get(un, SOL_SOCKET, SO_PASSCRED));
	SHOW(set(tcp, SOL_SOCKET, SO_RCVLOWAT, 0));
	SHOW(get(tcp, SOL_SOCKET, SO_RCVLOWAT));

	struct linger l = {5, 7};
	socklen_t n = sizeof l;
	SHOW(setsockopt(tcp, SOL_SOCKET, SO_LINGER, &l, 4));
	SHOW(setsockopt(tcp, SOL_SOCKET, SO_LINGER, &l, sizeof l));
	CHECK(getsockopt(tcp, SOL_SOCKET, SO_LINGER, &l, &n) == 0);
	printf("linger %d %d, %u bytes\n", l.l_onoff, l.l_linger, n);
	struct timeval tv[] = {{1, 500000}, {0, 0}, {1, 1000000}, {-1, 0}, {0, -1}};
	for (size_t i = 0; i < sizeof tv / sizeof *tv; i++) {
		SHOW(setsockopt(tcp, SOL_SOCKET, SO_RCVTIMEO, &tv[i], sizeof tv[i]));
		struct timeval back = {9, 9};
		n = sizeof back;
		CHECK(getsockopt(tcp, SOL_SOCKET, SO_RCVTIMEO, &back, &n) == 0);
		if (i != 3) // rounded to the kernel's clock
			printf("time limit %ld.%06ld\n", (long)back.tv_sec, (long)back.tv_usec);
	}
	SHOW(setsockopt(tcp, SOL_SOCKET, SO_SNDTIMEO, &tv[0], 8));

	// Lengths and places.
	int v = 1;
	unsigned char byte = 9;
	SHOW(setsockopt(tcp, SOL_SOCKET, SO_KEEPALIVE, &v, 3));
	SHOW(setsockopt(tcp, SOL_SOCKET, SO_KEEPALIVE, &v, 8 - 4));
	SHOW(setsockopt(tcp, SOL_SOCKET, SO_KEEPALIVE, &v, -1));
	SHOW(setsockopt(tcp, SOL_SOCKET, SO_KEEPALIVE, BAD, 4));
	SHOW(setsockopt(tcp, IPPROTO_IP, IP_TTL, &byte, 1));
	SHOW(get(tcp, IPPROTO_IP, IP_TTL));
	SHOW(setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &byte, 1));
	n = 2;
	v = 0x55555555;
	SHOW(getsockopt(tcp, SOL_SOCKET, SO_TYPE, &v, &n));
	printf("%#x in %u\n", v, n);
	n = 100;
	SHOW(getsockopt(tcp, SOL_SOCKET, SO_TYPE, &v, &n));
	printf("%d in %u\n", v, n);
	n = -1;
	SHOW(getsockopt(tcp, SOL_SOCKET, SO_TYPE, &v, &n));
	n = 4;
	SHOW(getsockopt(tcp, SOL_SOCKET, SO_TYPE, BAD, &n));
	SHOW(getsockopt(tcp, SOL_SOCKET, SO_TYPE, &v, BAD));
	SHOW(getsockopt(999, SOL_SOCKET, SO_TYPE, &v, &n));
	SHOW(getsockopt(0, SOL_SOCKET, SO_TYPE, &v, &n));
	SHOW(setsockopt(0, SOL_SOCKET, SO_KEEPALIVE, &v, n));

	char name[16] = "";
	n = sizeof name;
	SHOW(setsockopt(tcp, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
	SHOW(getsockopt(tcp, IPPROTO_TCP, TCP_CONGESTION, name, &n));
	printf("%s %u\n", name, n);
	SHOW(setsockopt(tcp, IPPROTO_TCP, TCP_CONGESTION, "nosuch", 6));
	struct tcp_info info;
	n = sizeof info;
	CHECK(getsockopt(tcp, IPPROTO_TCP, TCP_INFO, &info, &n) == 0);
	printf("state %d\n", info.tcpi_state);
	CHECK(listen(tcp, 5) == 0);
	n = sizeof info;
	CHECK(getsockopt(tcp, IPPROTO_TCP, TCP_INFO, &info, &n) == 0);
	printf("state %d, accepts %d\n", info.tcpi_state, get(tcp, SOL_SOCKET, SO_ACCEPTCONN));

	// What an accepted socket takes over.
	int l6 = socket(AF_INET6, SOCK_STREAM, 0);
	CHECK(set(l6, SOL_SOCKET, SO_KEEPALIVE, 1) == 0 && set(l6, IPPROTO_TCP, TCP_NODELAY, 1) == 0 && set(l6, SOL_SOCKET, SO_RCVBUF, 20000) == 0);
	nonblock(l6);
	CHECK(listen(l6, 5) == 0);
	struct addr at = name_of(l6);
	int c = socket(AF_INET6, SOCK_STREAM, 0);
	at.in6.sin6_addr = in6addr_loopback;
	CHECK(connect(c, &at.sa, at.len) == 0);
	until(l6, POLLIN);
	int s = accept(l6, NULL, NULL);
	printf("accepted: %d %d %d, flags %#x\n", get(s, SOL_SOCKET, SO_KEEPALIVE), get(s, IPPROTO_TCP, TCP_NODELAY), get(s, SOL_SOCKET, SO_RCVBUF), fcntl(s, F_GETFL));
	n = sizeof info;
	CHECK(getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &n) == 0);
	printf("state %d\n", info.tcpi_state);
	SHOW(set(l6, IPPROTO_IPV6, IPV6_V6ONLY, 1));
	return 0;
}
