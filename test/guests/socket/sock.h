// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// What the guests about sockets share: addresses by name of family, and small helpers.
#ifndef SOCK_H
#define SOCK_H
#include "../guest.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

// An address of any family, with its length.
struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		struct sockaddr_storage ss;
	};
	socklen_t len;
};

// family returns the address family of a name: inet, inet6, unix, abstract.
__attribute__((unused)) static int family(const char *name) {
	if (strcmp(name, "inet") == 0)
		return AF_INET;
	if (strcmp(name, "inet6") == 0 || strcmp(name, "mapped") == 0)
		return AF_INET6;
	return AF_UNIX;
}

// local returns an address of the machine's own, with port 0; a path is relative.
__attribute__((unused)) static struct addr local(const char *name) {
	struct addr a;
	memset(&a, 0, sizeof a);
	if (strcmp(name, "inet") == 0) {
		a.in.sin_family = AF_INET;
		a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		a.len = sizeof a.in;
	} else if (strcmp(name, "inet6") == 0) {
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_addr = in6addr_loopback;
		a.len = sizeof a.in6;
	} else if (strcmp(name, "mapped") == 0) {
		a.in6.sin6_family = AF_INET6;
		CHECK(inet_pton(AF_INET6, "::ffff:127.0.0.1", &a.in6.sin6_addr) == 1);
		a.len = sizeof a.in6;
	} else if (strcmp(name, "abstract") == 0) {
		a.un.sun_family = AF_UNIX;
		a.len = offsetof(struct sockaddr_un, sun_path) +
			snprintf(a.un.sun_path, sizeof a.un.sun_path, "%ckontain-guest-%08d", 0, (int)getpid());
	} else {
		a.un.sun_family = AF_UNIX;
		strcpy(a.un.sun_path, "socket");
		a.len = offsetof(struct sockaddr_un, sun_path) + strlen("socket") + 1;
	}
	return a;
}

// name_of returns what getsockname says.
__attribute__((unused)) static struct addr name_of(int fd) {
	struct addr a;
	memset(&a, 0, sizeof a);
	a.len = sizeof a.ss;
	CHECK(getsockname(fd, &a.sa, &a.len) == 0);
	return a;
}

// port_of returns the port of an address, 0 for those without.
__attribute__((unused)) static int port_of(struct addr a) {
	if (a.sa.sa_family == AF_INET)
		return ntohs(a.in.sin_port);
	return a.sa.sa_family == AF_INET6 ? ntohs(a.in6.sin6_port) : 0;
}

// listener returns a socket that listens at an address of the machine's own.
__attribute__((unused)) static int listener(const char *name, int type, int backlog, struct addr *at) {
	int fd = socket(family(name), type, 0);
	CHECK(fd >= 0);
	*at = local(name);
	CHECK(bind(fd, &at->sa, at->len) == 0);
	*at = name_of(fd);
	CHECK(listen(fd, backlog) == 0);
	return fd;
}

// dial returns a socket that is connected to an address.
__attribute__((unused)) static int dial(struct addr *to, int type) {
	int fd = socket(to->sa.sa_family, type, 0);
	CHECK(fd >= 0);
	CHECK(connect(fd, &to->sa, to->len) == 0);
	return fd;
}

// connected makes both ends of a connection.
__attribute__((unused)) static void connected(const char *name, int type, int ends[2]) {
	if (strcmp(name, "pair") == 0) {
		CHECK(socketpair(AF_UNIX, type, 0, ends) == 0);
		return;
	}
	struct addr at;
	int l = listener(name, type, 4, &at);
	ends[0] = dial(&at, type);
	ends[1] = accept(l, NULL, NULL);
	CHECK(ends[1] >= 0);
	close(l);
	if (at.sa.sa_family == AF_UNIX && at.un.sun_path[0])
		CHECK(unlink(at.un.sun_path) == 0);
}

// conditions returns what poll says of everything that can be asked, at once.
__attribute__((unused)) static int conditions(int fd) {
	struct pollfd p = {fd, (short)0xffff, 0};
	CHECK(poll(&p, 1, 0) >= 0);
	return p.revents & 0xffff;
}

// until waits for a condition.
__attribute__((unused)) static void until(int fd, int events) {
	struct pollfd p = {fd, events, 0};
	CHECK(poll(&p, 1, 10000) == 1);
}

// get returns an option that is a number.
__attribute__((unused)) static int get(int fd, int level, int name) {
	int v = -1;
	socklen_t n = sizeof v;
	if (getsockopt(fd, level, name, &v, &n) != 0)
		return -errno;
	return v;
}

__attribute__((unused)) static int set(int fd, int level, int name, int v) { return setsockopt(fd, level, name, &v, sizeof v); }

__attribute__((unused)) static void nonblock(int fd) { CHECK(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == 0); }
#endif
