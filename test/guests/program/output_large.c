// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: a megabyte of output through stdio, single writes and writev arrives
// complete and in order, and stderr stays apart.
#define GUEST_BUFFERED
#include "guest.h"
#include <sys/uio.h>

static void all(int fd, const char *p, size_t n) {
	while (n > 0) {
		ssize_t w = write(fd, p, n);
		CHECK(w > 0);
		p += w;
		n -= w;
	}
}

int main(void) {
	for (int i = 0; i < 20000; i++)
		printf("stdio line %d of many\n", i);
	fflush(stdout);

	size_t size = 512 << 10;
	char *big = malloc(size);
	CHECK(big != NULL);
	for (size_t i = 0; i < size; i++)
		big[i] = i % 64 == 63 ? '\n' : 'a' + i / 64 % 26;
	all(1, big, size);

	char a[] = "one ", b[] = "two ", c[] = "three\n";
	struct iovec v[] = {{a, 4}, {NULL, 0}, {b, 4}, {c, 6}};
	CHECK_EQ(writev(1, v, 4), 14);
	struct iovec many[1000];
	for (int i = 0; i < 1000; i++)
		many[i] = (struct iovec){big + i * 64, 64};
	size_t done = 0;
	while (done < 64000) {
		ssize_t w = writev(1, many + done / 64, 1000 - done / 64);
		CHECK(w > 0 && w % 64 == 0);
		done += w;
	}
	CHECK_ERR(writev(1, v, -1), EINVAL);
	fprintf(stderr, "stderr is apart\n");
	free(big);
	return 0;
}
