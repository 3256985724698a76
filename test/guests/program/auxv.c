// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: the start of the stack and the auxiliary vector are as the ABI says:
// page size, program headers, entry, random bytes, and a vDSO whose
// clock_gettime is found by its own ELF symbols and works.
#include "guest.h"
#include <elf.h>
#include <link.h>
#include <sys/auxv.h>

static void *vdso_symbol(const char *base, const char *want) {
	const ElfW(Ehdr) *eh = (const void *)base;
	CHECK(memcmp(eh->e_ident, ELFMAG, 4) == 0);
	const ElfW(Phdr) *ph = (const void *)(base + eh->e_phoff);
	long bias = 0;
	const ElfW(Dyn) *dyn = NULL;
	int loads = 0;
	for (int i = 0; i < eh->e_phnum; i++) {
		if (ph[i].p_type == PT_LOAD && loads++ == 0)
			bias = (long)base + ph[i].p_offset - ph[i].p_vaddr;
		if (ph[i].p_type == PT_DYNAMIC)
			dyn = (const void *)(base + ph[i].p_offset);
	}
	CHECK(loads == 1 && dyn);
	const char *strings = NULL;
	const ElfW(Sym) *syms = NULL;
	const uint32_t *hash = NULL, *gnu = NULL;
	for (; dyn->d_tag != DT_NULL; dyn++) {
		void *p = (void *)(dyn->d_un.d_ptr + bias);
		switch (dyn->d_tag) {
		case DT_STRTAB: strings = p; break;
		case DT_SYMTAB: syms = p; break;
		case DT_HASH: hash = p; break;
		case DT_GNU_HASH: gnu = p; break;
		}
	}
	CHECK(strings && syms && (hash || gnu));
	size_t n = hash ? hash[1] : 0;
	if (!hash) { // the table of chains ends the symbols
		const uint32_t *buckets = gnu + 4 + gnu[2] * 2, *chains = buckets + gnu[0];
		for (uint32_t b = 0; b < gnu[0]; b++)
			if (buckets[b] >= gnu[1]) {
				size_t i = buckets[b];
				while (!(chains[i - gnu[1]] & 1))
					i++;
				if (i + 1 > n)
					n = i + 1;
			}
	}
	for (size_t i = 0; i < n; i++)
		if (syms[i].st_shndx != SHN_UNDEF && strcmp(strings + syms[i].st_name, want) == 0)
			return (void *)(syms[i].st_value + bias);
	return NULL;
}

int main(int argc, char **argv) {
	extern char **environ;
	CHECK(argc == 1 && argv[1] == NULL && environ == argv + 2);
	CHECK_EQ(getauxval(AT_PAGESZ), 4096);
	CHECK(getauxval(AT_RANDOM) != 0);
	const unsigned char *r = (void *)getauxval(AT_RANDOM);
	int zeros = 0;
	for (int i = 0; i < 16; i++)
		zeros += r[i] == 0;
	CHECK(zeros < 8);
	CHECK(getauxval(AT_PHDR) && getauxval(AT_PHENT) == sizeof(ElfW(Phdr)) && getauxval(AT_PHNUM) > 1);
	CHECK(getauxval(AT_ENTRY) != 0);
	CHECK_EQ(getauxval(AT_UID), getuid());
	CHECK_EQ(getauxval(AT_SECURE), 0);
	CHECK_EQ(getauxval(AT_CLKTCK), 100);
	CHECK(strcmp((char *)getauxval(AT_EXECFN), argv[0]) == 0);
	CHECK(strcmp((char *)getauxval(AT_PLATFORM), "x86_64") == 0);
	const char *base = (void *)getauxval(AT_SYSINFO_EHDR);
	CHECK(base && (uintptr_t)base % 4096 == 0);
	int (*get)(clockid_t, struct timespec *) = vdso_symbol(base, "__vdso_clock_gettime");
	int (*tod)(void *, void *) = vdso_symbol(base, "__vdso_gettimeofday");
	CHECK(get && tod);
	CHECK(vdso_symbol(base, "__vdso_nothing") == NULL);
	struct timespec ts;
	for (int i = 0; i < 1000; i++) {
		int64_t a = now(CLOCK_MONOTONIC);
		CHECK_EQ(get(CLOCK_MONOTONIC, &ts), 0);
		CHECK(ts.tv_sec * 1000000000ll + ts.tv_nsec >= a);
	}
	long tv[2];
	CHECK_EQ(tod(tv, NULL), 0);
	CHECK(llabs(tv[0] - (long long)time(NULL)) <= 1);
	// The stack pointer was aligned when the program began.
	CHECK(((uintptr_t)argv - 8) % 16 == 0);
	printf("auxiliary vector ok\n");
	return 0;
}
