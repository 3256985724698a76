// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the heap works as a C library uses it: brk up and down, large blocks
// by mmap and mremap, trimming, aligned blocks, calloc that is zero; nothing
// is lost or shared over 60,000 operations.
#include "guest.h"
#include <malloc.h>

#define BLOCKS 300

static struct { unsigned char *p; size_t n; unsigned char tag; } blocks[BLOCKS];
static uint32_t state = 12345;
static uint32_t rnd(void) { return (state = state * 1664525 + 1013904223) >> 8; }

static void fill(int i) { memset(blocks[i].p, blocks[i].tag, blocks[i].n); }
static void verify(int i) {
	// Ends and a stride: a full read of each block would only test memcpy.
	for (size_t k = 0; k < blocks[i].n; k += 509)
		CHECK(blocks[i].p[k] == blocks[i].tag);
	if (blocks[i].n)
		CHECK(blocks[i].p[blocks[i].n - 1] == blocks[i].tag);
}

static size_t size(void) {
	switch (rnd() % 100) {
	case 0: return 200000 + rnd() % 900000; // its own mapping
	case 1 ... 9: return 4096 + rnd() % 60000;
	default: return rnd() % 1500;
	}
}

int main(void) {
	unsigned long total = 0;
	for (int op = 0; op < 60000; op++) {
		int i = rnd() % BLOCKS;
		size_t n = size();
		total += n;
		if (!blocks[i].p) {
			if (rnd() % 8 == 0) {
				blocks[i].p = calloc(1, n + 1);
				CHECK(blocks[i].p);
				for (size_t k = 0; k < n; k++)
					CHECK(blocks[i].p[k] == 0);
			} else if (rnd() % 8 == 0) {
				CHECK(posix_memalign((void **)&blocks[i].p, 4096, n + 1) == 0);
				CHECK((uintptr_t)blocks[i].p % 4096 == 0);
			} else {
				CHECK(blocks[i].p = malloc(n + 1));
			}
			blocks[i].n = n;
			blocks[i].tag = op;
			fill(i);
		} else if (rnd() % 3 == 0) {
			verify(i);
			size_t keep = n < blocks[i].n ? n : blocks[i].n;
			CHECK(blocks[i].p = realloc(blocks[i].p, n + 1));
			for (size_t k = 0; k < keep; k += 127)
				CHECK(blocks[i].p[k] == blocks[i].tag);
			blocks[i].n = n;
			fill(i);
		} else {
			verify(i);
			free(blocks[i].p);
			blocks[i].p = NULL;
		}
#ifdef __GLIBC__
		if (op % 5000 == 4999)
			malloc_trim(0);
#endif
	}
	for (int i = 0; i < BLOCKS; i++)
		if (blocks[i].p)
			verify(i), free(blocks[i].p);
	char *volatile none = malloc((size_t)1 << 62);
	CHECK(none == NULL && errno == ENOMEM);
	printf("%lu bytes asked for in all\n", total);
	return 0;
}
