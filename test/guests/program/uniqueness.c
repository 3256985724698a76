// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// What a program takes for unique: made ready before its event, asked for after it.
// For the event "show" it prints a name and a value on each line; for any other it
// only checks that everything works. The lines from "shared" on are kept in plain
// memory, so they are the same in every clone of a snapshot.
#include "guest.h"
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/timerfd.h>

static char *out;
static size_t out_n;

static void hex(const char *name, const void *p, size_t n) {
	out_n += sprintf(out + out_n, "%s ", name);
	for (size_t i = 0; i < n; i++)
		out_n += sprintf(out + out_n, "%02x", ((const uint8_t *)p)[i]);
	out[out_n++] = '\n';
}

static void number(const char *name, long long v) { out_n += sprintf(out + out_n, "%s %lld\n", name, v); }

// generator is how arc4random-like generators protect themselves: the key lies in a
// page that is empty in a fork, and an empty key is drawn anew.
struct generator {
	uint64_t keyed, key[2];
};

static uint64_t next(struct generator *g) {
	if (!g->keyed) {
		CHECK_EQ(getrandom(g->key, sizeof g->key, 0), sizeof g->key);
		g->keyed = 1;
	}
	uint64_t a = g->key[0], b = g->key[1]; // xorshift128+
	g->key[0] = b;
	a ^= a << 23;
	g->key[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
	return g->key[1] + b;
}

static void read_file(const char *name, char *to, size_t n) {
	memset(to, 0, n);
	int fd = open(name, O_RDONLY);
	if (fd < 0)
		return;
	CHECK(read(fd, to, n - 1) >= 0);
	close(fd);
}

int main(void) {
	out = malloc(1 << 16);
	struct generator *wiped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(wiped != MAP_FAILED && madvise(wiped, 4096, MADV_WIPEONFORK) == 0);
	struct generator *kept = calloc(1, sizeof *kept), *plain = calloc(1, sizeof *plain);
	uint64_t sum = next(wiped) + next(kept) + next(plain);
	CHECK(sum != 0);
	pid_t pid = getpid();
	unsigned seed;
	CHECK_EQ(getrandom(&seed, sizeof seed, 0), sizeof seed);
	srand(seed);
	uint8_t early[16], buf[32];
	CHECK_EQ(getrandom(early, sizeof early, 0), sizeof early);
	int urandom = open("/dev/urandom", O_RDONLY);
	CHECK(urandom >= 0 && read(urandom, buf, 7) == 7);
	char generation[32], before[32];
	read_file("/run/kontain/generation", before, sizeof before);
	int timer = timerfd_create(CLOCK_MONOTONIC, 0);
	struct itimerspec left = {.it_value.tv_sec = 1000};
	CHECK(timer >= 0 && timerfd_settime(timer, 0, &left, NULL) == 0);
	int64_t mono = now(CLOCK_MONOTONIC), real = now(CLOCK_REALTIME);

	char event[16] = "";
	CHECK(read(0, event, sizeof event - 1) >= 0);

	number("passed", now(CLOCK_MONOTONIC) - mono);
	number("passed_real", now(CLOCK_REALTIME) - real);
	number("real", now(CLOCK_REALTIME));
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME_COARSE, &ts);
	number("coarse", ts.tv_sec * 1000000000LL + ts.tv_nsec);
	CHECK(timerfd_gettime(timer, &left) == 0);
	number("timer", left.it_value.tv_sec * 1000000000LL + left.it_value.tv_nsec);
	CHECK_EQ(getrandom(buf, 32, 0), 32);
	hex("getrandom", buf, 32);
	CHECK_EQ(read(urandom, buf, 32), 32);
	hex("open_urandom", buf, 32);
	int fd = open("/dev/urandom", O_RDONLY);
	CHECK(fd >= 0 && read(fd, buf, 32) == 32);
	hex("urandom", buf, 32);
	fd = open("/dev/random", O_RDONLY);
	CHECK(fd >= 0 && read(fd, buf, 32) == 32);
	hex("random", buf, 32);
	hex("at_random", (void *)getauxval(AT_RANDOM), 16);
	number("wiped_page_keyed", wiped->keyed);
	number("wiped_generator", next(wiped));
	if (getpid() != pid)
		kept->keyed = 0;
	number("pid_generator", next(kept));
	number("pid", getpid());
	char name[] = "/tmp/guestXXXXXX";
	fd = mkstemp(name);
	CHECK(fd >= 0 && unlink(name) == 0);
	hex("mkstemp", name + 10, 6);
	read_file("/run/kontain/generation", generation, sizeof generation);
	number("generation", atoll(generation));
	number("generation_before", atoll(before));
	number("shared_generator", next(plain));
	number("shared_rand", rand());
	hex("shared_early", early, 16);
	uint64_t guard;
	asm("mov %%fs:40, %0" : "=r"(guard));
	hex("shared_stack_guard", &guard, 8);

	if (strcmp(event, "show") == 0)
		fwrite(out, 1, out_n, stdout);
	else
		puts("all of it works");
	return 0;
}
