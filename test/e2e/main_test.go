// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package e2e tests the program kontain as its users have it: built, started as
// a process, and spoken to over HTTP, through its flags and by signals.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/vmexec"
)

// patience is the longest that a test waits for what should take moments: the
// machine may be slow and shared.
const patience = time.Minute

// Programs under test. A C program is empty where it could not be built, and
// cMissing then says why.
var (
	kontain   string
	guest     string // testdata/guest
	guest2    string // the same, of another version
	uppercase string // samples/uppercase-go
	greeting  string // samples/http-go
	invoice   string // samples/lambda-go
	heartbeat string // samples/heartbeat-go
	cGuest    string // testdata/guest.c
	cDynamic  string // testdata/guest.c, with shared libraries
	wordcount string // samples/wordcount-c
	cMissing  string
	noKVM     error
)

func TestMain(m *testing.M) {
	os.Exit(testMain(m))
}

func testMain(m *testing.M) int {
	host, err := vmexec.Open(vmexec.KVM)
	if err != nil {
		noKVM = err
		return m.Run()
	}
	if err := host.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "kontain-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // Temporary.
	// No test leaves anything in the user's cache.
	if err := os.Setenv("KONTAIN_SNAPSHOT_DIR", filepath.Join(dir, "snapshots")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := build(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func build(dir string) error {
	golang := func(name, pkg, ldflags string) (string, error) {
		out := filepath.Join(dir, name)
		cmd := exec.Command("go", "build", "-ldflags", ldflags, "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if said, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%v: %w\n%s", cmd.Args, err, said)
		}
		return out, nil
	}
	c := func(name, link string, sources ...string) string {
		out := filepath.Join(dir, name)
		cmd := exec.Command("gcc", append([]string{"-std=gnu11", "-O2", link, "-o", out}, sources...)...)
		if said, err := cmd.CombinedOutput(); err != nil {
			cMissing = fmt.Sprintf("no C programs: %v %s", err, bytes.TrimSpace(said))
			return ""
		}
		return out
	}
	var errs [8]error
	kontain, errs[0] = golang("kontain", "../../cmd/kontain", "")
	guest, errs[1] = golang("guest", "./testdata/guest", "-s -w -X main.version=one")
	guest2, errs[2] = golang("guest2", "./testdata/guest", "-s -w -X main.version=two")
	uppercase, errs[3] = golang("uppercase-go", "../../samples/uppercase-go", "-s -w")
	_, errs[4] = golang("kontain-worker", "../../cmd/worker", "-s -w") // beside kontain, where it is looked for
	greeting, errs[5] = golang("http-go", "../../samples/http-go", "-s -w")
	invoice, errs[6] = golang("lambda-go", "../../samples/lambda-go", "-s -w")
	heartbeat, errs[7] = golang("heartbeat-go", "../../samples/heartbeat-go", "-s -w")
	cGuest = c("cguest", "-static", "testdata/guest.c")
	cDynamic = c("cdynamic", "-pie", "testdata/guest.c")
	wordcount = c("wordcount-c", "-static", "../../samples/wordcount-c/main.c", "../../samples/internal/json.c")
	return errors.Join(errs[:]...)
}

// needKVM skips a test where no machine can be made, unless
// VMEXEC_REQUIRE_KVM=1 demands it.
func needKVM(t *testing.T) {
	t.Helper()
	if noKVM == nil {
		return
	}
	if os.Getenv("VMEXEC_REQUIRE_KVM") == "1" {
		t.Fatalf("VMEXEC_REQUIRE_KVM=1, but %v", noKVM)
	}
	t.Skipf("no KVM: %v", noKVM)
}

// needC skips a test that has no use without C programs, unless
// KONTAIN_REQUIRE_TOOLS=1 demands it.
func needC(t *testing.T) {
	t.Helper()
	if cMissing == "" {
		return
	}
	if os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1" {
		t.Fatalf("KONTAIN_REQUIRE_TOOLS=1, but %s", cMissing)
	}
	t.Skip(cMissing)
}

// Lines of a spec that ask for a snapshot. Without one of them a program is
// started anew for each event.
const (
	onClones  = "isolation: VM\n  snapshot: {mode: Ready, storage: Memory}"
	onWorkers = "isolation: Process\n  snapshot: {mode: Ready, storage: Memory}"
	onResets  = "isolation: Reset\n  snapshot: {mode: Ready, storage: Memory}"
)

// sink writes the manifest of one sink of namespace ns. Each of more is a line
// of its spec.
func sink(t *testing.T, dir, name, program string, args []string, more ...string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, name+".yaml"), manifest(name, program, args, more...))
}

func manifest(name, program string, args []string, more ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: sinks.kontain.dev/v1alpha1\nkind: KontainSink\nmetadata: {name: %s, namespace: ns}\nspec:\n", name)
	fmt.Fprintf(&b, "  program: %q\n", program)
	says := func(field string) bool {
		return slices.ContainsFunc(more, func(line string) bool { return strings.HasPrefix(line, field+":") })
	}
	if !says("contract") {
		b.WriteString("  contract: {type: stdio}\n")
	}
	if !says("isolation") {
		b.WriteString("  isolation: VM\n  snapshot: {mode: Never}\n")
	}
	if len(args) > 0 {
		b.WriteString("  args:\n")
		for _, a := range args {
			fmt.Fprintf(&b, "    - %q\n", a)
		}
	}
	for _, line := range more {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// copyProgram makes dst an executable copy of src, by renaming or in place.
func copyProgram(t *testing.T, src, dst string, rename bool) {
	t.Helper()
	b, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	to := dst
	if rename {
		to += ".new"
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
	if rename {
		if err := os.Rename(to, dst); err != nil {
			t.Fatal(err)
		}
	}
}

// output is a buffer that a process writes and a test reads.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// server is a process of `kontain serve`.
type server struct {
	t      *testing.T
	url    string
	addr   string
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	done   chan struct{} // closed when the process has ended
	err    error         // of Wait, after done
}

// serve starts the server with the manifests of dir and waits until it is
// ready. The end of the test kills it, if it still runs.
func serve(t *testing.T, dir string, flags ...string) *server {
	t.Helper()
	s := &server{t: t, stdout: &output{}, stderr: &output{}, done: make(chan struct{})}
	s.cmd = exec.Command(kontain, append([]string{"serve", "-f", dir, "--listen", "127.0.0.1:0"}, flags...)...)
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = s.stderr
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first := make(chan string, 1)
	go func() {
		defer close(s.done)
		r := bufio.NewReader(io.TeeReader(stdout, s.stdout))
		line, _ := r.ReadString('\n')
		first <- line
		_, _ = io.Copy(io.Discard, r) // until the process ends
		s.err = s.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it may have ended
		<-s.done
		if t.Failed() {
			t.Logf("the server's log ends:\n%s", tail(s.stderr.String(), 4<<10))
		}
	})
	select {
	case line := <-first:
		var ok bool
		if s.url, ok = strings.CutPrefix(strings.TrimSpace(line), "listening on "); !ok {
			<-s.done
			t.Fatalf("serve did not start: %v, stdout %q, stderr %q", s.err, line, s.stderr)
		}
	case <-time.After(patience):
		t.Fatalf("serve did not start within %v: %s", patience, s.stderr)
	}
	s.addr = strings.TrimPrefix(s.url, "http://")
	return s
}

func tail(s string, n int) string {
	if len(s) > n {
		return "…" + s[len(s)-n:]
	}
	return s
}

// sink returns the URL of a sink.
func (s *server) sink(name string) string { return s.url + "/ns/" + name }

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatalf("%v: %v", sig, err)
	}
}

// wait waits for the process to end and returns its state.
func (s *server) wait() *os.ProcessState {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Fatalf("the server did not end within %v", patience)
	}
	return s.cmd.ProcessState
}

// stop drains the server, which must end with status 0.
func (s *server) stop() {
	s.t.Helper()
	s.signal(unix.SIGTERM)
	if st := s.wait(); st.ExitCode() != 0 {
		s.t.Errorf("the server ended with %v, want status 0", st)
	}
}

// answer is a response with its body.
type answer struct {
	status int
	header http.Header
	body   string
}

// newClient makes a client with connections of its own.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// do sends a request and reads the answer.
func do(c *http.Client, r *http.Request) (*answer, error) {
	resp, err := c.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return &answer{resp.StatusCode, resp.Header, string(b)}, nil
}

// newEvent makes a request with an event in binary mode.
func newEvent(ctx context.Context, url, id, data string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(data))
	if err != nil {
		panic(err) // the URL is the server's own
	}
	r.Header = http.Header{
		"Ce-Specversion": {"1.0"}, "Ce-Id": {id}, "Ce-Source": {"/e2e"}, "Ce-Type": {"e2e"},
		"Content-Type": {"application/json"},
	}
	return r
}

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
