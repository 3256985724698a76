// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package openwhisk_test

import (
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract/contracttest"
	"kontain.dev/eventing/pkg/dispatcher"
)

func loop(program string, env []string, args ...string) dispatcher.Sink {
	s := sink(program, v1alpha1.OpenWhiskContract{Protocol: v1alpha1.OpenWhiskActionLoop}, args...)
	s.Env = env
	return s
}

// silent says that a program gives no acknowledgement.
var silent = []string{"__OW_WAIT_FOR_ACK="}

func TestLoop(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/loop")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			for name, env := range map[string][]string{"without an ack": silent, "with an ack": nil, "asked for an ack": {"__OW_WAIT_FOR_ACK=yes"}} {
				t.Run(string(tier)+"/"+name, func(t *testing.T) {
					s := loop(program, env)
					s.Tier = tier
					k := p.MustNew(t, s)
					for range 3 {
						want := `{"memory":1,"tmp":1,"init":"pipe:","id":"1"}`
						if got := k.Data(t, "1", `"count"`); got != want {
							t.Errorf("%s, want %s", got, want)
						}
					}
					if st := k.Stats(); !st.Machines.Snapshot {
						t.Errorf("there is no snapshot: %+v", st.Machines)
					}
					if log := k.Log(); !strings.Contains(log, `text="to stderr\n"`) || strings.Contains(log, "XXX") {
						t.Errorf("the log is\n%s", log)
					}
				})
			}
		}
	})
}

// TestAnew starts a program for each event.
func TestAnew(t *testing.T) {
	_, proxy := root(t)
	program := contracttest.BuildGo(t, "testdata/loop")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for name, s := range map[string]dispatcher.Sink{
			"proxy": sink(proxy, v1alpha1.OpenWhiskContract{}), "loop": loop(program, silent), "loop with an ack": loop(program, nil), "loop with an ack that nobody asked for": loop(program, nil, "ack"),
		} {
			k := p.MustNewAnew(t, s)
			for range 2 {
				if got := k.Data(t, "1", `"count"`); !strings.HasPrefix(got, `{"memory":1,"tmp":1,`) {
					t.Errorf("%s: %s", name, got)
				}
			}
			if st := k.Stats(); st.Machines.Snapshot {
				t.Errorf("%s: there is a snapshot", name)
			}
		}
	})
}

func TestLoopAnswers(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/loop")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		check(t, p.MustNew(t, loop(program, nil)), append([]answer{
			{"huge", 502, "more than the 1048576 bytes"},
		}, answers...))
	})
}

func TestLoopHostile(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/loop")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tt := range []struct {
			how    string
			status int // 0: accepted
			want   string
		}{
			{"open", 0, `{"memory":1,"tmp":1,`},
			{"twice", 0, `{"memory":1,"tmp":1,`},
			{"close", 502, "closed descriptor 3 without a line"},
			{"endless", 502, "more than the 1048576 bytes"},
		} {
			t.Run(tt.how, func(t *testing.T) {
				k := p.MustNew(t, loop(program, silent, tt.how))
				for range 2 {
					r, f := k.Send(contracttest.Event(t, "1", `"count"`))
					switch {
					case f != nil && (f.Status != tt.status || !strings.Contains(f.Message, tt.want)):
						t.Errorf("%v; want %d with %q", f, tt.status, tt.want)
					case f == nil && (tt.status != 0 || !strings.HasPrefix(string(r.Data()), tt.want)):
						t.Errorf("%s; want %q", r.Data(), tt.want)
					}
				}
			})
		}
		for how, want := range map[string]string{
			"exit":        "__OW_WAIT_FOR_ACK asks for; a program that never does is given that variable without a value: the virtual machine has ended: the program ended with exit status 4; stderr ends: no configuration",
			"no ack":      `where __OW_WAIT_FOR_ACK asks for {"ok":true}: {"ok":false}`,
			"endless ack": "the line is too long",
			"close":       "without a value: EOF",
		} {
			s := loop(program, nil, how)
			s.Limits.Wall = 20 * time.Second
			if _, err := p.New(t, s); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", how, err, want)
			}
		}
	})
}
