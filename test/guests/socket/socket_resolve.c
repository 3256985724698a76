// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Names: those that need no server are found, the others fail soon.
#include "sock.h"
#include <netdb.h>

static void find(const char *host, const char *service, int family, int flags) {
	struct addrinfo *list, hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = flags};
	int e = getaddrinfo(host, service, &hints, &list);
	printf("%s %s: %d\n", host ? host : "-", service, e);
	for (struct addrinfo *i = e ? NULL : list; i; i = i->ai_next) {
		char text[64], port[16];
		CHECK(getnameinfo(i->ai_addr, i->ai_addrlen, text, sizeof text, port, sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0);
		printf("  %s %s\n", text, port);
	}
	if (!e)
		freeaddrinfo(list);
}

int main(void) {
	find("127.0.0.1", "80", AF_UNSPEC, AI_NUMERICHOST);
	find("::1", "443", AF_UNSPEC, AI_NUMERICHOST);
	find(NULL, "80", AF_INET, AI_PASSIVE);
	find(NULL, "80", AF_INET6, AI_PASSIVE);
	find(NULL, "80", AF_INET, 0);
	find("127.0.0.1", "80", AF_INET6, AI_NUMERICHOST);
	find("127.0.0.1", "80", AF_INET6, AI_NUMERICHOST | AI_V4MAPPED);
	find("no number", "80", AF_INET, AI_NUMERICHOST);
	find("localhost", "80", AF_INET, 0);
	return 0;
}
