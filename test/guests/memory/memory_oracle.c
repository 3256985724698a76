// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: memory mappings behave as Linux says, under tens of thousands of
// random operations. A window of pages is changed by mmap, munmap, mprotect,
// madvise and mremap and used by loads, stores, calls and system calls, while a
// model in this program says what each must do: every value read is compared,
// and every fault must carry the exact address, SEGV_MAPERR or SEGV_ACCERR, and
// the right kind of access. Arguments: seed, number of operations.
#include "guest.h"
#include <sys/mman.h>
#include <ucontext.h>

#define PAGE 4096
#define PAGES 64

// Accesses in assembly, so that the handler can resume at a known place: each is
// entered with the return address on top of the stack and leaves it there.
extern long load1(void *), load8(void *), store1(void *, long), store8(void *, long), execute(void *);
extern void access_failed(void);
__asm__(".text\n"
	"load1: movzbl (%rdi), %eax\n ret\n"
	"load8: movq (%rdi), %rax\n ret\n"
	"store1: movb %sil, (%rdi)\n xorl %eax, %eax\n ret\n"
	"store8: movq %rsi, (%rdi)\n xorl %eax, %eax\n ret\n"
	"execute: xorl %eax, %eax\n jmp *%rdi\n"
	"access_failed: ret\n");

enum { READ, WRITE, EXEC };

// The model.
static struct {
	int mapped, prot;
	const char *by; // what changed the page last, and when
	long when;
	unsigned char data[PAGE];
} model[PAGES];

static unsigned char *window;
static long op, faults, counts[16];
static const char *what = "the start";
static int first, length;

// The last fault.
static struct {
	int seen, code;
	unsigned char *addr;
	long trap, err, cr2;
} fault;

static void handler(int sig, siginfo_t *si, void *ctx) {
	ucontext_t *uc = ctx;
	(void)sig;
	fault.seen++;
	fault.code = si->si_code;
	fault.addr = si->si_addr;
	fault.trap = uc->uc_mcontext.gregs[REG_TRAPNO];
	fault.err = uc->uc_mcontext.gregs[REG_ERR];
	fault.cr2 = uc->uc_mcontext.gregs[REG_CR2];
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)access_failed;
}

static void changed(int page) {
	model[page].by = what;
	model[page].when = op;
}

static uint64_t state;
static uint64_t rnd(void) {
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 2685821657736338717u >> 11;
}
static int below(int n) { return rnd() % n; }

static void fail(const char *why, long got, long want) {
	printf("operation %ld (%s, page %d, %d pages): %s: got %#lx, want %#lx\n", op, what, first, length, why, got, want);
	printf("page %d: last changed by %s at operation %ld\n", first, model[first].by, model[first].when);
	printf("page %d: mapped %d prot %d; fault: code %d, offset %#lx, trap %ld, err %#lx\n", first,
	       model[first].mapped, model[first].prot, fault.code, (long)(fault.addr - window), fault.trap, fault.err);
	fflush(stdout);
	_exit(1);
}
#define SAME(why, got, want)                                     \
	do {                                                     \
		long g_ = (long)(got), w_ = (long)(want);        \
		if (g_ != w_)                                    \
			fail(why, g_, w_);                       \
	} while (0)

static unsigned char *at(int page) { return window + (long)page * PAGE; }

// allowed says whether an access kind works on a page. On x86 a page that can
// be written can be read.
static int allowed(int page, int kind) {
	int p = model[page].prot;
	if (!model[page].mapped)
		return 0;
	switch (kind) {
	case READ: return p != PROT_NONE;
	case WRITE: return (p & PROT_WRITE) != 0;
	default: return (p & PROT_EXEC) != 0;
	}
}

// expect compares the last fault with the one the model foresees.
static void expect(int page, unsigned char *addr, int kind) {
	SAME("faults", fault.seen, 1);
	SAME("fault address", fault.addr - window, addr - window);
	SAME("fault code", fault.code, model[page].mapped ? SEGV_ACCERR : SEGV_MAPERR);
	SAME("fault trap", fault.trap, 14);
	SAME("fault CR2", fault.cr2 - (long)window, addr - window);
	SAME("fault error, write and fetch bits", fault.err & 0x12, kind == WRITE ? 2 : kind == EXEC ? 0x10 : 0);
	faults++;
}

static void map_model(int from, int n, int prot) {
	for (int i = from; i < from + n; i++) {
		model[i].mapped = 1;
		model[i].prot = prot;
		memset(model[i].data, 0, PAGE);
		changed(i);
	}
}

static void unmap_model(int from, int n) {
	for (int i = from; i < from + n; i++) {
		model[i].mapped = 0;
		changed(i);
	}
}

// random_prot never gives execution without reading: with protection keys
// Linux makes such a page unreadable, without them readable.
static int random_prot(void) {
	static const int prots[] = {
	    PROT_NONE, PROT_READ, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
	    PROT_WRITE, PROT_READ | PROT_EXEC, PROT_READ | PROT_WRITE | PROT_EXEC,
	};
	return prots[below(8)];
}

static void range(void) {
	first = below(PAGES);
	length = 1 + below(below(4) ? 3 : 16);
	if (first + length > PAGES)
		length = PAGES - first;
}

static void do_mmap(void) {
	range();
	int prot = random_prot();
	if (below(4) == 0) {
		what = "mmap MAP_FIXED_NOREPLACE";
		int used = 0;
		for (int i = first; i < first + length; i++)
			used |= model[i].mapped;
		errno = 0;
		void *p = mmap(at(first), (long)length * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		if (used) {
			SAME("result", p, MAP_FAILED);
			SAME("errno", errno, EEXIST);
			return;
		}
		SAME("result", p, at(first));
	} else {
		what = "mmap MAP_FIXED";
		void *p = mmap(at(first), (long)length * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		SAME("result", p, at(first));
	}
	map_model(first, length, prot);
}

static void do_munmap(void) {
	what = "munmap";
	range();
	SAME("result", munmap(at(first), (long)length * PAGE), 0);
	unmap_model(first, length);
}

// do_mprotect: pages before the first gap change, then ENOMEM.
static void do_mprotect(void) {
	what = "mprotect";
	range();
	int prot = random_prot();
	errno = 0;
	int r = mprotect(at(first), (long)length * PAGE, prot);
	int i = first;
	for (; i < first + length && model[i].mapped; i++) {
		model[i].prot = prot;
		changed(i);
	}
	SAME("result", r, i < first + length ? -1 : 0);
	if (r != 0)
		SAME("errno", errno, ENOMEM);
}

// do_dontneed: all mapped pages are emptied; ENOMEM when there is a gap.
static void do_dontneed(void) {
	what = "madvise MADV_DONTNEED";
	range();
	errno = 0;
	int r = madvise(at(first), (long)length * PAGE, MADV_DONTNEED), gap = 0;
	for (int i = first; i < first + length; i++) {
		gap |= !model[i].mapped;
		memset(model[i].data, 0, PAGE);
		changed(i);
	}
	SAME("result", r, gap ? -1 : 0);
	if (gap)
		SAME("errno", errno, ENOMEM);
}

static void move_model(int to, int from, int n) {
	for (int i = 0; i < n; i++) {
		model[to + i] = model[from + i];
		changed(to + i);
	}
	unmap_model(from, n);
}

// do_mremap moves one page or a new block of pages, or changes a page's size.
static void do_mremap(void) {
	range();
	if (!model[first].mapped) {
		what = "mremap of nothing";
		errno = 0;
		SAME("result", mremap(at(first), PAGE, 2 * PAGE, MREMAP_MAYMOVE), MAP_FAILED);
		SAME("errno", errno, EFAULT);
		return;
	}
	int prot = model[first].prot;
	switch (below(4)) {
	case 0: {
		what = "mremap in place";
		int free = 1;
		for (int i = first + 1; i < first + length; i++)
			free &= !model[i].mapped;
		errno = 0;
		void *p = mremap(at(first), PAGE, (long)length * PAGE, 0);
		if (!free) {
			SAME("result", p, MAP_FAILED);
			SAME("errno", errno, ENOMEM);
			return;
		}
		SAME("result", p, at(first));
		map_model(first + 1, length - 1, prot);
		return;
	}
	case 1: {
		what = "mremap to a place, growing";
		int to = below(PAGES - length + 1);
		errno = 0;
		void *p = mremap(at(first), PAGE, (long)length * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(to));
		if (to <= first && first < to + length) {
			SAME("result", p, MAP_FAILED);
			SAME("errno", errno, EINVAL);
			return;
		}
		SAME("result", p, at(to));
		move_model(to, first, 1);
		map_model(to + 1, length - 1, prot);
		return;
	}
	default: {
		what = "mremap of a block";
		if (length > PAGES / 2)
			length = PAGES / 2;
		int to = first + length + length <= PAGES ? first + length : first - length;
		if (to < 0)
			return;
		prot |= PROT_READ | PROT_WRITE;
		void *p = mmap(at(first), (long)length * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		SAME("mmap", p, at(first));
		map_model(first, length, prot);
		for (int i = first; i < first + length; i += 1 + below(3)) {
			int o = below(PAGE);
			at(i)[o] = model[i].data[o] = rnd();
		}
		int keep = 1 + below(length);
		p = mremap(at(first), (long)length * PAGE, (long)keep * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at(to));
		SAME("result", p, at(to));
		unmap_model(first + keep, length - keep);
		move_model(to, first, keep);
	}
	}
}

static void do_load(void) {
	first = below(PAGES), length = 1;
	int o = below(PAGE);
	fault.seen = 0;
	if (below(2)) {
		what = "load of a byte";
		long v = load1(at(first) + o);
		if (!allowed(first, READ)) {
			expect(first, at(first) + o, READ);
			return;
		}
		SAME("faults", fault.seen, 0);
		SAME("value", v, model[first].data[o]);
		return;
	}
	what = "load of 8 bytes";
	if (o > PAGE - 8)
		o = PAGE - 8;
	long v = load8(at(first) + o), want;
	if (!allowed(first, READ)) {
		expect(first, at(first) + o, READ);
		return;
	}
	memcpy(&want, model[first].data + o, 8);
	SAME("faults", fault.seen, 0);
	SAME("value", v, want);
}

static void do_store(void) {
	first = below(PAGES), length = 1;
	int o = below(PAGE), wide = below(2);
	long v = below(8) ? (long)rnd() : (long)0xc3c3c3c3c3c3c3c3;
	what = wide ? "store of 8 bytes" : "store of a byte";
	if (wide && o > PAGE - 8)
		o = PAGE - 8;
	fault.seen = 0;
	if (wide)
		store8(at(first) + o, v);
	else
		store1(at(first) + o, v);
	if (!allowed(first, WRITE)) {
		expect(first, at(first) + o, WRITE);
		return;
	}
	SAME("faults", fault.seen, 0);
	memcpy(model[first].data + o, &v, wide ? 8 : 1);
}

// do_straddle: an access across two pages names the second page's first byte
// when only that page is missing, and then changes nothing in the first.
static void do_straddle(void) {
	first = below(PAGES - 1), length = 2;
	int kind = below(2) ? WRITE : READ, o = PAGE - 1 - below(7), head = PAGE - o;
	if (!allowed(first, kind))
		return;
	long v = rnd(), got;
	fault.seen = 0;
	what = kind == WRITE ? "store across pages" : "load across pages";
	got = kind == WRITE ? store8(at(first) + o, v) : load8(at(first) + o);
	if (!allowed(first + 1, kind)) {
		expect(first + 1, at(first + 1), kind);
		return;
	}
	SAME("faults", fault.seen, 0);
	if (kind == WRITE) {
		memcpy(model[first].data + o, &v, head);
		memcpy(model[first + 1].data, (char *)&v + head, 8 - head);
		return;
	}
	memcpy(&v, model[first].data + o, head);
	memcpy((char *)&v + head, model[first + 1].data, 8 - head);
	SAME("value", got, v);
}

// do_execute jumps into a page that holds a ret there, or may not be executed.
static void do_execute(void) {
	what = "execute";
	first = below(PAGES), length = 1;
	int o = below(PAGE);
	fault.seen = 0;
	if (allowed(first, EXEC)) {
		if (model[first].data[o] != 0xc3) {
			if (!allowed(first, WRITE))
				return;
			at(first)[o] = model[first].data[o] = 0xc3;
		}
		execute(at(first) + o);
		SAME("faults", fault.seen, 0);
		return;
	}
	execute(at(first) + o);
	expect(first, at(first) + o, EXEC);
}

// do_syscall has the kernel read and write the page through a pipe.
static void do_syscall(void) {
	static int fds[2] = {-1, -1};
	if (fds[0] < 0)
		CHECK(pipe(fds) == 0);
	first = below(PAGES), length = 1;
	int o = below(PAGE - 8);
	long buf, want = rnd();
	fault.seen = 0;
	errno = 0;
	if (below(2)) {
		what = "write(2) from the page";
		int r = write(fds[1], at(first) + o, 8);
		if (!allowed(first, READ)) {
			SAME("result", r, -1);
			SAME("errno", errno, EFAULT);
		} else {
			SAME("result", r, 8);
			SAME("read", read(fds[0], &buf, 8), 8);
			memcpy(&want, model[first].data + o, 8);
			SAME("value", buf, want);
		}
	} else {
		what = "read(2) into the page";
		SAME("write", write(fds[1], &want, 8), 8);
		int r = read(fds[0], at(first) + o, 8);
		if (!allowed(first, WRITE)) {
			SAME("result", r, -1);
			SAME("errno", errno, EFAULT);
			SAME("read of what stayed", read(fds[0], &buf, 8), 8);
			SAME("value", buf, want);
		} else {
			SAME("result", r, 8);
			memcpy(model[first].data + o, &want, 8);
		}
	}
	SAME("faults", fault.seen, 0);
}

// sweep compares every byte that can be read and returns a hash of the state.
static uint64_t sweep(void) {
	uint64_t hash = 14695981039346656037u;
	what = "sweep", length = 1;
	for (first = 0; first < PAGES; first++) {
		hash = (hash ^ (model[first].mapped ? model[first].prot : 99)) * 1099511628211u;
		if (!model[first].mapped)
			continue;
		if (allowed(first, READ))
			SAME("contents", memcmp(at(first), model[first].data, PAGE) != 0, 0);
		for (int i = 0; i < PAGE; i++)
			hash = (hash ^ model[first].data[i]) * 1099511628211u;
	}
	return hash;
}

int main(int argc, char **argv) {
	CHECK(argc == 3);
	long ops = atol(argv[2]);
	state = atol(argv[1]) * 0x9e3779b97f4a7c15u + 1;
	CHECK_EQ(sysconf(_SC_PAGESIZE), PAGE);
	on(SIGSEGV, handler, 0);
	// A page on each side stays reserved, so that nothing else of this program
	// is mapped next to the window.
	unsigned char *all = mmap(NULL, (PAGES + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	CHECK(all != MAP_FAILED);
	window = all + PAGE;
	map_model(0, PAGES, PROT_NONE);
	printf("seed %s\n", argv[1]);

	static const struct {
		const char *name;
		void (*run)(void);
		int weight;
	} kinds[] = {
	    {"mmap", do_mmap, 10},	  {"munmap", do_munmap, 6},   {"mprotect", do_mprotect, 12},
	    {"dontneed", do_dontneed, 4}, {"mremap", do_mremap, 6},   {"load", do_load, 20},
	    {"store", do_store, 24},	  {"straddle", do_straddle, 6}, {"execute", do_execute, 8},
	    {"syscall", do_syscall, 4},
	};
	for (op = 0; op < ops; op++) {
		int r = below(100), k = 0;
		while (r >= kinds[k].weight)
			r -= kinds[k++].weight;
		counts[k]++;
		kinds[k].run();
		if (op % 500 == 499)
			sweep();
	}
	for (int k = 0; k < 10; k++)
		printf("%s %ld\n", kinds[k].name, counts[k]);
	printf("%ld operations, %ld faults, state %016llx\n", ops, faults, (unsigned long long)sweep());
	return 0;
}
