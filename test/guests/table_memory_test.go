// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"kontain.dev/eventing/test/guests/build"
)

var _ = family("memory",
	guest{name: "memory_oracle", args: []string{"1", "25000"}},
	guest{name: "memory_oracle_musl", source: "memory_oracle", flavour: build.Musl, args: []string{"2", "20000"}},
	guest{name: "memory_oracle_pie", source: "memory_oracle", flavour: build.PIE, args: []string{"3", "20000"}},
	guest{name: "malloc_stress"},
	guest{name: "malloc_stress_musl", source: "malloc_stress", flavour: build.Musl},
	guest{name: "brk"},
	guest{name: "mmap_basics"},
	guest{name: "guard_pages"},
	guest{name: "stack_growth"},
	guest{name: "stack_growth_pie", source: "stack_growth", flavour: build.PIE},
	guest{name: "stack_overflow"},
	guest{name: "stack_overflow_musl", source: "stack_overflow", flavour: build.Musl},
	guest{name: "large_bss", memory: 64 << 20},
	guest{name: "sparse_mmap", memory: 64 << 20},
	guest{name: "mmap_file"},
	guest{name: "memory_lock"},
	guest{name: "drop_program"},
	guest{name: "drop_program_pie", source: "drop_program", flavour: build.PIE},
	guest{name: "drop_program_musl", source: "drop_program", flavour: build.Musl},
)
