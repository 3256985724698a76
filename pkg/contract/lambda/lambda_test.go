// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package lambda_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/contracttest"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/vmexec"
)

func sink(program string, args ...string) dispatcher.Sink {
	return dispatcher.Sink{
		Program: program, Args: args, Contract: contract.Config{Spec: v1alpha1.Contract{Type: v1alpha1.ContractLambda}},
		Limits: vmexec.Limits{Wall: 5 * time.Second},
	}
}

// TestFunction runs an ordinary program of aws-lambda-go.
func TestFunction(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/function")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				s := sink(program)
				s.Tier = tier
				k := p.MustNew(t, s)
				for i := range 4 {
					id := fmt.Sprint("e", i)
					want := fmt.Sprintf(`{"arn":"arn:aws:lambda:us-east-1:000000000000:function:test","count":1,"file":1,"id":%q,"left":true,"name":"test","request":36,"trace":true}`, id)
					if got := k.Data(t, id, `"count"`); got != want {
						t.Errorf("event %d: %s\nwant %s", i, got, want)
					}
				}
				if st := k.Stats(); !st.Machines.Snapshot {
					t.Errorf("there is no snapshot: %+v", st.Machines)
				}
			})
		}
		k := p.MustNew(t, sink(program))
		for _, tt := range []struct {
			data   string
			status int
			want   string
		}{
			{"null", 0, ""},
			{"error", 502, "the function failed: errorString: it broke"},
			{"panic", 502, "the function failed: string: it panicked"},
			{"exit", 502, "exit status 3"},
			{"deadline", 502, "context deadline exceeded"},
			{"sleep", 504, "time limit of 5s"},
			{"large", 502, "more than the 1048576 bytes"},
		} {
			r, f := k.Send(contracttest.Event(t, "1", `"`+tt.data+`"`))
			switch {
			case tt.data == "deadline" && f != nil && f.Status == 504: // its deadline and the machine's are the same moment
			case tt.status == 0 && (f != nil || r != nil):
				t.Errorf("%s: %v %v", tt.data, r, f)
			case tt.status != 0 && (f == nil || f.Status != tt.status || !strings.Contains(f.Message, tt.want)):
				t.Errorf("%s: %v; want %d with %q", tt.data, f, tt.status, tt.want)
			}
			if got := k.Data(t, "n", `"count"`); !strings.Contains(got, `"count":1,"file":1,`) {
				t.Errorf("after %s: %s", tt.data, got)
			}
		}
	})
}

// TestHostile has runtimes that do not keep to the API.
func TestHostile(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/function")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for what, want := range map[string]string{
			"plain":      `"plain"`,
			"nonsense":   `"nonsense"`,
			"next":       "asked for another event before it answered this one",
			"wrong-id":   "400 ",
			"error-type": "the function failed: not JSON",
			"twice":      `"first"`,
			"unknown":    "404 ",
			"expect":     `"expect"`,
		} {
			k := p.MustNew(t, sink(program, what))
			for range 2 {
				r, f := k.Send(contracttest.Event(t, "1", `"x"`))
				switch {
				case f != nil && (f.Status != 502 || !strings.Contains(f.Message, want)):
					t.Errorf("%s: %v; want %q", what, f, want)
				case f == nil && !strings.Contains(string(r.Data()), want):
					t.Errorf("%s: reply %s; want %q", what, r.Data(), want)
				}
			}
		}
		for what, want := range map[string]string{
			"init-error": "the function could not be initialized: Runtime.NoHandler: no such handler",
			"exit":       "the function never asked for an event",
		} {
			if _, err := p.New(t, sink(program, what)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", what, err, want)
			}
		}
	})
}

// TestNotFrozen starts the function for each event.
func TestNotFrozen(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/function")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		s := sink(program)
		s.Limits.Wall = 10 * time.Second
		k := p.MustNewAnew(t, s)
		for range 2 {
			if got := k.Data(t, "n", `"count"`); !strings.Contains(got, `"count":1,"file":1,`) {
				t.Error(got)
			}
		}
	})
}

func TestSendersGo(t *testing.T) {
	contracttest.SendersGo(t, sink(contracttest.BuildGo(t, "testdata/function")), `"sleep"`, `"count"`)
}
