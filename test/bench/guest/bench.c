/* Copyright 2026 The Kontain Eventing Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * The guest of the benchmarks: bench MODE [COUNT]. It measures with its own
 * clock, natively and in a virtual machine alike, and prints one line of JSON:
 * how many operations and how many nanoseconds they took. bench hello and bench hold
 * measure nothing. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void print(uint64_t ops, uint64_t ns)
{
	printf("{\"ops\":%llu,\"ns\":%llu}\n", (unsigned long long)ops, (unsigned long long)ns);
}

/* Keeps a result alive without storing it. */
static void keep(uint64_t v)
{
	__asm__ volatile("" : : "r"(v));
}

/* Integer work in registers. */
static void spin(uint64_t n)
{
	uint64_t x = 88172645463325252u, start = now();

	for (uint64_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	keep(x);
	print(n, now() - start);
}

/* A walk in random order over 16 MiB: caches and address translation. */
static void walk(uint64_t n)
{
	enum { SLOTS = 16 << 20 >> 6 };
	static struct { uint64_t next; char line[56]; } slot[SLOTS];
	uint64_t x = 88172645463325252u, at = 0, start;

	for (uint64_t i = 0; i < SLOTS; i++)
		slot[i].next = i;
	for (uint64_t i = SLOTS - 1; i > 0; i--) { /* Sattolo: one cycle through all */
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		uint64_t j = x % i, t = slot[i].next;
		slot[i].next = slot[j].next;
		slot[j].next = t;
	}
	start = now();
	for (uint64_t i = 0; i < n; i++)
		at = slot[at].next;
	keep(at);
	print(n, now() - start);
}

static void call_getpid(uint64_t n)
{
	uint64_t start = now();

	for (uint64_t i = 0; i < n; i++)
		syscall(SYS_getpid);
	print(n, now() - start);
}

static void read_clock(uint64_t n)
{
	uint64_t start = now();

	for (uint64_t i = 0; i < n; i++)
		keep(now());
	print(n, now() - start);
}

/* First touches of new memory, one every 2 MiB. */
static void touch(uint64_t n)
{
	const size_t step = 2 << 20;
	char *p = mmap(NULL, n * step, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t start;

	if (p == MAP_FAILED)
		die("mmap");
	start = now();
	for (uint64_t i = 0; i < n; i++)
		((volatile char *)p)[i * step] = 1;
	print(n, now() - start);
}

/* The store in faults() is this long. */
enum { STORE = 3 };

static void skip_store(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig;
	(void)info;
	uc->uc_mcontext.gregs[REG_RIP] += STORE;
}

/* Stores to a page without access: page fault, SIGSEGV to a handler, return. */
static void faults(uint64_t n)
{
	struct sigaction action;
	char *p = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t start;

	if (p == MAP_FAILED)
		die("mmap");
	memset(&action, 0, sizeof action);
	action.sa_sigaction = skip_store;
	action.sa_flags = SA_SIGINFO;
	if (sigaction(SIGSEGV, &action, NULL) != 0)
		die("sigaction");
	start = now();
	for (uint64_t i = 0; i < n; i++)
		__asm__ volatile(".byte 0xc6, 0x07, 0x00" : : "D"(p) : "memory"); /* movb $0, (%rdi) */
	print(n, now() - start);
}

static volatile sig_atomic_t ticks;

static void tick(int sig)
{
	(void)sig;
	ticks++;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* A timer's signal every 2 ms while the program computes: prints the median
 * time that the program stood still for one (kick, delivery, return). */
static void ticked(uint64_t n)
{
	struct itimerval every = {{0, 2000}, {0, 2000}}, off = {{0, 0}, {0, 0}};
	uint64_t *gap = calloc(n, sizeof *gap), got = 0, first = now(), cycles = __rdtsc(), last;
	sig_atomic_t seen = 0;

	if (!gap)
		die("calloc");
	if (signal(SIGALRM, tick) == SIG_ERR)
		die("signal");
	if (setitimer(ITIMER_REAL, &every, NULL) != 0)
		die("setitimer");
	last = __rdtsc();
	while (got < n) {
		sig_atomic_t now_seen = ticks;

		if (now_seen != seen) { /* the handler ran after the last reading */
			gap[got++] = __rdtsc() - last;
			seen = now_seen;
		}
		last = __rdtsc();
	}
	setitimer(ITIMER_REAL, &off, NULL);
	double ns_per_cycle = (double)(now() - first) / (double)(__rdtsc() - cycles);
	qsort(gap, n, sizeof *gap, by_value);
	print(n, (uint64_t)((double)gap[n / 2] * ns_per_cycle * (double)n));
}

static uint64_t wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A function: waits as many milliseconds as its event says in "hold", and answers
 * with the wall clock, in nanoseconds, from before and after. */
static int hold(void)
{
	char event[4096];
	size_t size = 0;
	ssize_t n;
	uint64_t started, ms;
	const char *at;

	while ((n = read(STDIN_FILENO, event + size, sizeof event - 1 - size)) > 0)
		size += (size_t)n;
	if (n < 0)
		die("read");
	started = wall();
	event[size] = 0;
	at = strstr(event, "\"hold\":");
	if (!at) {
		fprintf(stderr, "the event has no \"hold\"\n");
		return 65;
	}
	ms = strtoull(at + strlen("\"hold\":"), NULL, 10);
	nanosleep(&(struct timespec){(time_t)(ms / 1000), (long)(ms % 1000 * 1000000)}, NULL);
	printf("{\"started\":%llu,\"ended\":%llu}\n", (unsigned long long)started, (unsigned long long)wall());
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(uint64_t);
	} modes[] = {
		{"spin", spin}, {"walk", walk}, {"getpid", call_getpid}, {"clock", read_clock},
		{"touch", touch}, {"faults", faults}, {"ticked", ticked},
	};

	if (argc == 2 && strcmp(argv[1], "hello") == 0) {
		puts("hello");
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "hold") == 0)
		return hold();
	for (size_t i = 0; argc == 3 && i < sizeof modes / sizeof *modes; i++) {
		unsigned long long n = strtoull(argv[2], NULL, 10);

		if (strcmp(argv[1], modes[i].name) == 0 && n > 0) {
			modes[i].run(n);
			return 0;
		}
	}
	fprintf(stderr, "usage: bench hello | hold | spin N | walk N | getpid N | clock N | touch N | faults N | ticked N\n");
	return 2;
}
