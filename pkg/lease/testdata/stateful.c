/* Copyright 2026 The Kontain Eventing Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Keeps state wherever a program can, and prints it: an event that finds
 * anything of an earlier one gives another answer. What it does depends on the
 * event alone. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static unsigned events, table[256];
static char in[64 << 10];
static _Thread_local unsigned local;

static void nothing(int signal)
{
	(void)signal;
}

int main(void)
{
	size_t len = 0;
	ssize_t r;
	unsigned hash = 2166136261u;
	double real = 1;
	struct stat st = { 0 };
	struct sigaction old;
	sigset_t mask, before;

	for (unsigned i = 0; i < 256; i++)
		table[i] = i * 2654435761u;
	int log = open("/tmp/log", O_RDWR | O_CREAT | O_APPEND, 0600);
	char *heap = malloc(1000), *map = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (log < 0 || !heap || map == MAP_FAILED)
		return 3;
	strcpy(heap, "heap");

	while ((r = read(0, in + len, sizeof in - len)) > 0)
		len += (size_t)r;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)in[i]) * 16777619u;

	events++;
	local++;
	real += hash / 3.0;
	heap[hash % 4] ^= 1;
	for (unsigned i = 0; i < hash % 200; i++)
		map[(size_t)i * 4096]++;
	if (fstat(log, &st) || write(log, in, len) != (ssize_t)len)
		return 3;
	if (hash % 4 == 0)
		munmap(map + (64 << 10), 64 << 10);
	if (hash % 5 == 0)
		mprotect(table, 1, PROT_READ | PROT_WRITE | PROT_EXEC);
	char *end = sbrk(hash % 3 * 4096);
	sigaction(SIGUSR1, NULL, &old);
	signal(SIGUSR1, nothing);
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	sigprocmask(SIG_BLOCK, &mask, &before);
	alarm(100 + hash % 7);

	printf("events %u, local %u, log %ld, heap %.4s, page %d, brk %d, handler %d, blocked %d, descriptor %d, real %.3f\n",
	       events, local, (long)st.st_size, heap, map[0], end != NULL, old.sa_handler != SIG_DFL,
	       sigismember(&before, SIGUSR2), open("/tmp/more", O_RDWR | O_CREAT, 0600), real);
	fflush(stdout);
	if (hash % 31 == 0)
		*(volatile int *)0x1230 = 1;
	if (hash % 10 == 0) {
		fprintf(stderr, "never\n");
		return 65;
	}
	if (hash % 17 == 0) {
		fprintf(stderr, "not now\n");
		return 1;
	}
	if (hash % 251 == 0)
		for (volatile unsigned n = 0;; n++)
			;
	return 0;
}
