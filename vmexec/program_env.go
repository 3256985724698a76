// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import "strings"

// WithEnv returns the same program with env (NAME=value) in its environment; a
// variable of the same name is replaced. The result shares p's memory, which
// makes it cheap enough for each VM: it need not be closed, and every VM made
// from it must be closed before p is. The error is a *ProgramError.
func (p *Program) WithEnv(env []string) (*Program, error) {
	names := make(map[string]bool, len(env))
	for _, v := range env {
		name, _, ok := strings.Cut(v, "=")
		switch {
		case !ok || name == "":
			return nil, &ProgramError{Path: p.spec.Path, Reason: "the environment entry '" + v + "' is not NAME=value"}
		case strings.IndexByte(v, 0) >= 0:
			return nil, &ProgramError{Path: p.spec.Path, Reason: "the environment variable " + strings.ReplaceAll(name, "\x00", "") + " contains a zero byte"}
		}
		names[name] = true
	}
	q := *p
	q.exe.owned = false
	if p.interp != nil {
		interp := *p.interp
		interp.owned = false
		q.interp = &interp
	}
	q.spec.Env = make([]string, 0, len(p.spec.Env)+len(env))
	for _, v := range p.spec.Env {
		if name, _, _ := strings.Cut(v, "="); !names[name] {
			q.spec.Env = append(q.spec.Env, v)
		}
	}
	q.spec.Env = append(q.spec.Env, env...)
	return &q, nil
}
