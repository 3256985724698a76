// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// After fork(2) parent and child have memory of their own: whoever writes, with
// instructions or through the kernel, the other does not see it; shared mappings
// are seen by both, and mappings can be kept from the child or emptied in it.
#include "process.h"
#include <sys/uio.h>

enum { PAGES = 64, PAGE = 4096 };
static char data[PAGES * PAGE] = "initialised";
static char bss[PAGES * PAGE];

static void fill(char *p, char c) {
	for (int i = 0; i < PAGES; i++)
		p[i * PAGE + i] = c;
}

static int same(const char *p, char c) {
	for (int i = 0; i < PAGES; i++)
		if (p[i * PAGE + i] != c)
			return 0;
	return 1;
}

static char *map(int flags) {
	char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);
	CHECK(p != MAP_FAILED);
	return p;
}

static char *heap, *anon, *shared, *kept, *wiped;
static int to_child[2], to_parent[2];

static void turn(int w, int r) {
	char c = 't';
	if (w >= 0)
		CHECK(write(w, &c, 1) == 1);
	if (r >= 0)
		CHECK(read(r, &c, 1) == 1);
}

static int child(void *arg) {
	(void)arg;
	CHECK(same(data, 'a') && same(bss, 'a') && same(heap, 'a') && same(anon, 'a') && same(shared, 'a'));
	CHECK(same(wiped, 0));
	CHECK_ERR(msync(kept, PAGE, MS_ASYNC), ENOMEM);
	turn(to_parent[1], to_child[0]); // the parent has written 'p'
	CHECK(same(data, 'a') && same(bss, 'a') && same(heap, 'a') && same(anon, 'a') && same(shared, 'p'));
	fill(data, 'c'), fill(bss, 'c'), fill(heap, 'c'), fill(anon, 'c'), fill(shared, 'c');
	turn(to_parent[1], to_child[0]);
	// Through the kernel: a page that is shared is the reader's own afterwards.
	int p[2];
	CHECK(pipe(p) == 0 && write(p[1], "12345678", 8) == 8);
	struct iovec v[2] = {{anon + PAGE - 4, 4}, {data + 3 * PAGE, 4}};
	CHECK_EQ(readv(p[0], v, 2), 8);
	CHECK(memcmp(anon + PAGE - 4, "1234", 4) == 0);
	// A protection that comes and goes does not make the page writable for both.
	CHECK(mprotect(anon, PAGES * PAGE, PROT_READ) == 0 && mprotect(anon, PAGES * PAGE, PROT_READ | PROT_WRITE) == 0);
	fill(anon, 'x');
	return 5;
}

int main(void) {
	CHECK(pipe(to_child) == 0 && pipe(to_parent) == 0);
	heap = malloc(PAGES * PAGE);
	anon = map(MAP_PRIVATE), shared = map(MAP_SHARED), kept = map(MAP_PRIVATE), wiped = map(MAP_PRIVATE);
	CHECK(madvise(kept, PAGES * PAGE, MADV_DONTFORK) == 0);
	CHECK(madvise(wiped, PAGES * PAGE, MADV_WIPEONFORK) == 0);
	CHECK_ERR(madvise(shared, PAGES * PAGE, MADV_WIPEONFORK), EINVAL);
	fill(data, 'a'), fill(bss, 'a'), fill(heap, 'a'), fill(anon, 'a'), fill(shared, 'a'), fill(kept, 'a'), fill(wiped, 'a');
	pid_t pid = start(child, NULL);
	turn(-1, to_parent[0]);
	fill(data, 'p'), fill(bss, 'p'), fill(heap, 'p'), fill(anon, 'p'), fill(shared, 'p');
	turn(to_child[1], to_parent[0]);
	CHECK(same(data, 'p') && same(bss, 'p') && same(heap, 'p') && same(anon, 'p') && same(shared, 'c'));
	CHECK(same(kept, 'a') && same(wiped, 'a'));
	turn(to_child[1], -1);
	show_status("child", wait_for(pid, 0));
	CHECK(same(anon, 'p') && anon[PAGE - 1] == 0);

	// Memory that is given back after a fork, on either side, stays the other's.
	fill(anon, 'q');
	if ((pid = fork()) == 0) {
		CHECK(madvise(anon, PAGES * PAGE, MADV_DONTNEED) == 0 && same(anon, 0));
		CHECK(munmap(heap - (uintptr_t)heap % PAGE + PAGE, PAGE) == 0);
		char *moved = mremap(shared, PAGES * PAGE, 2 * PAGES * PAGE, MREMAP_MAYMOVE);
		CHECK(moved != MAP_FAILED && same(moved, 'c'));
		fill(moved, 'm');
		_exit(0);
	}
	show_status("dropped", wait_for(pid, 0));
	CHECK(same(anon, 'q') && same(heap, 'p') && same(shared, 'm'));
	if ((pid = fork()) == 0) {
		sleep_ms(20);
		_exit(same(anon, 'q') && same(shared, 'm') ? 0 : 1);
	}
	CHECK(munmap(anon, PAGES * PAGE) == 0 && madvise(shared, PAGES * PAGE, MADV_DONTNEED) == 0);
	CHECK(same(shared, 'm'));
	show_status("parent dropped", wait_for(pid, 0));
	CHECK(madvise(shared, PAGES * PAGE, MADV_REMOVE) == 0 && same(shared, 0));
	puts("separate");
}
