// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package contracttest runs events through a contract and real programs in virtual
// machines: on each platform, in this process and in worker processes, on each tier.
package contracttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/egress"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/queue"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/vmexec"
)

// module is the folder of this module's sources.
func module() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// BuildGo builds the Go program in a folder, statically.
func BuildGo(t testing.TB, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "program")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", out, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, said)
	}
	return out
}

// Place is where machines are: on a platform, in this process or in workers.
type Place struct {
	Kind   vmexec.Kind
	Worker string // path of kontain-worker; empty: in this process
	// Resolver finds the addresses of names that programs ask for; nil: there are none.
	Resolver egress.Resolver
	workers  *lease.Workers
}

// LookupNetIP implements egress.Resolver with what is its Resolver then.
func (p *Place) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if p.Resolver == nil {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return p.Resolver.LookupNetIP(ctx, network, host)
}

// Each runs f in every place that there is here; the others are skipped by name.
func Each(t *testing.T, f func(t *testing.T, p *Place)) {
	worker := filepath.Join(t.TempDir(), "kontain-worker")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", worker, "./cmd/worker")
	build.Dir = module()
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	for _, kind := range []vmexec.Kind{vmexec.KVM, vmexec.Ptrace} {
		for name, path := range map[string]string{"inside": "", "workers": worker} {
			t.Run(string(kind)+"/"+name, func(t *testing.T) {
				host, err := vmexec.Open(kind)
				if err != nil {
					if os.Getenv("VMEXEC_REQUIRE_"+strings.ToUpper(string(kind))) == "1" {
						t.Fatal(err)
					}
					t.Skip(err)
				}
				p := &Place{Kind: kind, Worker: path}
				p.workers = lease.NewWorkers(host, lease.Options{
					Worker: path, Resolver: p,
					Alone: 1, // several machines in a process, where there may be
				})
				t.Cleanup(func() { // after those of the sinks
					p.workers.Close()
					if err := host.Close(); err != nil {
						t.Error(err)
					}
				})
				f(t, p)
			})
		}
	}
}

// Source returns a source of machines of this place; the test closes it.
func (p *Place) Source(t testing.TB, spec lease.Spec) lease.Source {
	t.Helper()
	s, err := p.workers.New(spec, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Tiers returns the tiers that a place has.
func (p *Place) Tiers() []lease.Tier {
	if p.Worker == "" {
		return []lease.Tier{lease.TierVM, lease.TierReset}
	}
	return []lease.Tier{lease.TierProcess, lease.TierVM, lease.TierReset}
}

// Sink is a sink with one program.
type Sink struct {
	t   testing.TB
	d   *dispatcher.Dispatcher
	log *syncBuffer
}

// New makes a sink of a program that is a file, as s says. What s does not say is
// set: a snapshot, 64 MiB, 10 seconds. The error is why the sink is not ready.
func (p *Place) New(t testing.TB, s dispatcher.Sink) (*Sink, error) {
	t.Helper()
	s.Snapshot = true
	return p.make(t, s)
}

func (p *Place) make(t testing.TB, s dispatcher.Sink) (*Sink, error) {
	t.Helper()
	s.Namespace, s.Name, s.IdleTime = "default", "test", time.Minute
	if s.Limits.Memory == 0 {
		s.Limits.Memory = 64 << 20
	}
	if s.Limits.Wall == 0 {
		s.Limits.Wall = 10 * time.Second
	}
	if s.Tier == "" {
		s.Tier = lease.TierVM
	}
	s.Queue = queue.Config{Concurrency: 4, Length: 100, Timeout: time.Minute}
	c := &s.Contract
	c.Namespace, c.Name, c.Timeout, c.Memory = s.Namespace, s.Name, s.Limits.Wall, s.Limits.Memory
	c.Spec.SetDefaults(t.Context())
	if err := c.Spec.Validate(t.Context()); err != nil {
		return nil, err
	}
	if c.MaxReply == 0 {
		c.MaxReply = vmexec.DefaultOutput
	}
	c.Reply = contract.ReplySettings{Type: "reply.type", Source: "/reply"}
	k := &Sink{t: t, log: &syncBuffer{}}
	k.d = dispatcher.New(dispatcher.Options{
		Contract: server.NewContract,
		Source: func(s dispatcher.Sink) (lease.Source, error) {
			spec, err := server.Machines(s)
			if err != nil {
				return nil, err
			}
			return p.workers.New(spec, slog.New(slog.NewTextHandler(k.log, nil)))
		},
		Ahead:  1, // so that what fails at the start fails here
		Logger: slog.New(slog.NewTextHandler(k.log, nil)),
	})
	err := k.d.Update([]dispatcher.Sink{s})
	if err != nil {
		return nil, errors.Join(err, k.d.Close(context.Background()))
	}
	t.Cleanup(func() {
		if err := k.d.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(k.log.String())
		}
	})
	return k, nil
}

// MustNew is New of a sink that becomes ready.
func (p *Place) MustNew(t testing.TB, s dispatcher.Sink) *Sink {
	t.Helper()
	k, err := p.New(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// MustNewAnew is MustNew of a sink without a snapshot: each event starts the program.
func (p *Place) MustNewAnew(t testing.TB, s dispatcher.Sink) *Sink {
	t.Helper()
	k, err := p.make(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Log returns what was logged.
func (k *Sink) Log() string { return k.log.String() }

// Stats returns the counters of the sink.
func (k *Sink) Stats() dispatcher.Stats { return k.d.Stats()[0] }

// Event makes an event with JSON data.
func Event(t testing.TB, id, data string) *event.Event {
	t.Helper()
	e, err := event.DecodeJSON(fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"source":"/test","type":"test.type","subject":"a b","datacontenttype":"application/json","data":%s}`, id, data))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Send takes an event through the sink and returns its reply, which may be nil.
func (k *Sink) Send(e *event.Event) (*event.Event, *reply.Failure) {
	return k.send(k.t.Context(), e)
}

func (k *Sink) send(ctx context.Context, e *event.Event) (*event.Event, *reply.Failure) {
	replies, f := k.d.Dispatch(ctx, "default", "test", []*event.Event{e})
	if f != nil || len(replies) == 0 {
		return nil, f
	}
	return replies[0], nil
}

// Data sends an event with JSON data and returns the data of its reply.
func (k *Sink) Data(t testing.TB, id, data string) string {
	t.Helper()
	r, f := k.Send(Event(t, id, data))
	if f != nil {
		t.Fatalf("event %s: %v", id, f)
	}
	if r == nil {
		return ""
	}
	return string(r.Data())
}

// SendersGo sends events with data sleep, which the program of s takes for ever to
// answer, of which the senders go away, and meanwhile others with data quick: those are
// answered, also by machines that are in the same process, and nothing is left of the
// first. It does so in each place and on each of its tiers.
func SendersGo(t *testing.T, s dispatcher.Sink, sleep, quick string) {
	t.Helper()
	const rounds = 10
	Each(t, func(t *testing.T, p *Place) {
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				s := s
				s.Tier = tier
				k := p.MustNew(t, s)
				var all sync.WaitGroup
				for sender := range 2 {
					all.Go(func() {
						for i := range rounds {
							ctx, cancel := context.WithTimeout(t.Context(), time.Duration(10+20*i)*time.Millisecond)
							if r, f := k.send(ctx, Event(t, fmt.Sprintf("gone%d.%d", sender, i), sleep)); f == nil {
								t.Errorf("an event without an end is answered: %v", r)
							}
							cancel()
						}
					})
					all.Go(func() {
						for i := range 3 * rounds {
							id := fmt.Sprintf("quick%d.%d", sender, i)
							if r, f := k.Send(Event(t, id, quick)); f != nil || r == nil {
								t.Errorf("event %s: %v, %v", id, r, f)
							}
						}
					})
				}
				all.Wait()
				// A machine whose event is given up goes after its sender.
				for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
					st := k.Stats()
					if st.Queue.Running == 0 && st.Queue.Waiting == 0 {
						break
					} else if time.Now().After(end) {
						t.Fatalf("there is something left: %+v", st)
					}
				}
			})
		}
	})
}

// syncBuffer is a log that several goroutines write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
