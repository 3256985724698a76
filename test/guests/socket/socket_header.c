// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// What of a datagram's IP header is sent and received as ancillary data: destination, hop
// limit, class; ip(7), ipv6(7). By IPv4, by IPv6, and by IPv4 from and to sockets of IPv6.
#include "sock.h"

static void show(int fd, size_t room) {
	char data[8], control[256];
	struct iovec v = {data, sizeof data};
	memset(control, 0, sizeof control);
	struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
	if (n < 0) {
		printf("  nothing: %s\n", strerror(errno));
		return;
	}
	printf("  %zd bytes, flags %#x, control of %zu of %zu\n", n, m.msg_flags, m.msg_controllen, room);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		printf("    level %d type %d:", c->cmsg_level, c->cmsg_type);
		for (size_t i = 0; i < c->cmsg_len - sizeof *c; i++)
			printf(" %02x", CMSG_DATA(c)[i]);
		printf("\n");
	}
}

// say sends a datagram with up to two control messages of a number each.
struct field {
	int level, type, value, size;
};
static void say(int fd, struct addr *to, struct field a, struct field b) {
	char control[128];
	memset(control, 0, sizeof control);
	struct iovec v = {"data", 4};
	struct msghdr m = {.msg_name = &to->sa, .msg_namelen = to->len, .msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
	struct field all[] = {a, b};
	for (int i = 0; i < 2; i++) {
		if (all[i].size == 0)
			continue;
		struct cmsghdr *c = (struct cmsghdr *)(control + m.msg_controllen);
		c->cmsg_level = all[i].level, c->cmsg_type = all[i].type, c->cmsg_len = CMSG_LEN(all[i].size);
		memcpy(CMSG_DATA(c), &all[i].value, all[i].size < 4 ? all[i].size : 4);
		m.msg_controllen += CMSG_SPACE(all[i].size);
	}
	if (m.msg_controllen == 0)
		m.msg_control = NULL;
	if (sendmsg(fd, &m, 0) < 0)
		printf("  not sent: %s\n", strerror(errno));
}

#define NONE ((struct field){0})

static void round_trip(const char *what, int from, int to, struct addr at) {
	printf("%s\n", what);
	say(from, &at, NONE, NONE);
	show(to, 256);
	struct field fields[] = {
	    {IPPROTO_IP, IP_TTL, 7, 4}, {IPPROTO_IP, IP_TTL, 0, 4}, {IPPROTO_IP, IP_TTL, 255, 4}, {IPPROTO_IP, IP_TTL, 256, 4},
	    {IPPROTO_IP, IP_TTL, -1, 4}, {IPPROTO_IP, IP_TTL, 7, 1}, {IPPROTO_IP, IP_TOS, 0x2c, 4}, {IPPROTO_IP, IP_TOS, 0x13, 1},
	    {IPPROTO_IP, IP_TOS, 256, 4}, {IPPROTO_IP, IP_TOS, -1, 4}, {IPPROTO_IP, IP_TOS, 1, 2}, {IPPROTO_IPV6, IPV6_HOPLIMIT, 9, 4},
	    {IPPROTO_IPV6, IPV6_HOPLIMIT, -1, 4}, {IPPROTO_IPV6, IPV6_HOPLIMIT, 256, 4}, {IPPROTO_IPV6, IPV6_HOPLIMIT, 9, 1},
	    {IPPROTO_IPV6, IPV6_HOPLIMIT, 0, 4}, {IPPROTO_IPV6, IPV6_TCLASS, 0x2e, 4}, {IPPROTO_IPV6, IPV6_TCLASS, 256, 4},
	    {IPPROTO_IPV6, IPV6_TCLASS, 3, 1}, // what -1 does depends on the version of Linux
	};
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		printf(" level %d type %d value %d of %d\n", fields[i].level, fields[i].type, fields[i].value, fields[i].size);
		say(from, &at, fields[i], NONE);
		show(to, 256);
	}
	printf(" two\n");
	say(from, &at, (struct field){IPPROTO_IP, IP_TTL, 3, 4}, (struct field){IPPROTO_IP, IP_TOS, 5, 4});
	show(to, 256);
	say(from, &at, (struct field){IPPROTO_IPV6, IPV6_HOPLIMIT, 3, 4}, (struct field){IPPROTO_IPV6, IPV6_TCLASS, 5, 4});
	show(to, 256);
	printf(" little room\n");
	for (size_t room = 0; room < 100; room += 5) {
		say(from, &at, NONE, NONE);
		show(to, room);
	}
}

static int receiver(const char *name, struct addr *at) {
	*at = local(name);
	int fd = socket(at->sa.sa_family, SOCK_DGRAM, 0);
	CHECK(fd >= 0);
	if (at->sa.sa_family == AF_INET6)
		CHECK(set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) == 0);
	CHECK(bind(fd, &at->sa, at->len) == 0);
	*at = name_of(fd);
	CHECK(set(fd, IPPROTO_IP, IP_RECVTTL, 1) == 0 && set(fd, IPPROTO_IP, IP_RECVTOS, 1) == 0);
	if (at->sa.sa_family == AF_INET6)
		CHECK(set(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) == 0 && set(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1) == 0);
	return fd;
}

int main(void) {
	struct addr a4, a6;
	int r4 = receiver("inet", &a4), r6 = receiver("inet6", &a6);
	int s4 = socket(AF_INET, SOCK_DGRAM, 0), s6 = socket(AF_INET6, SOCK_DGRAM, 0);
	CHECK(s4 >= 0 && s6 >= 0);
	round_trip("4 to 4", s4, r4, a4);
	round_trip("6 to 6", s6, r6, a6);

	// By IPv4 from a socket of IPv6, and to one.
	struct addr mapped = a6;
	memset(&mapped.in6.sin6_addr, 0, 16);
	mapped.in6.sin6_addr.s6_addr[10] = mapped.in6.sin6_addr.s6_addr[11] = 0xff;
	mapped.in6.sin6_addr.s6_addr[12] = 127, mapped.in6.sin6_addr.s6_addr[15] = 1;
	mapped.in6.sin6_port = a4.in.sin_port;
	round_trip("6 to 4", s6, r4, mapped);
	struct addr any = a6;
	memset(&any.in6.sin6_addr, 0, 16);
	any.in6.sin6_port = 0;
	int both = socket(AF_INET6, SOCK_DGRAM, 0);
	CHECK(both >= 0 && bind(both, &any.sa, any.len) == 0);
	any = name_of(both);
	CHECK(set(both, IPPROTO_IP, IP_RECVTTL, 1) == 0 && set(both, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1) == 0);
	CHECK(set(both, IPPROTO_IP, IP_PKTINFO, 1) == 0 && set(both, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) == 0);
	struct addr v4 = a4;
	v4.in.sin_port = any.in6.sin6_port;
	round_trip("4 to 6", s4, both, v4);

	// The options of the sender, and the order of all that is told.
	CHECK(set(r4, IPPROTO_IP, IP_PKTINFO, 1) == 0 && set(r6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1) == 0);
	CHECK(set(s4, IPPROTO_IP, IP_TTL, 11) == 0 && set(s4, IPPROTO_IP, IP_TOS, 0x88) == 0);
	CHECK(set(s6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 12) == 0 && set(s6, IPPROTO_IPV6, IPV6_TCLASS, 0x89) == 0);
	round_trip("4 to 4, options", s4, r4, a4);
	round_trip("6 to 6, options", s6, r6, a6);
	round_trip("6 to 4, options", s6, r4, mapped);
	CHECK(set(r4, IPPROTO_IP, IP_RECVTTL, 0) == 0 && set(r6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 0) == 0);
	round_trip("4 to 4, no hops", s4, r4, a4);
	round_trip("6 to 6, no hops", s6, r6, a6);
	return 0;
}
