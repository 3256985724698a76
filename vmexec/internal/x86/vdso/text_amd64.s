// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// The guest's side of the vDSO. These functions are never called here: their
// bytes are copied into the image and run in the guest, called by the System V
// calling convention (arguments in DI, SI, DX; result in AX). So they
//   - refer to nothing outside themselves: they hold no relocation and move freely;
//   - use no stack and only the caller-saved registers AX CX DX SI DI R8-R11;
//   - end with STOP, by which the copy knows where to stop.
//
// The words of the data page are those of Data.Encode.

#include "textflag.h"

#define ENABLED         0(R8)
#define GENERATION      4(R8)
#define TSC_BASE        8(R8)
#define MULT            16(R8)
#define MONOTONIC_BASE  24(R8)
#define REALTIME_OFFSET 32(R8)
#define CPU             40(R8)

// Clock ids that are answered here, as bits: REALTIME 0, MONOTONIC 1,
// MONOTONIC_RAW 4, REALTIME_COARSE 5, MONOTONIC_COARSE 6, BOOTTIME 7.
#define CLOCKS      $0xf3
#define WALL_CLOCKS $0x21

// The address of the data page is put for this number, dataMagic, in the copy.
#define LOAD_DATA MOVQ $0x5bd1e995a3c59ac3, R8

// endMagic, twice.
#define STOP \
	QUAD $0x9e3779b97f4a7c15 \
	QUAD $0x9e3779b97f4a7c15

// AX = monotonic nanoseconds; R9 = the generation of the data that it came from.
// LFENCE keeps RDTSC from being executed before earlier loads (Intel SDM volume
// 2B, RDTSC). A counter that is behind the base counts as the base: time must
// not jump by centuries when a thread resumes with an older counter.
#define MONOTONIC(ahead) \
	MOVL GENERATION, R9 \
	LFENCE              \
	RDTSC               \
	SHLQ $32, DX        \
	ORQ  DX, AX         \
	SUBQ TSC_BASE, AX   \
	JCC  ahead          \
	XORL AX, AX         \
ahead:                  \
	MULQ MULT           \
	SHRQ $32, DX, AX    \
	ADDQ MONOTONIC_BASE, AX

// Starts again when the monitor has changed the data since MONOTONIC read it:
// the thread may have been stopped in between.
#define CONFIRM(again) \
	CMPL R9, GENERATION \
	JNE  again

// AX, DX = AX / CX, AX % CX
#define DIVIDE(by) \
	MOVL by, CX \
	XORL DX, DX \
	DIVQ CX

// int clock_gettime(clockid_t clock, struct timespec *ts)
TEXT clockGettime<>(SB), NOSPLIT|NOFRAME, $0-0
	CMPL DI, $7
	JHI  fallback
	MOVL CLOCKS, AX
	BTL  DI, AX
	JCC  fallback
	LOAD_DATA
again:
	CMPL ENABLED, $0
	JEQ  fallback
	MONOTONIC(ahead)
	MOVL WALL_CLOCKS, CX
	BTL  DI, CX
	JCC  confirm
	ADDQ REALTIME_OFFSET, AX
confirm:
	CONFIRM(again)
	DIVIDE($1000000000)
	MOVQ AX, 0(SI)
	MOVQ DX, 8(SI)
	XORL AX, AX
	RET
fallback:
	MOVL $228, AX
	SYSCALL
	RET
	STOP

// int gettimeofday(struct timeval *tv, struct timezone *tz)
TEXT gettimeofday<>(SB), NOSPLIT|NOFRAME, $0-0
	LOAD_DATA
again:
	CMPL  ENABLED, $0
	JEQ   fallback
	TESTQ DI, DI
	JEQ   zone
	MONOTONIC(ahead)
	ADDQ  REALTIME_OFFSET, AX
	CONFIRM(again)
	DIVIDE($1000)
	DIVIDE($1000000)
	MOVQ  AX, 0(DI)
	MOVQ  DX, 8(DI)
zone:
	XORL  AX, AX
	TESTQ SI, SI
	JEQ   done
	MOVQ  AX, 0(SI)
done:
	RET
fallback:
	MOVL $96, AX
	SYSCALL
	RET
	STOP

// time_t time(time_t *t)
TEXT time<>(SB), NOSPLIT|NOFRAME, $0-0
	LOAD_DATA
again:
	CMPL  ENABLED, $0
	JEQ   fallback
	MONOTONIC(ahead)
	ADDQ  REALTIME_OFFSET, AX
	CONFIRM(again)
	DIVIDE($1000000000)
	TESTQ DI, DI
	JEQ   done
	MOVQ  AX, 0(DI)
done:
	RET
fallback:
	MOVL $201, AX
	SYSCALL
	RET
	STOP

// int getcpu(unsigned *cpu, unsigned *node, void *unused)
TEXT getcpu<>(SB), NOSPLIT|NOFRAME, $0-0
	LOAD_DATA
	CMPL  ENABLED, $0
	JEQ   fallback
	MOVL  CPU, CX
	XORL  AX, AX
	TESTQ DI, DI
	JEQ   node
	MOVL  CX, 0(DI)
node:
	TESTQ SI, SI
	JEQ   done
	MOVL  AX, 0(SI)
done:
	RET
fallback:
	MOVL $309, AX
	SYSCALL
	RET
	STOP

// int clock_getres(clockid_t clock, struct timespec *res)
// Every clock answered here counts in nanoseconds.
TEXT clockGetres<>(SB), NOSPLIT|NOFRAME, $0-0
	CMPL  DI, $7
	JHI   fallback
	MOVL  CLOCKS, AX
	BTL   DI, AX
	JCC   fallback
	LOAD_DATA
	CMPL  ENABLED, $0
	JEQ   fallback
	XORL  AX, AX
	TESTQ SI, SI
	JEQ   done
	MOVQ  AX, 0(SI)
	MOVQ  $1, 8(SI)
done:
	RET
fallback:
	MOVL $229, AX
	SYSCALL
	RET
	STOP

// func textAddr(n int) unsafe.Pointer
// The address of function n in the order of the table functions; 0 past the last.
TEXT ·textAddr(SB), NOSPLIT, $0-16
	MOVQ n+0(FP), CX
	XORL AX, AX
	CMPQ CX, $4
	JHI  store
	LEAQ clockGettime<>(SB), AX
	CMPQ CX, $0
	JEQ  store
	LEAQ gettimeofday<>(SB), AX
	CMPQ CX, $1
	JEQ  store
	LEAQ time<>(SB), AX
	CMPQ CX, $2
	JEQ  store
	LEAQ getcpu<>(SB), AX
	CMPQ CX, $3
	JEQ  store
	LEAQ clockGetres<>(SB), AX
store:
	MOVQ AX, ret+8(FP)
	RET
