// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Program resolve connects to a name as any C program does, sends a line and prints
// what comes back. A name that there is not must be known to be none.
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv) {
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all;
	if (argc != 3)
		return 2;
	int e = getaddrinfo("none.test", argv[2], &hints, &all);
	printf("none.test: %s\n", e == EAI_NONAME ? "no such name" : gai_strerror(e));
	if ((e = getaddrinfo(argv[1], argv[2], &hints, &all)) != 0) {
		printf("%s: %s\n", argv[1], gai_strerror(e));
		return 1;
	}
	for (struct addrinfo *a = all; a; a = a->ai_next) {
		int s = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
		if (s >= 0 && connect(s, a->ai_addr, a->ai_addrlen) == 0) {
			char line[100];
			if (write(s, "hello\n", 6) != 6)
				return 1;
			ssize_t n = read(s, line, sizeof line);
			if (n > 0)
				fwrite(line, 1, n, stdout);
			return 0;
		}
		perror("connect");
	}
	return 1;
}
