// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

#include "textflag.h"

// func clearDataSegments()
TEXT ·clearDataSegments(SB), NOSPLIT, $0-0
	XORL AX, AX
	MOVW AX, DS
	MOVW AX, ES
	RET

// func threadSegments() (fs, gs uint16)
TEXT ·threadSegments(SB), NOSPLIT, $0-4
	MOVW FS, AX
	MOVW GS, BX
	MOVW AX, fs+0(FP)
	MOVW BX, gs+2(FP)
	RET
