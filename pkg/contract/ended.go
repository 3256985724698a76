// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"bytes"
	"net/http"
	"strings"

	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
)

// Ended returns the failure of a program that did not end by its own exit, or with a
// status that is not 0. It returns nil for status 0. The words are those of the
// monitor, which knows the limits and the state of the machine.
func Ended(r *vmexec.Result) *reply.Failure {
	status, reason := http.StatusBadGateway, reply.FunctionFailed
	switch r.Reason {
	case vmexec.Exited:
		if r.Status == 0 {
			return nil
		}
	case vmexec.Signaled, vmexec.Deadlock:
	case vmexec.WallLimit, vmexec.CPULimit:
		status, reason = http.StatusGatewayTimeout, reply.DeadlineExceeded
	case vmexec.MemoryLimit:
		reason = reply.MemoryExceeded
	case vmexec.OutputLimit:
		reason = reply.OutputExceeded
	case vmexec.Canceled:
		status, reason = http.StatusServiceUnavailable, reply.Draining
	default:
		status, reason = http.StatusInternalServerError, reply.Internal
	}
	message := r.Message
	if message == "" {
		message = "the program ended: " + r.Reason.String()
	}
	f := &reply.Failure{Status: status, Reason: reason, Message: message}
	AddStderr(f, r)
	return f
}

// EndedEarly returns the failure of a program that should have answered on a
// connection and has ended instead.
func EndedEarly(r *vmexec.Result) *reply.Failure {
	if f := Ended(r); f != nil {
		return f
	}
	f := reply.Failf(http.StatusBadGateway, reply.FunctionFailed, "the program ended before it answered")
	AddStderr(f, r)
	return f
}

// AddStderr adds the last line that the program wrote to stderr.
func AddStderr(f *reply.Failure, r *vmexec.Result) {
	if line := lastLine(r.Stderr); line != "" {
		f.Message += "; last line of stderr: " + line
	}
}

// lastLine returns the last line of b that is not blank, as printable text of
// at most 256 bytes.
func lastLine(b []byte) string {
	const most = 256
	b = bytes.TrimSpace(b)
	if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
		b = b[i+1:]
	}
	cut := len(b) > most
	if cut {
		b = b[:most]
	}
	line := strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(b), "\uFFFD"))
	line = strings.TrimSpace(line)
	if cut {
		line += "…"
	}
	return line
}

// Tail returns the end of what a program wrote, for the log.
func Tail(b []byte) string {
	const most = 4 << 10
	if len(b) > most {
		return "…" + strings.ToValidUTF8(string(b[len(b)-most:]), "\uFFFD")
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}
