// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package http_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/contracttest"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
)

func sink(program string, h v1alpha1.HTTPContract, args ...string) dispatcher.Sink {
	return dispatcher.Sink{Program: program, Args: args, Contract: contract.Config{Spec: v1alpha1.Contract{Type: v1alpha1.ContractHTTP, HTTP: &h}}}
}

func TestServer(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/server")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				s := sink(program, v1alpha1.HTTPContract{Path: "/events", Readiness: "/ready", AfterRestore: "/restored"})
				s.Tier = tier
				k := p.MustNew(t, s)
				for i := range 5 {
					id := fmt.Sprint("e", i)
					want := fmt.Sprintf(`{"count":1,"file":1,"restored":1,"method":"POST","path":"/events","type":"test.type","content":"application/json","id":%q,"subject":"a%%20b"}`, id)
					if got := k.Data(t, id, `"count"`); got != want {
						t.Errorf("event %d: %s\nwant %s", i, got, want)
					}
				}
				st := k.Stats()
				if !st.Machines.Snapshot {
					t.Errorf("there is no snapshot: %+v", st.Machines)
				}
				if tier == lease.TierReset && st.Machines.Resets == 0 {
					t.Errorf("no machine was reset: %+v", st.Machines)
				}
			})
		}
	})
}

func TestAnswers(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/server")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		s := sink(program, v1alpha1.HTTPContract{})
		s.Limits = vmexec.Limits{Wall: 5 * time.Second}
		k := p.MustNew(t, s)
		for _, tt := range []struct {
			data   string
			status int    // 0: accepted
			want   string // of the reply: type, content type and data; or a part of the failure
		}{
			{"empty", 0, ""},
			{"accepted", 0, ""},
			{"event", 0, "server.type text/plain an event"},
			{"structured", 0, `server.type  {"a":1}`},
			{"chunked", 0, "reply.type text/plain; charset=utf-8 " + strings.Repeat("y", 100000)},
			{"early", 0, "reply.type text/plain; charset=utf-8 after hints"},
			{"badevent", 502, "not one valid CloudEvent"},
			{"huge", 502, "a body of more than the 1048576 bytes"},
			{"headers", 502, "headers of more than the 1048576 bytes"},
			{"busy", 429, "status 429"},
			{"refuse", 422, "status 404: this is not for me"},
			{"fail", 502, "status 500: it broke"},
			{"redirect", 502, "status 302"},
			{"exit", 502, "exit status 3; last line of stderr: last words"},
			{"crash", 502, "closed the connection without an answer"},
			{"sleep", 504, "time limit of 5s"},
		} {
			r, f := k.Send(contracttest.Event(t, "1", `"`+tt.data+`"`))
			switch {
			case tt.status == 0 && f != nil:
				t.Errorf("%s: %v", tt.data, f)
			case tt.status != 0 && (f == nil || f.Status != tt.status || !strings.Contains(f.Message, tt.want)):
				t.Errorf("%s: %v; want %d with %q", tt.data, f, tt.status, tt.want)
			case tt.data == "busy" && f.RetryAfter != 7*time.Second:
				t.Errorf("retry after %v", f.RetryAfter)
			case tt.status == 0:
				got := ""
				if r != nil {
					got = r.Type() + " " + r.DataContentType() + " " + string(r.Data())
				}
				if got != tt.want {
					t.Errorf("%s: %.200q, want %.200q", tt.data, got, tt.want)
				}
			}
			// What one event did is nothing to the next.
			if got := k.Data(t, "n", `"count"`); !strings.HasPrefix(got, `{"count":1,"file":1,`) {
				t.Errorf("after %s: %s", tt.data, got)
			}
		}
		large := `"length` + strings.Repeat("z", 900<<10) + `"`
		if got := k.Data(t, "large", large); !strings.Contains(got, `"count":1`) {
			t.Errorf("a large event: %s", got)
		}
	})
}

func TestStructured(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/server")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		k := p.MustNew(t, sink(program, v1alpha1.HTTPContract{Mode: v1alpha1.HTTPModeStructured}))
		if got := k.Data(t, "1", `"count"`); !strings.Contains(got, `"content":"application/cloudevents+json"`) {
			t.Error(got)
		}
	})
}

// TestHostile has servers that do not keep to HTTP, or to being one.
func TestHostile(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/server")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tt := range []struct {
			what string
			want string
		}{
			{"late", "late"},
			{"two", "two"},
			{"old", "old"},
			{"h2c", "h2c by HTTP/2.0"},
			{"nonsense", "did not answer in HTTP"},
			{"short", "cut off"},
			{"twice", "did not answer in HTTP"},
			{"endless", "more than 16 interim responses"},
			{"endless-headers", "headers of more than"},
			{"close", "without an answer"},
			{"long", "long"},          // more bytes than it announced
			{"continue", "continue"},  // an answer to Expect, which nobody sent
			{"upgrade", "status 101"}, // to what nobody asked for
			{"until-close", "until-close"},
			{"trailers", "trailers"},
			{"slow", "slow"}, // a byte at a time
			{"unread", "unread"},
		} {
			t.Run(tt.what, func(t *testing.T) {
				k := p.MustNew(t, sink(program, v1alpha1.HTTPContract{}, tt.what))
				for range 2 {
					r, f := k.Send(contracttest.Event(t, "1", `"x"`))
					switch {
					case f != nil && (f.Status != 502 || !strings.Contains(f.Message, tt.want)):
						t.Errorf("%v; want %q", f, tt.want)
					case f == nil && string(r.Data()) != tt.want:
						t.Errorf("reply %s; want %q", r.Data(), tt.want)
					}
				}
			})
		}
		for what, want := range map[string]string{
			"exit": "no program listens on port 8080, which PORT names: the program ended with exit status 4; stderr ends: no configuration",
		} {
			if _, err := p.New(t, sink(program, v1alpha1.HTTPContract{}, what)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want %q", what, err, want)
			}
		}
	})
}

// TestLarge has servers that read an event of nearly 1 MiB in a stream, and that do not
// read it at all.
func TestLarge(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/server")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		large := `"` + strings.Repeat("z", 1000<<10) + `"`
		for what, want := range map[string]string{"stream": fmt.Sprint(len(large), " bytes in many pieces"), "unread": "unread"} {
			k := p.MustNew(t, sink(program, v1alpha1.HTTPContract{}, what))
			for range 2 {
				if got := k.Data(t, "1", large); got != want {
					t.Errorf("%s: %s, want %s", what, got, want)
				}
			}
		}
	})
}

// TestConnections has servers that end the connection on which they were told of the
// restore, and that keep it: the event comes on another one, or on the same.
func TestConnections(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/server")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for path, want := range map[string]string{"/restored": "same", "/restored/close": "another"} {
			k := p.MustNew(t, sink(program, v1alpha1.HTTPContract{Path: "/connection", AfterRestore: path}))
			for range 2 {
				if got := k.Data(t, "1", `1`); got != want {
					t.Errorf("behind %s the event came on %s connection, want %s", path, got, want)
				}
			}
		}
		k := p.MustNew(t, sink(program, v1alpha1.HTTPContract{AfterRestore: "/refused"}))
		if _, f := k.Send(contracttest.Event(t, "1", `"count"`)); f == nil || f.Status != 502 || !strings.Contains(f.Message, "status 409 at its path /refused") {
			t.Errorf("a program that refuses to be restored: %v", f)
		}
	})
}

// TestGeneration has a server renew what must not be the same in two copies, by the file
// that says so and by the path that is called: what it tells is another thing each time.
func TestGeneration(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/server")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			s := sink(program, v1alpha1.HTTPContract{Path: "/chance", AfterRestore: "/restored"})
			s.Tier = tier
			k := p.MustNew(t, s)
			seen := map[string]bool{}
			for range 4 {
				for _, s := range strings.Fields(k.Data(t, "1", `1`)) {
					if seen[s] {
						t.Errorf("%s: %s came twice", tier, s)
					}
					seen[s] = true
				}
			}
			if len(seen) != 4*3 {
				t.Errorf("%s: %v", tier, seen)
			}
		}
	})
}

// TestNeverListens has a program that is not a server. It takes the time that a start may
// take, so that there is one.
func TestNeverListens(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/server")
	tested := false
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		if tested {
			t.Skip("it takes 20 s and is the same everywhere: it ran in the first place that there is")
		}
		tested = true
		const want = "no program listens on port 8080, which PORT names"
		if _, err := p.New(t, sink(program, v1alpha1.HTTPContract{}, "never")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	})
}

func TestSendersGo(t *testing.T) {
	contracttest.SendersGo(t, sink(contracttest.BuildGo(t, "testdata/server"), v1alpha1.HTTPContract{}), `"sleep"`, `"count"`)
}
