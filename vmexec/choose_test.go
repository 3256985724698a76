// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package vmexec

import (
	"errors"
	"strings"
	"testing"
)

func TestOpenFirst(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name    string
		kinds   []Kind
		lacking map[Kind]error
		want    Kind
		skipped int
		err     []string
	}{
		{"the best works", []Kind{KVM, Ptrace}, nil, KVM, 0, nil},
		{"a weaker one is allowed", []Kind{KVM, Ptrace}, map[Kind]error{KVM: &UnavailableError{Platform: KVM}}, Ptrace, 1, nil},
		{"none is allowed", []Kind{KVM}, map[Kind]error{KVM: &UnavailableError{Platform: KVM, Reason: "no device"}}, "", 1, []string{"no device"}},
		{"none works", []Kind{KVM, Ptrace}, map[Kind]error{KVM: &UnavailableError{Platform: KVM, Reason: "no device"}, Ptrace: &UnavailableError{Platform: Ptrace, Reason: "no right"}}, "", 2, []string{"no device", "no right"}},
		{"a failure is no reason to go on", []Kind{KVM, Ptrace}, map[Kind]error{KVM: broken}, "", 0, []string{"broken"}},
		{"nothing given", nil, nil, "", 0, []string{"no platform"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, skipped, err := openFirst(func(k Kind) (*Host, error) {
				if err := c.lacking[k]; err != nil {
					return nil, err
				}
				return &Host{kind: k}, nil
			}, c.kinds)
			var got Kind
			if h != nil {
				got = h.Kind()
			}
			if got != c.want || len(skipped) != c.skipped || (err == nil) != (c.err == nil) {
				t.Fatalf("%q, skipped %v, error %v", got, skipped, err)
			}
			for _, s := range c.err {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("error %v does not have %q", err, s)
				}
			}
			var missing *UnavailableError
			if c.skipped > 0 && c.want == "" && !errors.As(err, &missing) {
				t.Errorf("error %v is no UnavailableError", err)
			}
		})
	}
}
