// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Shared by the golden C guests: a check that ends the program with a line that
// says where and what, so that a guest exits 0 only when all of it held.
#ifndef GUEST_H
#define GUEST_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

// CHECK ends the guest with status 1 when e is false.
#define CHECK(e)                                                                            \
	do {                                                                                \
		if (!(e)) {                                                                 \
			int err_ = errno;                                                   \
			printf("check failed: %s:%d: %s (errno %d)\n", __FILE_NAME__,       \
			       __LINE__, #e, err_);                                         \
			fflush(stdout);                                                     \
			_exit(1);                                                           \
		}                                                                           \
	} while (0)

// CHECK_EQ ends the guest with status 1 and both values when they differ.
#define CHECK_EQ(got, want)                                                                 \
	do {                                                                                \
		long long got_ = (long long)(got), want_ = (long long)(want);               \
		if (got_ != want_) {                                                        \
			int err_ = errno;                                                   \
			printf("check failed: %s:%d: %s = %lld, want %s = %lld (errno %d)\n", \
			       __FILE_NAME__, __LINE__, #got, got_, #want, want_, err_);    \
			fflush(stdout);                                                     \
			_exit(1);                                                           \
		}                                                                           \
	} while (0)

// CHECK_ERR ends the guest with status 1 unless e fails with -1 and errno want.
#define CHECK_ERR(e, want)                                                                  \
	do {                                                                                \
		errno = 0;                                                                  \
		long long got_ = (long long)(e);                                            \
		int err_ = errno;                                                           \
		if (got_ != -1 || err_ != (want)) {                                         \
			printf("check failed: %s:%d: %s = %lld errno %d, want -1 errno %d (%s)\n", \
			       __FILE_NAME__, __LINE__, #e, got_, err_, (want), #want);     \
			fflush(stdout);                                                     \
			_exit(1);                                                           \
		}                                                                           \
	} while (0)

// SHOW prints what e returns, and errno when that is -1: the native run says what is
// right. For tables of calls that fail.
#define SHOW(e)                                                                             \
	do {                                                                                \
		errno = 0;                                                                  \
		long long got_ = (long long)(e);                                            \
		int err_ = errno;                                                           \
		if (got_ == -1)                                                             \
			printf("%s: errno %d\n", #e, err_);                                 \
		else                                                                        \
			printf("%s = %lld\n", #e, got_);                                    \
	} while (0)

// BAD is an address where nothing is mapped.
#define BAD ((void *)64)

// Output goes out line by line, so that a guest that hangs or dies shows how far
// it came; a guest that is about output itself defines GUEST_BUFFERED.
#ifndef GUEST_BUFFERED
__attribute__((constructor)) static void by_line(void) { setvbuf(stdout, NULL, _IOLBF, BUFSIZ); }
#endif

// With GUEST_WAIT in its environment a guest first reads one byte: where it waits
// for that, its machine is frozen, and the rest of it runs in a clone.
__attribute__((constructor)) static void wait_for_event(void) {
	char c;
	if (getenv("GUEST_WAIT") && read(0, &c, 1) != 1)
		_exit(99);
}

// on installs a handler with the given flags and an empty mask.
__attribute__((unused)) static void on(int sig, void (*f)(int, siginfo_t *, void *), int flags) {
	struct sigaction sa;
	memset(&sa, 0, sizeof sa);
	sa.sa_sigaction = f;
	sa.sa_flags = SA_SIGINFO | flags;
	CHECK(sigaction(sig, &sa, NULL) == 0);
}

// now returns nanoseconds of a clock.
__attribute__((unused)) static int64_t now(clockid_t clock) {
	struct timespec ts;
	CHECK(clock_gettime(clock, &ts) == 0);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

// sleep_ms sleeps for at least ms milliseconds, through interruptions.
__attribute__((unused)) static void sleep_ms(int ms) {
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};
	while (nanosleep(&ts, &ts) != 0)
		CHECK(errno == EINTR);
}

// drop_privileges gives up all capabilities: a machine's program has none, and who
// runs the tests may be root.
__attribute__((unused)) static void drop_privileges(void) {
	struct {
		uint32_t version;
		int pid;
	} head = {0x20080522, 0};
	uint32_t sets[6] = {0};
	CHECK(syscall(SYS_capset, &head, sets) == 0);
}

// readonly_page returns a page with zeros that cannot be written.
__attribute__((unused)) static void *readonly_page(void) {
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED);
	return p;
}

// page_end returns the last n bytes of a page that has nothing mapped behind it.
__attribute__((unused)) static void *page_end(size_t n) {
	char *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(p != MAP_FAILED && munmap(p + 4096, 4096) == 0);
	return p + 4096 - n;
}

// The name has the process's number, so that whoever ran the guest natively finds
// what one that did not come to its end has left.
static char scratch_dir[] = "/tmp/guest0000000XXXXXX";
static void scratch_gone(void) {
	if (chdir("/") == 0)
		rmdir(scratch_dir);
}

__attribute__((unused)) static void make_scratch(void) {
	snprintf(scratch_dir, sizeof scratch_dir, "/tmp/guest%07uXXXXXX", getpid() % 10000000u);
	CHECK(mkdtemp(scratch_dir) != NULL);
}

// scratch makes an empty folder under /tmp, enters it and returns its path. The
// folder goes at the end, when the guest has emptied it.
__attribute__((unused)) static const char *scratch(void) {
	make_scratch();
	CHECK(chdir(scratch_dir) == 0);
	atexit(scratch_gone);
	return scratch_dir;
}

#endif
