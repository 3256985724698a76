// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kontain.dev/eventing/vmexec"
)

func TestCandidates(t *testing.T) {
	for _, c := range []struct {
		kind    vmexec.Kind
		cluster bool
		want    []vmexec.Kind
	}{
		{vmexec.Auto, false, []vmexec.Kind{vmexec.KVM, vmexec.Ptrace}},
		{vmexec.Auto, true, []vmexec.Kind{vmexec.KVM}},
		{vmexec.KVM, false, []vmexec.Kind{vmexec.KVM}},
		{vmexec.Ptrace, true, []vmexec.Kind{vmexec.Ptrace}},
	} {
		if d := cmp.Diff(c.want, candidates(c.kind, c.cluster)); d != "" {
			t.Errorf("%s, in a cluster %v (-want +got):\n%s", c.kind, c.cluster, d)
		}
	}
}

func TestPlatformNote(t *testing.T) {
	missing := &vmexec.UnavailableError{Platform: vmexec.KVM, Reason: "there is no /dev/kvm", Hint: "load the module"}
	for _, c := range []struct {
		kind    vmexec.Kind
		skipped []error
		want    []string
	}{
		{vmexec.KVM, nil, []string{"platform kvm"}},
		{vmexec.Ptrace, nil, []string{"platform ptrace: ", "as a process"}},
		{vmexec.Ptrace, []error{missing}, []string{"platform ptrace because there is no /dev/kvm: ", "as a process"}},
	} {
		got := platformNote(c.kind, c.skipped)
		for _, w := range c.want {
			if !strings.Contains(got, w) || strings.Contains(got, "\n") {
				t.Errorf("%q does not have %q, or is no line", got, w)
			}
		}
	}
}
