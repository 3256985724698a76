// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Leaves a mark in everything that it can change, and shows all of what it can read:
// what one event does, the next one must not see. It makes one of everything, waits
// for its event, and then
//
//	look  prints what it finds, a line for each thing
//	mark  changes everything, prints the same lines, and ends with marks in the registers
//	quiet as mark, but prints only that all of it worked
//
// Without an event that it knows it does as for quiet.
#include "guest.h"
#include <cpuid.h>
#include <dirent.h>
#include <fcntl.h>
#include <immintrin.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

#define PAGE 4096
#define MARK 0xa5

enum { GPRS = 16, FLAGS = GPRS, SEGMENTS, REGS };

static struct capture {
	uint64_t regs[REGS];
	uint64_t fs, gs;
	uint8_t xsave[16384] __attribute__((aligned(64)));
} captured;
static uint8_t marked_xsave[16384] __attribute__((aligned(64)));
static uint64_t xcr0;

static uint8_t bss[64 * PAGE];
static uint8_t data[4 * PAGE] = {1, 2, 3};
static const uint8_t constant[4 * PAGE] __attribute__((aligned(PAGE))) = {4, 5, 6};
static __thread uint64_t tls[8] = {7};
static uint8_t alternative[8 * PAGE];

static uint8_t *heap, *pages, *none, *readonly, *gone, *wiped, *file_private;
static int file, dup_of_file, folder, pipes[2], event, epoll, timer_fd;
static timer_t timer;

// read_event is a read of stdin that captures what is in the registers after it.
__attribute__((noinline)) static long read_event(void *to, size_t n) {
	long ret = 0; // SYS_read
	register uint64_t *r asm("r9") = captured.regs;
	asm volatile("syscall\n\t"
		     "mov %%rax, 0(%3)\n\tmov %%rbx, 8(%3)\n\tmov %%rcx, 16(%3)\n\tmov %%rdx, 24(%3)\n\t"
		     "mov %%rsi, 32(%3)\n\tmov %%rdi, 40(%3)\n\tmov %%rbp, 48(%3)\n\tmov %%rsp, 56(%3)\n\t"
		     "mov %%r8, 64(%3)\n\tmov %%r9, 72(%3)\n\tmov %%r10, 80(%3)\n\tmov %%r11, 88(%3)\n\t"
		     "mov %%r12, 96(%3)\n\tmov %%r13, 104(%3)\n\tmov %%r14, 112(%3)\n\tmov %%r15, 120(%3)\n\t"
		     "lea -128(%%rsp), %%rsp\n\tpushf\n\tpopq 128(%3)\n\tlea 128(%%rsp), %%rsp\n\t"
		     "mov %%ds, 136(%3)\n\tmov %%es, 138(%3)\n\tmov %%fs, 140(%3)\n\tmov %%gs, 142(%3)\n\t"
		     : "+a"(ret)
		     : "D"(0), "S"(to), "r"(r), "d"(n)
		     : "rcx", "r11", "memory");
	if (xcr0)
		asm volatile("xsave64 %0" : "+m"(captured.xsave) : "a"(-1), "d"(-1) : "memory");
	else
		asm volatile("fxsave64 %0" : "+m"(captured.xsave) : : "memory");
	captured.regs[0] = 0; // the length of the event
	return ret;
}

// make_marked fills an XSAVE area with marks that the processor takes.
static void make_marked(void) {
	memset(marked_xsave, 0, sizeof marked_xsave);
	uint16_t control = 0x0f7f;
	uint32_t mxcsr = 0xff80;
	memcpy(marked_xsave, &control, 2);
	marked_xsave[4] = 0xff; // every x87 register is in use
	memcpy(marked_xsave + 24, &mxcsr, 4);
	for (int i = 0; i < 8; i++)
		memset(marked_xsave + 32 + 16 * i, MARK, 10);
	memset(marked_xsave + 160, MARK, 256);
	if (!xcr0)
		return;
	memcpy(marked_xsave + 512, &xcr0, 8);
	for (int i = 2; i < 63; i++) {
		unsigned size, offset, c, d;
		if (!(xcr0 >> i & 1) || !__get_cpuid_count(13, i, &size, &offset, &c, &d) || offset + size > sizeof marked_xsave)
			continue;
		switch (i) {
		case 2: case 5: case 6: case 7: // AVX and AVX-512
			memset(marked_xsave + offset, MARK, size);
			break;
		case 9: // PKRU: a key that no page has
			marked_xsave[offset] = 0xc0;
			break;
		default: { // left at its start
			uint64_t bv;
			memcpy(&bv, marked_xsave + 512, 8);
			bv &= ~(1ULL << i);
			memcpy(marked_xsave + 512, &bv, 8);
		}
		}
	}
}

// mark_registers loads the marks and captures what came of it.
static void mark_registers(void) {
	if (xcr0)
		asm volatile("xrstor64 %1\n\txsave64 %0\n\temms" : "+m"(captured.xsave) : "m"(marked_xsave), "a"(-1), "d"(-1) : "memory");
	else
		asm volatile("fxrstor64 %1\n\tfxsave64 %0\n\temms" : "+m"(captured.xsave) : "m"(marked_xsave) : "memory");
	// What follows computes with the controls it is used to.
	uint32_t mxcsr = 0x1f80;
	asm volatile("ldmxcsr %0\n\tfninit" : : "m"(mxcsr));
	memset(captured.regs, MARK, sizeof captured.regs);
}

// end_with_marks ends the program with marks in every register, flag and base.
static void end_with_marks(void) {
	syscall(SYS_arch_prctl, 0x1001, (uint64_t)bss + 0xa50); // ARCH_SET_GS
	syscall(SYS_arch_prctl, 0x1002, (uint64_t)bss + 0xa58); // ARCH_SET_FS
	if (xcr0)
		asm volatile("xrstor64 %0" : : "m"(marked_xsave), "a"(-1), "d"(-1));
	else
		asm volatile("fxrstor64 %0" : : "m"(marked_xsave));
	asm volatile("mov %%ss, %%eax\n\tmov %%eax, %%ds\n\tmov %%eax, %%es\n\tmov %%eax, %%fs\n\tmov %%eax, %%gs\n\t"
		     "mov $0xa5a5a5a5a5a5a5a5, %%rbx\n\t"
		     "mov %%rbx, %%rcx\n\tmov %%rbx, %%rdx\n\tmov %%rbx, %%rsi\n\tmov %%rbx, %%r8\n\tmov %%rbx, %%r9\n\t"
		     "mov %%rbx, %%r10\n\tmov %%rbx, %%r12\n\tmov %%rbx, %%r13\n\tmov %%rbx, %%r14\n\tmov %%rbx, %%r15\n\t"
		     "pushq $0x240cd7\n\tpopf\n\t" // status flags, DF, ID, AC
		     "mov %%rbx, %%rbp\n\tlea 0xa50(%0), %%rsp\n\t"
		     "xor %%edi, %%edi\n\tmov $231, %%eax\n\tsyscall" // exit_group(0)
		     : : "r"(bss) : "memory");
	__builtin_unreachable();
}

static uint64_t hash(const void *p, size_t n, uint64_t h) {
	const uint8_t *b = p;
	h ^= 0xcbf29ce484222325;
	for (; n >= 8; n -= 8, b += 8) {
		uint64_t v;
		memcpy(&v, b, 8);
		h = (h ^ v) * 0x100000001b3;
		h ^= h >> 29;
	}
	for (; n; n--)
		h = (h ^ *b++) * 0x100000001b3;
	return h;
}

// The lines are kept apart from the heap, so that writing them changes nothing that
// they tell of.
static char *lines;
static size_t lines_n, lines_max = 1 << 18;
static char text[1 << 16]; // a file of /proc

__attribute__((format(printf, 1, 2))) static void line(const char *format, ...) {
	va_list ap;
	va_start(ap, format);
	int n = vsnprintf(lines + lines_n, lines_max - lines_n, format, ap);
	va_end(ap);
	CHECK(n >= 0 && lines_n + n + 2 < lines_max);
	lines_n += n;
	lines[lines_n++] = '\n';
}

static size_t slurp(const char *name) {
	int fd = open(name, O_RDONLY);
	CHECK(fd >= 0);
	size_t n = 0;
	for (ssize_t k; (k = read(fd, text + n, sizeof text - 1 - n)) > 0;)
		n += k;
	close(fd);
	text[n] = 0;
	return n;
}

static void look_registers(void) {
	static const char *names[] = {"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rflags", "segments"};
	for (int i = 1; i < REGS; i++)
		line("register %s: %#lx", names[i], captured.regs[i]);
	uint16_t control;
	uint32_t mxcsr;
	memcpy(&control, captured.xsave, 2);
	memcpy(&mxcsr, captured.xsave + 24, 4);
	line("x87 control: %#x, status and tags %lx", control, hash(captured.xsave + 2, 4, 0));
	line("mxcsr: %#x", mxcsr);
	line("x87 registers: %lx", hash(captured.xsave + 32, 128, 0));
	line("xmm: %lx", hash(captured.xsave + 160, 256, 0));
	for (int i = 2; i < 63; i++) {
		unsigned size, offset, c, d;
		if (!(xcr0 >> i & 1) || !__get_cpuid_count(13, i, &size, &offset, &c, &d) || offset + size > sizeof captured.xsave)
			continue;
		uint64_t bv;
		memcpy(&bv, captured.xsave + 512, 8);
		line("xsave component %d: %lx", i, bv >> i & 1 ? hash(captured.xsave + offset, size, 0) : 0);
	}
	line("fs base: %#lx", captured.fs);
	line("gs base: %#lx", captured.gs);
}

// look_memory hashes every mapping that can be read, except for what differs in
// every clone (AT_RANDOM, pages that are empty in a fork) and the lines themselves.
static void look_memory(void) {
	size_t n = slurp("/proc/self/maps");
	line("mappings: %lx", hash(text, n, 0));
	const uint8_t *random = (const uint8_t *)getauxval(AT_RANDOM);
	uint8_t save[16];
	memcpy(save, random, 16);
	memset((void *)random, 0, 16);
	for (char *p = text; p < text + n;) {
		unsigned long a, b;
		char rights[5];
		CHECK(sscanf(p, "%lx-%lx %4s", &a, &b, rights) == 3);
		char *end = strchr(p, '\n');
		if (rights[0] == 'r' && !((uint8_t *)a <= (uint8_t *)lines && (uint8_t *)lines < (uint8_t *)b)) {
			// The part of the stack that is in use has the values of this event.
			unsigned long to = b, here = (unsigned long)__builtin_frame_address(0);
			if (a <= here && here < b)
				to = here - 16 * PAGE;
			line("memory at %lx-%lx %s: %lx", a, b, rights, hash((void *)a, to - a, 0));
		}
		p = end + 1;
	}
	memcpy((void *)random, save, 16);
	line("heap: %lx", hash(heap, 300000, 0));
	line("pages: %lx", hash(pages, 16 * PAGE, 0));
	line("read-only pages: %lx %lx", hash(readonly, 4 * PAGE, 0), hash(constant, sizeof constant, 0));
	line("bss: %lx, data: %lx, tls: %lx", hash(bss, sizeof bss, 0), hash(data, sizeof data, 0), hash(tls, sizeof tls, 0));
	line("private mapping of a file: %lx", hash(file_private, PAGE, 0));
	line("wiped on fork: %lx", hash(wiped, PAGE, 0));
	line("brk: %p", sbrk(0));
	unsigned char core[16];
	line("mapping that goes: %d", mincore(gone, PAGE, core));
	line("page without access: %d", syscall(SYS_access, none, 0) == -1 ? errno : 0);
	CHECK(mprotect(none, 4 * PAGE, PROT_READ) == 0);
	line("what is behind it: %lx", hash(none, 4 * PAGE, 0));
}

static void look_tree(const char *dir) {
	DIR *d = opendir(dir);
	if (d == NULL) {
		line("folder %s: errno %d", dir, errno);
		return;
	}
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		char path[512];
		struct stat st;
		snprintf(path, sizeof path, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, e->d_name);
		bool dots = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0;
		if (lstat(path, &st) != 0) {
			line("file %s: errno %d", path, errno);
			continue;
		}
		uint64_t h = 0;
		if (S_ISLNK(st.st_mode) && strncmp(path, "/proc", 5) != 0) {
			ssize_t n = readlink(path, text, sizeof text);
			h = n < 0 ? 0 : hash(text, n, 0);
		} else if (S_ISREG(st.st_mode) && strncmp(path, "/tmp", 4) == 0) {
			h = hash(text, slurp(path), 0);
		}
		line("file %s: mode %o, %ld bytes, %ld links, inode %lu, owner %d, changed %ld.%09ld, %lx", path, st.st_mode, (long)st.st_size,
		     (long)st.st_nlink, (unsigned long)st.st_ino, st.st_uid, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, h);
		if (!dots && S_ISDIR(st.st_mode) && strcmp(path, "/proc") != 0 && strcmp(path, "/run") != 0 && strcmp(path, "/sys") != 0)
			look_tree(path);
	}
	closedir(d);
}

static void look_files(void) {
	char cwd[512];
	CHECK(getcwd(cwd, sizeof cwd) != NULL);
	line("cwd: %s", cwd);
	mode_t m = umask(0);
	umask(m);
	line("umask: %o", m);
	for (int fd = 0; fd < 64; fd++) {
		int flags = fcntl(fd, F_GETFD);
		if (flags < 0) {
			line("descriptor %d: closed", fd);
			continue;
		}
		struct stat st;
		CHECK(fstat(fd, &st) == 0);
		char name[64], target[256] = "";
		snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(name, target, sizeof target - 1);
		int there = -1;
		if (ioctl(fd, FIONREAD, &there) != 0)
			there = -1;
		line("descriptor %d: %d, status flags %#x, at %ld, mode %o, inode %lu, %.*s, %d bytes", fd, flags, fcntl(fd, F_GETFL),
		     (long)lseek(fd, 0, SEEK_CUR), st.st_mode, (unsigned long)st.st_ino, (int)(n > 0 ? n : 0), target, fd == 0 ? 0 : there);
	}
	line("pipe: holds %d", fcntl(pipes[1], F_GETPIPE_SZ));
	struct epoll_event ev[16];
	int n = epoll_wait(epoll, ev, 16, 0);
	line("epoll: %d ready", n);
	for (int i = 0; i < n; i++)
		line("epoll event: %#x %#lx", ev[i].events, ev[i].data.u64);
	uint64_t count = 0;
	ssize_t got = read(event, &count, 8);
	line("eventfd: %zd %lu", got, count);
	char buf[8192];
	got = read(pipes[0], buf, sizeof buf);
	line("pipe: %zd bytes, %lx", got, got > 0 ? hash(buf, got, 0) : 0);
	got = read(file, buf, sizeof buf);
	line("file: %zd bytes, %lx", got, got > 0 ? hash(buf, got, 0) : 0);
	line("lowest free descriptor: %d", dup(2));
	look_tree("/tmp");
	look_tree("/");
}

static void look_signals(void) {
	for (int sig = 1; sig <= 64; sig++) {
		struct {
			uint64_t handler, flags, restorer, mask;
		} sa;
		CHECK(syscall(SYS_rt_sigaction, sig, NULL, &sa, 8) == 0);
		line("signal %d: %#lx %#lx %#lx", sig, sa.handler, sa.flags, sa.mask);
	}
	uint64_t set;
	CHECK(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &set, 8) == 0);
	line("signal mask: %#lx", set);
	CHECK(syscall(SYS_rt_sigpending, &set, 8) == 0);
	line("pending signals: %#lx", set);
	stack_t ss;
	CHECK(sigaltstack(NULL, &ss) == 0);
	line("alternative stack: %p %#x %zu", ss.ss_sp, ss.ss_flags, ss.ss_size);
}

// hours rounds what is left of a timer that was set to thousands of seconds.
static long hours(struct timespec ts) { return (ts.tv_sec + 1800) / 3600; }

static void look_timers(void) {
	for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
		struct itimerval it;
		CHECK(getitimer(which, &it) == 0);
		line("interval timer %d: %ld h, every %ld s", which, (it.it_value.tv_sec + 1800) / 3600, (long)it.it_interval.tv_sec);
	}
	struct itimerspec it;
	CHECK(timer_gettime(timer, &it) == 0);
	line("timer: %ld h, every %ld s, overran %d", hours(it.it_value), (long)it.it_interval.tv_sec, timer_getoverrun(timer));
	CHECK(timerfd_gettime(timer_fd, &it) == 0);
	line("timerfd: %ld h, every %ld s", hours(it.it_value), (long)it.it_interval.tv_sec);
	int id = -1;
	struct sigevent se = {.sigev_notify = SIGEV_NONE};
	CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &se, &id) == 0);
	line("next timer: %d", id);
}

static void look_process(void) {
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		struct rlimit r;
		CHECK(getrlimit(i, &r) == 0);
		line("limit %d: %ld %ld", i, (long)r.rlim_cur, (long)r.rlim_max);
	}
	char name[16] = "";
	CHECK(prctl(PR_GET_NAME, name) == 0);
	line("name: %s", name);
	line("prctl: dumpable %d, no new privileges %d", prctl(PR_GET_DUMPABLE), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	int death = -1;
	prctl(PR_GET_PDEATHSIG, &death);
	line("death signal: %d, timer slack %d", death, prctl(PR_GET_TIMERSLACK));
	void *head = NULL;
	size_t len = 0;
	CHECK(syscall(SYS_get_robust_list, 0, &head, &len) == 0);
	line("robust list: %p", head);
	cpu_set_t cpus;
	CPU_ZERO(&cpus);
	sched_getaffinity(0, sizeof cpus, &cpus);
	line("processors: %d, scheduler %d, priority %d", CPU_COUNT(&cpus), sched_getscheduler(0), getpriority(PRIO_PROCESS, 0));
	line("group: %d, session: %d", getpgid(0) == getpid(), getsid(0) == getpid());
	DIR *d = opendir("/proc/self/task");
	CHECK(d != NULL);
	int threads = 0;
	for (struct dirent *e; (e = readdir(d)) != NULL;)
		threads += e->d_name[0] != '.';
	closedir(d);
	line("threads: %d, this one is %d", threads, gettid() == getpid() ? 0 : gettid());
}

static void look(void) {
	look_registers();
	look_memory();
	look_files();
	look_signals();
	look_timers();
	look_process();
}

static void handler(int sig) { (void)sig; }
static uint32_t forever;
static void *park(void *arg) {
	(void)arg;
	prctl(PR_SET_NAME, "parked");
	for (;;)
		syscall(SYS_futex, &forever, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return NULL;
}

static void set_timers(int seconds, int every) {
	struct itimerval iv = {.it_value.tv_sec = seconds, .it_interval.tv_sec = every};
	CHECK(setitimer(ITIMER_REAL, &iv, NULL) == 0);
	CHECK(setitimer(ITIMER_VIRTUAL, &iv, NULL) == 0);
	CHECK(setitimer(ITIMER_PROF, &iv, NULL) == 0);
	struct itimerspec it = {.it_value.tv_sec = seconds, .it_interval.tv_sec = every};
	CHECK(timer_settime(timer, 0, &it, NULL) == 0);
	CHECK(timerfd_settime(timer_fd, 0, &it, NULL) == 0);
}

static void put(const char *path, const char *s) {
	int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, s, strlen(s)), strlen(s));
	close(fd);
}

static char *at(const char *name) {
	static char path[4][128];
	static int i;
	i = (i + 1) % 4;
	snprintf(path[i], sizeof path[i], "%s/%s", scratch_dir, name);
	return path[i];
}

static void prepare(void) {
	make_scratch();
	put(at("kept"), "kept\n");
	put(at("renamed"), "renamed\n");
	put(at("deleted"), "deleted\n");
	put(at("mapped"), "mapped\n");
	CHECK(truncate(at("mapped"), PAGE) == 0);
	CHECK(mkdir(at("folder"), 0755) == 0);
	CHECK(mkdir(at("empty"), 0755) == 0);
	CHECK(symlink("kept", at("link")) == 0);

	heap = malloc(300000);
	memset(heap, 1, 300000);
	pages = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	none = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	readonly = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	gone = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	wiped = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	lines = mmap(NULL, lines_max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED && none != MAP_FAILED && readonly != MAP_FAILED && gone != MAP_FAILED && wiped != MAP_FAILED && lines != MAP_FAILED);
	memset(pages, 2, 8 * PAGE);
	memset(none, 3, 2 * PAGE);
	memset(readonly, 4, 2 * PAGE);
	memset(gone, 5, 2 * PAGE);
	memset(wiped, 6, PAGE);
	CHECK(madvise(wiped, PAGE, MADV_WIPEONFORK) == 0);
	CHECK(mprotect(none, 4 * PAGE, PROT_NONE) == 0);
	CHECK(mprotect(readonly, 4 * PAGE, PROT_READ) == 0);

	file = open(at("kept"), O_RDWR);
	dup_of_file = dup(file);
	folder = open(scratch_dir, O_RDONLY | O_DIRECTORY);
	CHECK(file >= 0 && dup_of_file >= 0 && folder >= 0);
	CHECK_EQ(lseek(file, 2, SEEK_SET), 2);
	int mapped = open(at("mapped"), O_RDWR);
	file_private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, mapped, 0);
	CHECK(file_private != MAP_FAILED && close(mapped) == 0);
	CHECK(pipe2(pipes, O_NONBLOCK) == 0);
	CHECK_EQ(write(pipes[1], "in the pipe", 11), 11);
	event = eventfd(3, EFD_NONBLOCK);
	epoll = epoll_create1(0);
	timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	CHECK(event >= 0 && epoll >= 0 && timer_fd >= 0);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 1};
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[0], &ev) == 0);

	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_RESTART};
	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	struct sigevent se = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	CHECK(timer_create(CLOCK_MONOTONIC, &se, &timer) == 0);
	set_timers(100 * 3600, 11);
	pthread_t t;
	CHECK(pthread_create(&t, NULL, park, NULL) == 0);
	make_marked();
}

static void mark_memory(void) {
	memset(heap, MARK, 300000);
	memset(pages, MARK, 16 * PAGE);
	memset(bss, MARK, sizeof bss);
	memset(data, MARK, sizeof data);
	memset(tls, MARK, sizeof tls);
	memset(wiped, MARK, PAGE);
	memset(file_private, MARK, PAGE);
	memset(alternative, MARK, sizeof alternative);
	volatile uint8_t below[32 * PAGE]; // the stack below
	memset((void *)below, MARK, sizeof below);
	CHECK(mprotect(none, 4 * PAGE, PROT_READ | PROT_WRITE) == 0);
	memset(none, MARK, 4 * PAGE);
	CHECK(mprotect(readonly, 4 * PAGE, PROT_READ | PROT_WRITE) == 0);
	memset(readonly, MARK, 4 * PAGE);
	CHECK(mprotect(readonly, 2 * PAGE, PROT_READ) == 0);
	CHECK(mprotect((void *)constant, sizeof constant, PROT_READ | PROT_WRITE | PROT_EXEC) == 0);
	memset((void *)constant, MARK, sizeof constant);
	CHECK(munmap(gone, 4 * PAGE) == 0);
	CHECK(madvise(pages + 4 * PAGE, 2 * PAGE, MADV_DONTNEED) == 0);
	CHECK(madvise(pages + 8 * PAGE, 2 * PAGE, MADV_WIPEONFORK) == 0);
	CHECK(madvise(wiped, PAGE, MADV_KEEPONFORK) == 0);
	uint8_t *more = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(more != MAP_FAILED);
	memset(more, MARK, 1 << 20);
	more = mmap((void *)0x10000000, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(more, MARK, 1 << 16);
	CHECK(mremap(more, 1 << 16, 1 << 18, MREMAP_MAYMOVE) != MAP_FAILED);
	int fd = open(at("mapped"), O_RDWR);
	uint8_t *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (shared != MAP_FAILED)
		memset(shared, MARK, PAGE);
	else
		CHECK_EQ(pwrite(fd, "changed", 7, 100), 7);
	close(fd);
	uint8_t *old = sbrk(1 << 20);
	CHECK(old != (void *)-1);
	memset(old, MARK, 1 << 20);
	uint8_t *random = (uint8_t *)getauxval(AT_RANDOM);
	memset(random, MARK, 16);
}

static void mark_files(void) {
	put(at("new"), "a mark\n");
	put(at("kept"), "changed by a mark\n");
	CHECK(rename(at("renamed"), at("folder/moved")) == 0);
	CHECK(unlink(at("deleted")) == 0);
	CHECK(rmdir(at("empty")) == 0);
	CHECK(chmod(at("folder"), 0700) == 0);
	CHECK(chmod(at("kept"), 0400) == 0);
	CHECK(link(at("kept"), at("hard")) == 0);
	CHECK(unlink(at("link")) == 0 && symlink("new", at("link")) == 0);
	CHECK(mkdir(at("made"), 0755) == 0);
	put(at("open"), "mark");
	char shortly[] = "/tmp/guestXXXXXX";
	CHECK(mkdtemp(shortly) != NULL && rmdir(shortly) == 0);
	struct timespec old[2] = {{1, 2}, {3, 4}};
	CHECK(utimensat(AT_FDCWD, at("folder"), old, 0) == 0);
	CHECK(chdir(at("made")) == 0);
	umask(0);

	CHECK_EQ(write(pipes[1], "more", 4), 4);
	CHECK_EQ(fcntl(pipes[1], F_SETPIPE_SZ, 8192), 8192);
	uint64_t v = 1000;
	CHECK_EQ(write(event, &v, 8), 8);
	struct epoll_event ev = {.events = EPOLLOUT, .data.u64 = MARK};
	CHECK(epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[1], &ev) == 0);
	CHECK(epoll_ctl(epoll, EPOLL_CTL_MOD, pipes[0], &ev) == 0);
	CHECK(lseek(file, 1, SEEK_SET) == 1);
	CHECK(fcntl(file, F_SETFL, O_APPEND | O_NONBLOCK) == 0);
	CHECK(fcntl(dup_of_file, F_SETFD, FD_CLOEXEC) == 0);
	CHECK(fcntl(2, F_SETFL, O_APPEND) == 0);
	CHECK(fcntl(0, F_SETFD, FD_CLOEXEC) == 0);
	CHECK_EQ(dup2(event, 40), 40);
	CHECK(open(at("open"), O_RDONLY) >= 0);
	int more[2];
	CHECK(pipe(more) == 0);
	CHECK(close(folder) == 0);
	char names[4096];
	CHECK(syscall(SYS_getdents64, open("/", O_RDONLY | O_DIRECTORY), names, sizeof names) > 0);
}

static void mark_process(void) {
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
	sigfillset(&sa.sa_mask);
	for (int sig = 1; sig <= 64; sig++)
		if (sig != SIGKILL && sig != SIGSTOP && sig != SIGUSR2)
			sigaction(sig, &sa, NULL);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGRTMIN + 3);
	CHECK(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	CHECK(kill(getpid(), SIGUSR2) == 0);
	CHECK(pthread_kill(pthread_self(), SIGHUP) == 0);
	union sigval value = {.sival_int = MARK};
	CHECK(sigqueue(getpid(), SIGRTMIN + 3, value) == 0);
	stack_t ss = {.ss_sp = alternative, .ss_size = sizeof alternative};
	CHECK(sigaltstack(&ss, NULL) == 0);

	set_timers(50 * 3600, 7);
	timer_t another;
	struct sigevent se = {.sigev_notify = SIGEV_NONE};
	CHECK(timer_create(CLOCK_REALTIME, &se, &another) == 0);

	struct rlimit r;
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		if (i == RLIMIT_AS || i == RLIMIT_DATA || i == RLIMIT_STACK || i == RLIMIT_CPU || i == RLIMIT_FSIZE)
			continue;
		CHECK(getrlimit(i, &r) == 0);
		r.rlim_cur = r.rlim_cur > 77 ? 77 : r.rlim_cur / 2;
		if (i == RLIMIT_NPROC)
			r.rlim_cur = r.rlim_max;
		CHECK(setrlimit(i, &r) == 0);
	}
	CHECK(prctl(PR_SET_NAME, "a mark") == 0);
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	prctl(PR_SET_DUMPABLE, 0);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	prctl(PR_SET_TIMERSLACK, 123456);
	pthread_t t;
	for (int i = 0; i < 3; i++)
		CHECK(pthread_create(&t, NULL, park, NULL) == 0);
	forever = 1; // no other thread may miss the change
	syscall(SYS_futex, &forever, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	forever = 0;
	syscall(SYS_set_robust_list, bss + 64, 24);
	CHECK(syscall(SYS_arch_prctl, 0x1001, (uint64_t)bss + 0xa48) == 0); // ARCH_SET_GS
}

// clear_up ends quiet: on a real machine nothing may be left behind.
static void clear_up(void) {
	static const char *left[] = {"new", "kept", "folder/moved", "mapped", "hard", "link", "open", "made", "folder", ""};
	CHECK(chdir("/") == 0);
	for (int i = 0; i < (int)(sizeof left / sizeof *left); i++)
		CHECK(remove(at(left[i])) == 0);
	puts("all of it can be marked");
}

int main(void) {
	unsigned a, b, c, d;
	if (__get_cpuid(1, &a, &b, &c, &d) && c & bit_OSXSAVE) {
		asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
		xcr0 = (uint64_t)d << 32 | a;
	}
	prepare();
	static char buf[64];
	long n = read_event(buf, sizeof buf - 1);
	CHECK(n >= 0);
	syscall(SYS_arch_prctl, 0x1003, &captured.fs); // ARCH_GET_FS
	syscall(SYS_arch_prctl, 0x1004, &captured.gs); // ARCH_GET_GS
	bool dump = strcmp(buf, "mark") == 0;
	if (strcmp(buf, "look") != 0) {
		mark_memory();
		mark_files();
		mark_process();
		mark_registers();
		syscall(SYS_arch_prctl, 0x1004, &captured.gs);
		if (!dump)
			clear_up();
	} else {
		dump = true;
	}
	if (dump) {
		look();
		for (size_t at = 0; at < lines_n;) {
			ssize_t k = write(1, lines + at, lines_n - at);
			CHECK(k > 0);
			at += k;
		}
	}
	if (strcmp(buf, "look") == 0)
		return 0;
	end_with_marks();
}
