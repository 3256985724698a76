// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: a signal handler that clobbers everything leaves the interrupted
// code's general, XMM, YMM and ZMM registers, x87 and MXCSR state, flags and
// red zone as they were; handlers find the frame aligned as the ABI asks.
#include "guest.h"
#include <cpuid.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

static volatile long hits;

static void clobber(int s, siginfo_t *si, void *ctx) {
	ucontext_t *uc = ctx;
	(void)s, (void)si;
	CHECK(uc->uc_mcontext.fpregs != NULL && (uintptr_t)uc->uc_mcontext.fpregs % 64 == 0);
	CHECK_EQ((uintptr_t)__builtin_frame_address(0) % 16, 0);
	unsigned flags;
	__asm__ volatile("pushf\npop %q0" : "=r"(flags));
	CHECK((flags & 0x400) == 0); // DF is clear in a handler
	unsigned short cw = 0x37f;
	unsigned mxcsr = 0x1f80;
	__asm__ volatile("fninit\nfldpi\nfldpi\nfldcw %0\nldmxcsr %1" ::"m"(cw), "m"(mxcsr));
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0\nmovaps %%xmm0, %%xmm1\nmovaps %%xmm0, %%xmm5\nmovaps %%xmm0, %%xmm15\n" ::
			     : "xmm0", "xmm1", "xmm5", "xmm15");
	__asm__ volatile("xor %%rbx, %%rbx\nxor %%r12, %%r12\nxor %%r13, %%r13\nxor %%r14, %%r14\nxor %%r15, %%r15" ::: "rbx", "r12", "r13", "r14", "r15");
	char here[4096];
	memset(here, 0xee, sizeof here);
	__asm__ volatile("" ::"r"(here) : "memory");
	hits++;
}

// general spins with known values in all registers until a signal has come,
// and with values below the stack pointer.
static long general(void) {
	long bad;
	__asm__ volatile(
	    "push %%rbp\n"
	    "mov $0x1111, %%rbx\n mov $0x2222, %%rcx\n mov $0x3333, %%rdx\n mov $0x4444, %%rsi\n"
	    "mov $0x5555, %%rdi\n mov $0x6666, %%rbp\n mov $0x7777, %%r8\n mov $0x8888, %%r9\n"
	    "mov $0x9999, %%r10\n mov $0xaaaa, %%r11\n mov $0xbbbb, %%r12\n mov $0xcccc, %%r13\n"
	    "mov $0xdddd, %%r14\n mov $0xeeee, %%r15\n"
	    "movq $0x1234567, -8(%%rsp)\n movq $0x7654321, -128(%%rsp)\n"
	    "mov %[hits], %%rax\n std\n stc\n"
	    "1: cmp %[hits], %%rax\n je 1b\n"
	    "pushf\n pop %%rax\n cld\n and $0x400, %%rax\n xor $0x400, %%rax\n"
	    "sub $0x1111, %%rbx\n or %%rbx, %%rax\n sub $0x2222, %%rcx\n or %%rcx, %%rax\n"
	    "sub $0x3333, %%rdx\n or %%rdx, %%rax\n sub $0x4444, %%rsi\n or %%rsi, %%rax\n"
	    "sub $0x5555, %%rdi\n or %%rdi, %%rax\n sub $0x6666, %%rbp\n or %%rbp, %%rax\n"
	    "sub $0x7777, %%r8\n or %%r8, %%rax\n sub $0x8888, %%r9\n or %%r9, %%rax\n"
	    "sub $0x9999, %%r10\n or %%r10, %%rax\n sub $0xaaaa, %%r11\n or %%r11, %%rax\n"
	    "sub $0xbbbb, %%r12\n or %%r12, %%rax\n sub $0xcccc, %%r13\n or %%r13, %%rax\n"
	    "sub $0xdddd, %%r14\n or %%r14, %%rax\n sub $0xeeee, %%r15\n or %%r15, %%rax\n"
	    "mov -128(%%rsp), %%rbx\n sub $0x7654321, %%rbx\n or %%rbx, %%rax\n"
	    "pop %%rbp\n"
	    : "=&a"(bad)
	    : [hits] "m"(hits)
	    : "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
	return bad;
}

static void __attribute__((target("avx2"))) ymm(void) {
	uint64_t in[8], out[8];
	for (int i = 0; i < 8; i++)
		in[i] = 0x0101010101010101 * (i + 1);
	long before = hits;
	__asm__ volatile("vmovdqu (%[in]), %%ymm0\n vmovdqu 32(%[in]), %%ymm15\n"
			 "1: cmp %[hits], %[before]\n je 1b\n"
			 "vmovdqu %%ymm0, (%[out])\n vmovdqu %%ymm15, 32(%[out])\n vzeroupper"
			 :
			 : [out] "r"(out), [in] "r"(in), [hits] "m"(hits), [before] "r"(before)
			 : "xmm0", "xmm15", "memory", "cc");
	CHECK(memcmp(in, out, sizeof in) == 0);
}

static void __attribute__((target("avx512f"))) zmm(void) {
	uint64_t in[16], out[16], k = 0;
	for (int i = 0; i < 16; i++)
		in[i] = 0x1010101010101010 + i;
	long before = hits;
	__asm__ volatile("vmovdqu64 (%[in]), %%zmm3\n vmovdqu64 64(%[in]), %%zmm31\n mov $0xa5a5, %%eax\n kmovw %%eax, %%k5\n"
			 "1: cmp %[hits], %[before]\n je 1b\n"
			 "vmovdqu64 %%zmm3, (%[out])\n vmovdqu64 %%zmm31, 64(%[out])\n kmovw %%k5, %%eax\n mov %%rax, %[k]\n vzeroupper"
			 : [k] "=m"(k)
			 : [out] "r"(out), [in] "r"(in), [hits] "m"(hits), [before] "r"(before)
			 : "rax", "xmm3", "memory", "cc");
	CHECK(memcmp(in, out, sizeof in) == 0);
	CHECK_EQ(k, 0xa5a5);
}

static void xmm_x87(void) {
	long before = hits;
	unsigned short cw = 0x27f, cw2;		   // double precision
	unsigned mxcsr = 0x1f80 | 0x6000, mxcsr2; // rounds to zero
	double pi;
	uint64_t in[4] = {1, 2, 3, 4}, out[4];
	__asm__ volatile("fninit\n fldcw %[cw]\n fldpi\n ldmxcsr %[mxcsr]\n movups (%[in]), %%xmm1\n movups 16(%[in]), %%xmm15\n"
			 "1: cmp %[hits], %[before]\n je 1b\n"
			 "fstpl %[pi]\n fnstcw %[cw2]\n stmxcsr %[mxcsr2]\n movups %%xmm1, (%[out])\n movups %%xmm15, 16(%[out])"
			 : [pi] "=m"(pi), [cw2] "=m"(cw2), [mxcsr2] "=m"(mxcsr2)
			 : [out] "r"(out), [cw] "m"(cw), [mxcsr] "m"(mxcsr), [in] "r"(in), [hits] "m"(hits), [before] "r"(before)
			 : "xmm1", "xmm15", "memory", "cc");
	cw = 0x37f;
	unsigned dflt = 0x1f80;
	__asm__ volatile("fldcw %0\n ldmxcsr %1" ::"m"(cw), "m"(dflt));
	CHECK(pi > 3.14159 && pi < 3.1416);
	CHECK_EQ(cw2, 0x27f);
	CHECK_EQ(mxcsr2 & 0x6000, 0x6000);
	CHECK(memcmp(in, out, sizeof in) == 0);
}

int main(void) {
	on(SIGALRM, clobber, 0);
	struct itimerval it = {{0, 2000}, {0, 2000}};
	CHECK_EQ(setitimer(ITIMER_REAL, &it, NULL), 0);
	__builtin_cpu_init();
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(general(), 0);
		xmm_x87();
		if (__builtin_cpu_supports("avx2"))
			ymm();
		if (__builtin_cpu_supports("avx512f"))
			zmm();
	}
	printf("registers, vectors, flags and red zone survive\n");
	return 0;
}
