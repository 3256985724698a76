// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: a page of a mapped file beyond the file's end gives SIGBUS with its
// address; the rest of the last page is zero.
#include "guest.h"
#include <fcntl.h>
#include <setjmp.h>
#include <sys/mman.h>

static sigjmp_buf back;
static void *volatile addr;
static void handler(int s, siginfo_t *si, void *c) {
	(void)s, (void)c;
	addr = si->si_addr;
	siglongjmp(back, si->si_code);
}

int main(void) {
	scratch();
	on(SIGBUS, handler, 0);
	int fd = open("f", O_RDWR | O_CREAT, 0600);
	CHECK(fd >= 0 && write(fd, "abc", 3) == 3);
	volatile char *p = mmap(NULL, 3 * 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	CHECK(p != MAP_FAILED);
	CHECK(p[0] == 'a' && p[2] == 'c' && p[3] == 0 && p[4095] == 0);
	int code = sigsetjmp(back, 1);
	if (code == 0) {
		(void)p[4096 + 17];
		CHECK(!"a load beyond the end faults");
	}
	CHECK(addr == p + 4096 + 17);
	printf("SIGBUS code %d\n", code);
	unlink("f");
	return 0;
}
