// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Addresses: what can be bound beside what, ports of the kernel's choice, both
// families with one socket, names in the file system and abstract ones.
#include "sock.h"

static int at_port(const char *ip, int port, int type, int option, int listens) {
	struct addr a;
	memset(&a, 0, sizeof a);
	int v6 = strchr(ip, ':') != NULL;
	a.sa.sa_family = v6 ? AF_INET6 : AF_INET;
	if (v6)
		a.in6.sin6_port = htons(port), a.len = sizeof a.in6;
	else
		a.in.sin_port = htons(port), a.len = sizeof a.in;
	CHECK(inet_pton(a.sa.sa_family, ip, v6 ? (void *)&a.in6.sin6_addr : (void *)&a.in.sin_addr) == 1);
	int fd = socket(a.sa.sa_family, type, 0);
	if (option == IPV6_V6ONLY)
		CHECK(set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1) == 0);
	else if (option)
		CHECK(set(fd, SOL_SOCKET, option, 1) == 0);
	if (bind(fd, &a.sa, a.len) != 0 || (listens && listen(fd, 1) != 0)) {
		int err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

int main(void) {
	scratch();
	int p[8];
	// A port that nobody has.
	p[0] = at_port("127.0.0.1", 0, SOCK_STREAM, 0, 0);
	int port = port_of(name_of(p[0]));
	printf("ephemeral: %d\n", port >= 32768 && port <= 60999);
	close(p[0]);
	const char *ips[] = {"127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::", "::ffff:127.0.0.1"};
	int options[] = {0, SO_REUSEADDR, SO_REUSEPORT, IPV6_V6ONLY};
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++)
		for (int listens = 0; listens <= (type == SOCK_STREAM); listens++)
			for (size_t i = 0; i < 6; i++)
				for (size_t o = 0; o < 4; o++) {
					if ((options[o] == IPV6_V6ONLY) != 0 && (strcmp(ips[i], "::") != 0))
						continue;
					int first = at_port(ips[i], port, type, options[o], listens);
					CHECK(first >= 0);
					printf("type %d listens %d %s option %d:", type, listens, ips[i], options[o]);
					for (size_t j = 0; j < 6; j++) {
						int second = at_port(ips[j], port, type, options[o] == IPV6_V6ONLY ? 0 : options[o], listens);
						printf(" %d", second < 0 ? second : 0);
						if (second >= 0)
							close(second);
					}
					puts("");
					close(first);
				}
	// One socket for both families.
	int l = at_port("::", port, SOCK_STREAM, 0, 1);
	struct addr a4 = local("inet"), a6 = local("inet6"), from = {.len = sizeof from.ss};
	a4.in.sin_port = a6.in6.sin6_port = htons(port);
	int c4 = dial(&a4, SOCK_STREAM), s4 = accept(l, &from.sa, &from.len);
	char text[64];
	printf("from %s", inet_ntop(AF_INET6, &from.in6.sin6_addr, text, sizeof text));
	printf(", right port %d\n", port_of(from) == port_of(name_of(c4)));
	struct addr own = name_of(s4);
	printf("at %s %d\n", inet_ntop(AF_INET6, &own.in6.sin6_addr, text, sizeof text), port_of(own) == port);
	int c6 = dial(&a6, SOCK_STREAM), s6 = accept(l, &from.sa, &from.len);
	printf("from %s\n", inet_ntop(AF_INET6, &from.in6.sin6_addr, text, sizeof text));
	close(l), close(c4), close(c6), close(s4), close(s6);
	l = at_port("::", port, SOCK_STREAM, IPV6_V6ONLY, 1);
	if (l >= 0) {
		int s = socket(AF_INET, SOCK_STREAM, 0);
		SHOW(connect(s, &a4.sa, a4.len));
		close(l);
	}
	// Any address means the loopback's; another of the loopback's network is as good.
	l = at_port("0.0.0.0", 0, SOCK_STREAM, 0, 1);
	a4 = name_of(l);
	int c = dial(&a4, SOCK_STREAM);
	own = name_of(c);
	printf("%s\n", inet_ntop(AF_INET, &own.in.sin_addr, text, sizeof text));
	a4.in.sin_addr.s_addr = htonl(0x7f090807);
	c = dial(&a4, SOCK_STREAM);
	own = name_of(c);
	printf("%s", inet_ntop(AF_INET, &own.in.sin_addr, text, sizeof text));
	own = name_of(accept(l, NULL, NULL));
	own = name_of(accept(l, NULL, NULL));
	printf(" to %s\n", inet_ntop(AF_INET, &own.in.sin_addr, text, sizeof text));

	// Names.
	struct addr u = local("unix");
	int a = socket(AF_UNIX, SOCK_STREAM, 0), b = socket(AF_UNIX, SOCK_STREAM, 0);
	umask(027);
	SHOW(bind(a, &u.sa, u.len));
	SHOW(bind(b, &u.sa, u.len));
	struct stat st;
	CHECK(lstat("socket", &st) == 0);
	printf("%#o\n", st.st_mode);
	own = name_of(a);
	printf("%s %u\n", own.un.sun_path, own.len);
	CHECK(listen(a, 3) == 0);
	SHOW(rename("socket", "renamed"));
	SHOW(symlink("renamed", "link"));
	SHOW(link("renamed", "hard"));
	SHOW(unlink("renamed"));
	SHOW(bind(b, &u.sa, u.len)); // the old name is free
	SHOW(connect(dup(b), &u.sa, u.len));
	strcpy(u.un.sun_path, "hard");
	u.len = 2 + 5;
	c = socket(AF_UNIX, SOCK_STREAM, 0);
	SHOW(connect(c, &u.sa, u.len));
	SHOW(connect(c, &u.sa, u.len));
	close(a);
	a = socket(AF_UNIX, SOCK_STREAM, 0);
	SHOW(connect(a, &u.sa, u.len));
	SHOW(unlink("link"));
	// Without a terminating NUL, and as long as can be.
	memset(u.un.sun_path, 'p', sizeof u.un.sun_path);
	SHOW(bind(a, &u.sa, sizeof u.un));
	own = name_of(a);
	printf("%u\n", own.len);
	c = socket(AF_UNIX, SOCK_DGRAM, 0);
	u.un.sun_family = AF_UNIX;
	SHOW(bind(c, &u.sa, 2)); // a name of the kernel's choice
	own = name_of(c);
	printf("%u %d\n", own.len, own.un.sun_path[0]);
	u = local("abstract");
	a = socket(AF_UNIX, SOCK_DGRAM, 0), b = socket(AF_UNIX, SOCK_STREAM, 0);
	SHOW(bind(a, &u.sa, u.len));
	SHOW(bind(b, &u.sa, u.len));
	SHOW(bind(b, &u.sa, u.len - 1)); // the length is a part of the name
	close(a);
	a = socket(AF_UNIX, SOCK_DGRAM, 0);
	SHOW(bind(a, &u.sa, u.len));
	return 0;
}
