// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package fd

// pipeBuf is PIPE_BUF of pipe(7): writes up to it are not split.
const pipeBuf = 4096
