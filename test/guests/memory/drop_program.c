// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// The segments of a program are private mappings of its file: what is dropped of them
// by madvise(MADV_DONTNEED) is the file's again, be it code, constants or variables,
// also after a fork and with an mprotect in between.
#include "guest.h"

#include <sys/wait.h>

#define PAGE 4096

// A page of code of its own.
__attribute__((noinline, section(".text.page"), aligned(PAGE))) static int code(int x) { return 3 * x + 1; }
__attribute__((noinline, section(".text.page"), aligned(PAGE))) static int code_end(int x) { return x - 1; }

static const char constants[3 * PAGE] __attribute__((aligned(PAGE))) = {[0] = 'c', [PAGE] = 'o', [2 * PAGE] = 'n', [3 * PAGE - 1] = 's'};
static char variables[3 * PAGE] __attribute__((aligned(PAGE))) = {[0] = 'v', [PAGE] = 'a', [2 * PAGE] = 'r', [3 * PAGE - 1] = 's'};
static char zeros[2 * PAGE] __attribute__((aligned(PAGE)));
static char after[PAGE] __attribute__((aligned(PAGE), section(".data.after"))) = {'x'};

static void check_constants(void) {
	const volatile char *c = constants;
	CHECK(c[0] == 'c' && c[1] == 0 && c[PAGE] == 'o' && c[2 * PAGE] == 'n' && c[3 * PAGE - 1] == 's');
}

static void check_variables(void) {
	const volatile char *v = variables;
	CHECK(v[0] == 'v' && v[1] == 0 && v[PAGE] == 'a' && v[2 * PAGE] == 'r' && v[3 * PAGE - 1] == 's');
}

static void drop(const void *p, size_t n) { CHECK_EQ(madvise((void *)p, n, MADV_DONTNEED), 0); }

// check_all drops everything and looks at it again.
static void check_all(void) {
	volatile char *v = variables, *z = zeros;
	int (*volatile f)(int) = code;
	CHECK_EQ(f(2), 7);
	drop((void *)code, (char *)code_end - (char *)code);
	CHECK_EQ(f(5), 16);
	drop(constants, sizeof constants);
	check_constants();
	for (size_t i = 0; i < sizeof variables; i++)
		v[i] = 'm';
	for (size_t i = 0; i < sizeof zeros; i++)
		z[i] = 'm';
	drop((void *)(v + PAGE), PAGE);
	CHECK(v[0] == 'm' && v[PAGE] == 'a' && v[PAGE + 1] == 0 && v[2 * PAGE] == 'm');
	drop((void *)v, sizeof variables);
	check_variables();
	drop((void *)z, sizeof zeros);
	CHECK(z[0] == 0 && z[2 * PAGE - 1] == 0);
}

int main(void) {
	CHECK((char *)code_end - (char *)code == PAGE);
	check_constants();
	check_variables();
	CHECK_EQ(((volatile char *)after)[0], 'x');
	check_all();
	puts("dropped");

	// A constant that is made writable, and dropped, is the file's.
	CHECK_EQ(mprotect((void *)constants, sizeof constants, PROT_READ | PROT_WRITE), 0);
	((volatile char *)constants)[PAGE] = 'X';
	CHECK_EQ(((volatile char *)constants)[PAGE], 'X');
	drop(constants + PAGE, PAGE);
	check_constants();
	CHECK_EQ(mprotect((void *)constants, sizeof constants, PROT_READ), 0);
	check_constants();

	// A child drops its own copies.
	((volatile char *)variables)[0] = 'p';
	pid_t pid = fork();
	if (pid == 0) {
		CHECK_EQ(((volatile char *)variables)[0], 'p');
		check_all();
		_exit(0);
	}
	int status;
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(((volatile char *)variables)[0], 'p');
	check_all();
	puts("forked");

	// What is for anonymous memory alone is refused.
	CHECK_ERR(madvise(variables, PAGE, MADV_FREE), EINVAL);
	CHECK_ERR(madvise(variables, PAGE, MADV_WIPEONFORK), EINVAL);
	CHECK_EQ(madvise(variables, PAGE, MADV_DONTFORK), 0);
	CHECK_EQ(madvise(variables, PAGE, MADV_DOFORK), 0);

	// Part of a segment that is moved goes on showing the file.
	char *to = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(to != MAP_FAILED);
	((volatile char *)variables)[2 * PAGE] = 'm';
	CHECK(mremap(variables + 2 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to);
	CHECK_EQ(((volatile char *)to)[0], 'm');
	drop(to, PAGE);
	CHECK_EQ(((volatile char *)to)[0], 'r');
	CHECK_EQ(((volatile char *)to)[PAGE - 1], 's');
	puts("moved");
	return 0;
}
