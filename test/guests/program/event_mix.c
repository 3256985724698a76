// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Does something with its event that the first byte says: transforms it with much
// or little memory, files or threads, fails with a status, or dies. It counts what it
// did in memory and in a file: an event that sees another one's count prints it.
#include "guest.h"
#include <ctype.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

static int count;
static char dir[] = "/tmp/guestXXXXXX";

static void *reverse(void *arg) {
	uint8_t **p = arg;
	for (uint8_t *a = p[0], *b = p[1] - 1; a < b; a++, b--) {
		uint8_t c = *a;
		*a = *b;
		*b = c;
	}
	count++;
	return NULL;
}

int main(void) {
	CHECK(mkdtemp(dir) != NULL);
	char name[64];
	snprintf(name, sizeof name, "%s/f", dir);
	size_t n = 0, room = 4096;
	uint8_t *b = malloc(room);
	for (ssize_t k; (k = read(0, b + n, room - n)) != 0; n += k) {
		CHECK(k > 0);
		if (n + k == room)
			b = realloc(b, room *= 2);
	}
	count += n;
	int what = n ? b[0] % 16 : 15;
	rmdir(dir); // an event that dies leaves nothing
	switch (what) {
	case 0:
		printf("fails with %zu\n", n);
		return n % 256;
	case 1:
		abort();
	case 2:
		printf("before the end\n");
		*(volatile char *)n = 1;
	case 3: {
		size_t big = (n % 61 + 1) << 16;
		uint8_t *m = mmap(NULL, big, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		CHECK(m != MAP_FAILED);
		unsigned sum = 0;
		for (size_t i = 0; i < big; i++)
			sum += m[i], m[i] = b[i % n];
		printf("%zu bytes summed up to %u\n", big, sum);
		break;
	}
	case 4:
	case 5: {
		CHECK(mkdir(dir, 0700) == 0);
		int fd = open(name, O_RDWR | O_CREAT | O_APPEND, 0600);
		CHECK(fd >= 0 && write(fd, b, n) == (ssize_t)n);
		printf("%ld bytes in a file\n", (long)lseek(fd, 0, SEEK_END));
		if (what == 4) {
			CHECK(unlink(name) == 0 && rmdir(dir) == 0);
		} else {
			unlink(name);
			rmdir(dir);
			CHECK(chdir("/") == 0);
		}
		break;
	}
	case 6: {
		pthread_t t;
		uint8_t *range[2] = {b, b + n};
		CHECK(pthread_create(&t, NULL, reverse, range) == 0);
		CHECK(pthread_join(t, NULL) == 0);
		fwrite(b, 1, n, stdout);
		break;
	}
	case 7:
		for (size_t i = 0; i < n; i++)
			printf("%s%02x", i % 32 ? " " : "\n", b[i]);
		break;
	default:
		for (size_t i = 0; i < n; i++)
			b[i] = toupper(b[i]);
		fwrite(b, 1, n, stdout);
	}
	printf("count %d\n", count);
	return what == 8 ? 65 : 0;
}
