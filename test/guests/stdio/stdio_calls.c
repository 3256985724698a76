// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: calls on the standard streams, which the machine may answer without its
// monitor, are what they are everywhere: the end of the event read over and over,
// output in pieces of all lengths and in order, also between other ways to write,
// errors, what becomes of them when descriptors are closed, duplicated or replaced,
// registers and flags that stay, single steps, and signals at any time.
#include "guest.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <ucontext.h>

static char text[20000];

static long raw(long nr, long a, long b, long c, long d) {
	long ret;
	register long r10 __asm__("r10") = d;
	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
	return ret;
}

// keeps makes a call with the flags given and checks that they, and the registers of
// the arguments, are what they were.
static void keeps(long nr, long a, long b, long c, long d, unsigned long flags, long want) {
	long ret = nr, rdi = a, rsi = b, rdx = c;
	unsigned long after = flags;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = 8;
	register long r9 __asm__("r9") = 9;
	__asm__ volatile("subq $256, %%rsp\n pushq %[flags]\n popfq\n syscall\n pushfq\n popq %[flags]\n addq $256, %%rsp\n cld"
			 : "+a"(ret), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8), "+r"(r9), [flags] "+b"(after)
			 :
			 : "rcx", "r11", "memory", "cc");
	CHECK_EQ(ret, want);
	CHECK_EQ(rdi, a);
	CHECK_EQ(rsi, b);
	CHECK_EQ(rdx, c);
	CHECK_EQ(r10, d);
	CHECK_EQ(r8, 8);
	CHECK_EQ(r9, 9);
	CHECK_EQ(after & 0xcd5, flags & 0xcd5);
}

static volatile int steps, alarms;
static void step(int sig, siginfo_t *si, void *ctx) {
	(void)sig, (void)si, (void)ctx;
	steps++;
}
static void tick(int sig) {
	(void)sig;
	alarms++;
}

static void *writer(void *arg) {
	for (int i = 0; i < 200; i++) {
		struct stat st;
		CHECK_EQ(fstat(1, &st), 0);
		CHECK_EQ(raw(SYS_read, 0, (long)text, 10, 0), 0);
		CHECK_EQ(raw(SYS_write, 1, (long)arg, 1, 0), 1);
	}
	return 0;
}

int main(void) {
	char buf[64], none;
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = i % 64 == 63 ? '\n' : (char)('!' + i % 90);
	ssize_t n, sum = 0;
	while ((n = read(0, buf, 3)) > 0)
		sum += n;
	CHECK_EQ(n, 0);
	printf("%zd bytes\n", sum);
	fflush(stdout);

	// The end, again and again.
	for (int i = 0; i < 5; i++)
		CHECK_EQ(raw(SYS_read, 0, (long)buf, i, 0), 0);
	CHECK_EQ(raw(SYS_read, 0, -4096, 10, 0), -EFAULT);
	CHECK_EQ(raw(SYS_read, 0, 0x7ffffffff000, 1, 0), -EFAULT);
	CHECK_EQ(raw(SYS_read, 0, (long)buf, -1, 0), -EFAULT);

	// Output of all lengths, in order.
	for (size_t len = 0; len <= 5000; len += len < 20 ? 1 : 497)
		CHECK_EQ(raw(SYS_write, 1, (long)text, len, 0), len);
	CHECK_EQ(raw(SYS_write, 1, (long)text, 20000, 0), 20000);
	for (int i = 0; i < 3000; i++)
		CHECK_EQ(raw(SYS_write, 1, (long)text + i, 2, 0), 2);
	struct iovec iov[2] = {{"<iov", 4}, {">\n", 2}};
	CHECK_EQ(raw(SYS_write, 1, (long)"a\n", 2, 0), 2);
	CHECK_EQ(writev(1, iov, 2), 6);
	CHECK_EQ(raw(SYS_write, 1, (long)"b\n", 2, 0), 2);
	int copy = dup(1);
	CHECK_EQ(write(copy, "copy\n", 5), 5);
	CHECK_EQ(raw(SYS_write, 1, (long)"c\n", 2, 0), 2);

	// Memory that is not there, not yet there, not to be read.
	char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(page != MAP_FAILED);
	CHECK_EQ(raw(SYS_write, 1, (long)page, 4, 0), 4);
	CHECK_EQ(mprotect(page, 4096, PROT_NONE), 0);
	CHECK_EQ(raw(SYS_write, 1, (long)page, 4, 0), -EFAULT);
	CHECK_EQ(munmap(page, 4096), 0);
	CHECK_EQ(raw(SYS_write, 1, (long)page, 4, 0), -EFAULT);
	CHECK_EQ(raw(SYS_write, 1, -1, 4, 0), -EFAULT);
	CHECK_EQ(raw(SYS_write, 1, 1L << 62, 4, 0), -EFAULT);

	// What fstat gives, and where it cannot.
	struct stat one, two;
	CHECK_EQ(raw(SYS_fstat, 1, (long)&one, 0, 0), 0);
	CHECK_EQ(raw(SYS_newfstatat, 1, (long)"", (long)&two, AT_EMPTY_PATH), 0);
	CHECK_EQ(memcmp(&one, &two, sizeof one), 0);
	CHECK(S_ISFIFO(one.st_mode));
	CHECK_EQ(raw(SYS_fstat, copy, (long)&two, 0, 0), 0);
	CHECK_EQ(one.st_ino, two.st_ino);
	CHECK_EQ(raw(SYS_fstat, 1, 8, 0, 0), -EFAULT);
	CHECK_EQ(raw(SYS_fstat, 1, (long)page + 8192 - 8, 0, 0), -EFAULT);
	CHECK_EQ(raw(SYS_fstat, 1, 1L << 62, 0, 0), -EFAULT);
	CHECK_EQ(mprotect(page + 4096, 4096, PROT_READ), 0);
	CHECK_EQ(raw(SYS_fstat, 1, (long)page + 4096, 0, 0), -EFAULT);
	CHECK_EQ(raw(SYS_newfstatat, 1, (long)"x", (long)&two, AT_EMPTY_PATH), -ENOTDIR);
	CHECK_EQ(raw(SYS_newfstatat, 1, (long)"", (long)&two, 0), -ENOENT);
	CHECK_EQ(raw(SYS_newfstatat, 1, 8, (long)&two, AT_EMPTY_PATH), -EFAULT);

	// Registers and flags: none, each status flag, all, and the direction flag.
	static const unsigned long flags[] = {2, 3, 6, 0x12, 0x42, 0x82, 0x802, 0x8d7, 0x402};
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		keeps(SYS_read, 0, (long)buf, 5, 77, flags[i], 0);
		keeps(SYS_write, 1, (long)"f\n", 2, 77, flags[i], 2);
		keeps(SYS_write, 1, 8, 2, 77, flags[i], -EFAULT);
		keeps(SYS_fstat, 1, (long)&two, 2, 77, flags[i], 0);
		keeps(SYS_newfstatat, 1, (long)"", (long)&two, AT_EMPTY_PATH, flags[i], 0);
		keeps(SYS_getpid, 1, 2, 3, 4, flags[i], getpid());
	}

	// Single steps: the call is one.
	on(SIGTRAP, step, 0);
	long ret = SYS_write;
	__asm__ volatile("subq $256, %%rsp\n pushfq\n orq $0x100, (%%rsp)\n popfq\n nop\n syscall\n nop\n pushfq\n andq $~0x100, (%%rsp)\n popfq\n addq $256, %%rsp"
			 : "+a"(ret) : "D"(1), "S"("step\n"), "d"(5) : "rcx", "r11", "memory", "cc");
	CHECK_EQ(ret, 5);
	printf("%d steps\n", steps);
	fflush(stdout);

	// Signals at any time, and two threads.
	signal(SIGALRM, tick);
	struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
	CHECK_EQ(setitimer(ITIMER_REAL, &often, 0), 0);
	for (int i = 0; i < 2000 || alarms < 3; i++) {
		if (i < 2000)
			CHECK_EQ(raw(SYS_write, 1, (long)text + i, 1, 0), 1);
		else
			CHECK_EQ(raw(SYS_read, 0, (long)buf, 1, 0), 0);
	}
	CHECK_EQ(setitimer(ITIMER_REAL, &never, 0), 0);
	pthread_t t;
	CHECK_EQ(pthread_create(&t, 0, writer, "t"), 0);
	writer("t");
	CHECK_EQ(pthread_join(t, 0), 0);

	// Other files under the same numbers.
	int p[2];
	CHECK_EQ(pipe(p), 0);
	CHECK_EQ(write(p[1], "in", 2), 2);
	CHECK_EQ(dup2(p[0], 0), 0);
	CHECK_EQ(raw(SYS_read, 0, (long)buf, 5, 0), 2);
	CHECK_EQ(dup2(p[1], 1), 1);
	CHECK_EQ(raw(SYS_write, 1, (long)"out", 3, 0), 3);
	CHECK_EQ(raw(SYS_fstat, 1, (long)&two, 0, 0), 0);
	CHECK(two.st_ino != one.st_ino);
	CHECK_EQ(raw(SYS_read, 0, (long)buf, 5, 0), 3);
	CHECK_EQ(close(0), 0);
	CHECK_EQ(raw(SYS_read, 0, (long)buf, 5, 0), -EBADF);
	CHECK_EQ(close(1), 0);
	CHECK_EQ(raw(SYS_write, 1, (long)"x", 1, 0), -EBADF);
	CHECK_EQ(raw(SYS_fstat, 1, (long)&two, 0, 0), -EBADF);
	CHECK_EQ(dup2(copy, 1), 1);
	CHECK_EQ(raw(SYS_write, 1, (long)"back\n", 5, 0), 5);
	CHECK_EQ(dup2(1, 0), 0);
	CHECK_ERR(read(0, &none, 1), EBADF);
	CHECK_EQ(raw(SYS_write, 1, (long)"last", 4, 0), 4);
	return 0;
}
