// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: stdin arrives whole, in reads of different sizes, and its end is
// seen again and again.
#include "guest.h"

int main(void) {
	static char buf[70000];
	size_t size = 1;
	for (;;) {
		ssize_t n = read(0, buf, size);
		CHECK(n >= 0);
		if (n == 0)
			break;
		for (ssize_t done = 0; done < n;) {
			ssize_t w = write(1, buf + done, n - done);
			CHECK(w > 0);
			done += w;
		}
		size = size * 3 + 1;
		if (size > sizeof buf)
			size = sizeof buf;
	}
	CHECK_EQ(read(0, buf, 1), 0);
	CHECK_EQ(write(1, buf, 0), 0);
	return 0;
}
