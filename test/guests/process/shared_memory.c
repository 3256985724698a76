// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Shared anonymous memory: one memory however it is mapped, moved, cut and given back,
// over generations of processes; nothing behind its end.
#include "process.h"
#include <setjmp.h>

enum { PAGE = 4096, PAGES = 40 };
static sigjmp_buf back;
static void bus(int sig, siginfo_t *si, void *uc) { (void)si, (void)uc, siglongjmp(back, sig); }

static int generation(volatile char *p, int depth) {
	for (int i = 0; i < PAGES; i++)
		CHECK_EQ(p[i * PAGE], depth);
	for (int i = 0; i < PAGES; i++)
		p[i * PAGE] = depth + 1;
	if (depth == 6)
		return depth;
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0)
		_exit(generation(p, depth + 1));
	int st = wait_for(pid, 0);
	CHECK_EQ(p[5 * PAGE], 7);
	return WEXITSTATUS(st);
}

int main(void) {
	char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	printf("generations: %d\n", generation(p, 0));

	// Cut, moved and made smaller in a child, it is the same memory.
	fflush(stdout);
	pid_t pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		CHECK(munmap(p + 10 * PAGE, 10 * PAGE) == 0);
		char *q = mremap(p + 20 * PAGE, 10 * PAGE, 5 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, p + 100 * PAGE);
		CHECK(q == p + 100 * PAGE);
		for (int i = 0; i < 5; i++)
			q[i * PAGE] = 'q';
		CHECK(mprotect(p, 5 * PAGE, PROT_READ) == 0);
		p[6 * PAGE] = 'r';
		_exit(p[7 * PAGE]);
	}
	show_status("child", wait_for(pid, 0));
	printf("%c %c %d\n", p[20 * PAGE], p[6 * PAGE], p[15 * PAGE]);

	// A second mapping of the same memory.
	char *again = mremap(p, 0, PAGES * PAGE, MREMAP_MAYMOVE);
	if (again != MAP_FAILED) {
		again[3 * PAGE] = 'a';
		CHECK_EQ(p[3 * PAGE], 'a');
	}

	// What DONTNEED drops is still there; growth ends where the memory does.
	CHECK(madvise(p, PAGES * PAGE, MADV_DONTNEED) == 0 && p[20 * PAGE] == 'q');
	CHECK(mprotect(p, PAGE, PROT_NONE) == 0 && mprotect(p, PAGE, PROT_READ | PROT_WRITE) == 0);
	char *grown = mremap(p, PAGES * PAGE, (PAGES + 4) * PAGE, MREMAP_MAYMOVE);
	CHECK(grown != MAP_FAILED && grown[20 * PAGE] == 'q');
	on(SIGBUS, bus, 0);
	int sig = sigsetjmp(back, 1);
	if (sig == 0) {
		grown[(PAGES + 1) * PAGE] = 1;
		sig = -1;
	}
	printf("past the end: signal %d\n", sig);
	CHECK_ERR(write(1, grown + (PAGES + 1) * PAGE, 1), EFAULT);

	// Memory that nobody maps any more is new when it is mapped again.
	CHECK(munmap(grown, (PAGES + 4) * PAGE) == 0);
	p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (int i = 0; i < PAGES; i++)
		CHECK_EQ(p[i * PAGE], 0);

	// Read-only in the parent, it is so in the child, and can be made writable for all.
	CHECK(mprotect(p, PAGES * PAGE, PROT_READ) == 0);
	if ((pid = fork()) == 0) {
		CHECK(mprotect(p, PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
		p[0] = 'w';
		_exit(0);
	}
	show_status("writer", wait_for(pid, 0));
	printf("%c\n", p[0]);
}
