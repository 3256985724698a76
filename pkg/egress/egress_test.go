// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/contracttest"
	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/egress"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
)

// serve serves TCP on the loopback interface with f, and returns the address.
func serve(t testing.TB, f func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			running.Go(func() {
				f(c.(*net.TCPConn))
				_ = c.Close()
				mu.Lock()
				delete(open, c)
				mu.Unlock()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return l.Addr().String()
}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

// sink is one that runs the test's program, which may connect to what is listed.
func sink(program string, tier lease.Tier, args []string, list ...string) dispatcher.Sink {
	return dispatcher.Sink{
		Program: program, Args: args, Tier: tier, Egress: list, Limits: vmexec.Limits{Wall: time.Minute},
		Contract: contract.Config{Spec: v1alpha1.Contract{Type: v1alpha1.ContractStdio}},
	}
}

// do sends an event and returns what the program said.
func do(t *testing.T, k *contracttest.Sink, what, addr string, n int) string {
	t.Helper()
	return strings.Trim(k.Data(t, fmt.Sprint(what, addr, n), fmt.Sprintf(`{"Do":%q,"Addr":%q,"N":%d}`, what, addr, n)), `"`)
}

// settle waits until no connection of an event is open.
func settle(t *testing.T, k *contracttest.Sink) {
	t.Helper()
	for end := time.Now().Add(time.Minute); k.Stats().Machines.Egress.Open > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d connections of events that have ended are open", k.Stats().Machines.Egress.Open)
		}
	}
}

// names are the addresses of names.
type names map[string][]string

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if len(n[host]) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var all []netip.Addr
	for _, a := range n[host] {
		all = append(all, netip.MustParseAddr(a))
	}
	return all, nil
}

// TestMachines has programs connect to servers on the host, on every platform and tier,
// in this process and in worker processes.
func TestMachines(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/client")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		p.Resolver = names{
			"echo.test":    {"127.0.0.1"},
			"both.test":    {"2606:2800:220:1::1", "93.184.216.34", "10.0.0.1", "::ffff:93.184.216.35"},
			"six.test":     {"2606:2800:220:1::1"},
			"private.test": {"10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::7f00:1"},
			"hidden.test":  {"93.184.216.34"},
		}
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				addr := serve(t, echo)
				_, port, _ := net.SplitHostPort(addr)
				k := p.MustNew(t, sink(program, tier, nil, "127.0.0.1/32:"+port, "*.test:"+port))
				steps := []struct {
					what, addr string
					n          int
					want       string
				}{
					{"echo", addr, 10, "10 bytes"},
					{"echo", addr, 11, "11 bytes"}, // by another machine, or one that was reset
					{"echo", "echo.test:" + port, 12, "12 bytes"},
					{"echo", addr, 3 << 20, "3145728 bytes"},
					{"echo", "192.0.2.1:80", 1, "error: network is unreachable"},
					{"echo", "127.0.0.1:1", 1, "error: network is unreachable"},
					{"echo", "93.184.216.36:" + port, 1, "error: network is unreachable"},
					{"echo", "private.test:" + port, 1, "error: no such host"},
					{"echo", "a.example.com:" + port, 1, "error: no such host"},
					{"lookup", "both.test", 0, "2606:2800:220:1::1 93.184.216.34 93.184.216.35"},
					{"lookup", "six.test", 0, "2606:2800:220:1::1"},
					{"lookup", "none.test", 0, "error: no such host"},
					{"udp", "93.184.216.34:53", 0, "error: network is unreachable"},
				}
				for _, s := range steps {
					if got := do(t, k, s.what, s.addr, s.n); got != s.want {
						t.Errorf("%s %s: %q, want %q", s.what, s.addr, got, s.want)
					}
				}
				settle(t, k)
				e := k.Stats().Machines.Egress
				if e.Connections != 4 || e.Refused != 3 || e.Failed != 0 || e.Sent != e.Received || e.Sent < 3<<20 {
					t.Errorf("counted: %+v", *e)
				}
				for _, want := range []string{
					`msg="a connection was refused" name="" address=192.0.2.1 port=80 why="the address is not one of the Internet (documentation), and is not listed itself"`,
					`msg="a name was not resolved for a program" name=private.test why="none of its addresses may be used`,
				} {
					if !strings.Contains(k.Log(), want) {
						t.Errorf("the log lacks %s", want)
					}
				}
			})
		}
	})
}

// TestFrozen has a program that is connected when its snapshot is made: to its clones
// the connection is broken off, and they can have another.
func TestFrozen(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/client")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				held := serve(t, func(c *net.TCPConn) {
					_, _ = c.Write([]byte("x"))
					_, _ = io.Copy(io.Discard, c)
				})
				addr := serve(t, echo)
				k := p.MustNew(t, sink(program, tier, []string{held}, "127.0.0.1/32"))
				for range 2 { // clones of one snapshot
					if got := do(t, k, "held", "", 0); got != "error: connection reset by peer" {
						t.Errorf("the connection of the snapshot: %s", got)
					}
					if got := do(t, k, "echo", addr, 5); got != "5 bytes" {
						t.Error(got)
					}
				}
			})
		}
	})
}

// TestTalkers has a program that is talked to over connections, and makes some itself
// meanwhile: two events at once.
func TestTalkers(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/relay")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(r.URL.Path, 50_000))
	}))
	t.Cleanup(web.Close)
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for _, tier := range p.Tiers() {
			t.Run(string(tier), func(t *testing.T) {
				s := sink(program, tier, []string{"http"}, "127.0.0.1")
				s.Contract.Spec = v1alpha1.Contract{Type: v1alpha1.ContractHTTP}
				k := p.MustNew(t, s)
				var both sync.WaitGroup
				for i := range 2 {
					both.Go(func() {
						for j := range 2 {
							path := fmt.Sprintf("/%d%d", i, j)
							r, f := k.Send(contracttest.Event(t, path[1:], fmt.Sprintf(`{"URL":%q}`, web.URL+path)))
							if f != nil || r == nil || strings.TrimSpace(string(r.Data())) != strconv.Quote(strings.Repeat(path, 50_000)) {
								t.Errorf("%s: %v", path, f)
							}
						}
					})
				}
				both.Wait()
			})
		}
	})
}

// TestContracts has a program of each contract make connections: in its event, which
// work, and before its snapshot, which are reset in its clones.
func TestContracts(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/relay")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat(r.URL.Path, 10_000))
	}))
	t.Cleanup(web.Close)
	held := serve(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("x"))
		_, _ = io.Copy(io.Discard, c)
	})
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		for name, spec := range map[string]v1alpha1.Contract{
			"http":       {Type: v1alpha1.ContractHTTP},
			"lambda":     {Type: v1alpha1.ContractLambda},
			"openwhisk":  {Type: v1alpha1.ContractOpenWhisk},
			"actionloop": {Type: v1alpha1.ContractOpenWhisk, OpenWhisk: &v1alpha1.OpenWhiskContract{Protocol: v1alpha1.OpenWhiskActionLoop}},
			"silent":     {Type: v1alpha1.ContractOpenWhisk, OpenWhisk: &v1alpha1.OpenWhiskContract{Protocol: v1alpha1.OpenWhiskActionLoop}},
			"azure":      {Type: v1alpha1.ContractAzure, Azure: &v1alpha1.AzureContract{Function: "relay"}},
		} {
			t.Run(name, func(t *testing.T) {
				s := sink(program, p.Tiers()[0], []string{name, held}, "127.0.0.1/32")
				s.Contract.Spec = spec
				if name == "silent" { // it is taken for ready before it connects
					s.Args[0], s.Env = "actionloop", []string{"__OW_WAIT_FOR_ACK="}
				}
				k := p.MustNew(t, s)
				for range 2 { // clones of one snapshot
					if got := k.Data(t, "held", `{}`); !strings.Contains(got, "connection reset by peer") {
						t.Errorf("the connection of the snapshot: %s", got)
					}
					if got := k.Data(t, "get", fmt.Sprintf(`{"URL":%q}`, web.URL+"/a")); !strings.Contains(got, strings.Repeat("/a", 10_000)) {
						t.Errorf("what was got: %.100s", got)
					}
				}
				s.Egress = []string{"192.0.2.1"}
				s.Args = s.Args[:1]
				k = p.MustNew(t, s)
				r, f := k.Send(contracttest.Event(t, "refused", fmt.Sprintf(`{"URL":%q}`, web.URL+"/a")))
				if f == nil || !strings.Contains(f.Message, "refused") && !strings.Contains(f.Message, "unreachable") {
					t.Errorf("what is not listed: %v, %v", r, f)
				}
			})
		}
	})
}

// TestAnew has programs that each event starts.
func TestAnew(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/client")
	addr := serve(t, echo)
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		k := p.MustNewAnew(t, sink(program, lease.TierVM, nil, "127.0.0.1"))
		for range 2 {
			if got := do(t, k, "echo", addr, 10); got != "10 bytes" {
				t.Error(got)
			}
		}
	})
}

// TestHostile has programs that do what is no good: each ends all the same, with what is
// theirs alone.
func TestHostile(t *testing.T) {
	program := contracttest.BuildGo(t, "testdata/client")
	contracttest.Each(t, func(t *testing.T, p *contracttest.Place) {
		addr := serve(t, echo)
		ended := make(chan int, 10)
		flood := serve(t, func(c *net.TCPConn) { // it sends without end
			n := 0
			for b := make([]byte, 64<<10); ; {
				k, err := c.Write(b)
				if n += k; err != nil {
					ended <- n
					return
				}
			}
		})
		read := make(chan int, 10)
		drain := serve(t, func(c *net.TCPConn) {
			n, _ := io.Copy(io.Discard, c)
			read <- int(n)
		})
		k := p.MustNew(t, sink(program, p.Tiers()[0], nil, "127.0.0.1"))
		if got := do(t, k, "first", flood, 0); got != "a byte" {
			t.Errorf("a peer that sends without end: %s", got)
		}
		select {
		case n := <-ended: // what buffers of two kernels and ours hold
			if n > 64<<20 {
				t.Errorf("%d bytes were taken for a program that reads none", n)
			}
		case <-time.After(time.Minute):
			t.Error("its connection was not closed with the event")
		}
		if got := do(t, k, "many", addr, 0); got != fmt.Sprintf("%d, then cannot assign requested address", egress.MaxConns) {
			t.Errorf("connections without end: %s", got)
		}
		if got := do(t, k, "send", drain, 20_000); got != "20000 bytes" {
			t.Error(got)
		}
		select {
		case n := <-read:
			if n != 20_000 {
				t.Errorf("of what a program wrote before its end %d bytes came", n)
			}
		case <-time.After(time.Minute):
			t.Error("the connection of a program that has ended is open")
		}
		settle(t, k)
	})
}
