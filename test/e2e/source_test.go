// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kontain.dev/eventing/pkg/event"
)

// collector takes events, when it is not down.
type collector struct {
	*httptest.Server
	mu   sync.Mutex
	down bool
	// flaky, when set, has one in twenty events refused for the moment, half of those after
	// they were taken.
	flaky *rand.Rand
	got   []*event.Event
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // its sender was killed
		}
		events, _, err := event.Decode(r.Header, body, 1)
		if err != nil {
			t.Errorf("not an event: %v", err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.down {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fails := c.flaky != nil && c.flaky.IntN(20) == 0
		taken := !fails || c.flaky.IntN(2) == 0
		if taken {
			c.got = append(c.got, events...)
		}
		if fails {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *collector) setDown(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

func (c *collector) events() []*event.Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

func (c *collector) wait(t *testing.T, n int) {
	t.Helper()
	for end := time.Now().Add(patience); len(c.events()) < n; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d events came, want %d", len(c.events()), n)
		}
	}
}

func sourceManifest(t *testing.T, program string, more ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "source.yaml")
	text := "apiVersion: sources.kontain.dev/v1alpha1\nkind: KontainSource\nmetadata: {name: beat, namespace: ns}\nspec:\n"
	if !slices.Contains(more, "isolation: Process") {
		text += "  isolation: VM\n"
	}
	if program != "" {
		text += fmt.Sprintf("  program: %q\n", program)
	}
	for _, line := range more {
		text += "  " + line + "\n"
	}
	writeFile(t, file, text)
	return file
}

// runSource starts `kontain source run`; the end of the test kills it.
func runSource(t *testing.T, args ...string) (cmd *exec.Cmd, stdout, stderr *output) {
	t.Helper()
	stdout, stderr = &output{}, &output{}
	cmd = exec.Command(kontain, append([]string{"source", "run"}, args...)...)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the log ends:\n%s", tail(stderr.String(), 4<<10))
		}
	})
	return cmd, stdout, stderr
}

// What sources do can be asked for while they run.
func TestSourceMetrics(t *testing.T) {
	needKVM(t)
	t.Parallel()
	c := newCollector(t)
	file := sourceManifest(t, heartbeat, "interval: 1s", "sink: {uri: "+c.URL+"}")
	cmd, _, stderr := runSource(t, "-f", file, "--state-dir", t.TempDir(), "--log", "json", "--metrics-address", "127.0.0.1:0")
	c.wait(t, 2)
	at := regexp.MustCompile(`"msg":"metrics","address":"([^"]+)"`).FindStringSubmatch(stderr.String())
	if at == nil {
		t.Fatal("the log does not say where metrics are")
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+at[1]+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := do(newClient(t), request)
	if err != nil || a.status != 200 {
		t.Fatal(a, err)
	}
	for _, want := range []string{
		`kontain_source_runs_total{namespace="ns",result="Succeeded",source="beat"} [2-9]`,
		`kontain_source_events_total{namespace="ns",result="Sent",source="beat"} [1-9]`,
		`kontain_source_run_lateness_seconds_count{namespace="ns",source="beat"} [2-9]`,
		`kontain_sources 1`,
	} {
		if !regexp.MustCompile(`(?m)^` + want + `$`).MatchString(a.body) {
			t.Errorf("there is no %s in\n%s", want, a.body)
		}
	}
	if err := errors.Join(cmd.Process.Signal(unix.SIGTERM), cmd.Wait()); err != nil {
		t.Error(err)
	}
}

// Whenever the adapter is killed, and while the sink is down, no event is lost, their
// order is kept, and one that comes twice has the same id.
func TestSourceKilled(t *testing.T) {
	needKVM(t)
	t.Parallel()
	c, state := newCollector(t), t.TempDir()
	file := sourceManifest(t, heartbeat, "interval: 1s", "sink: {uri: "+c.URL+"}")
	args := []string{"-f", file, "--state-dir", state, "--snapshot-dir", privateDir(t)}
	for n := 1; n <= 4; n++ {
		cmd, _, _ := runSource(t, args...)
		c.setDown(n == 3)
		if n == 3 { // until something waits
			waiting := filepath.Join(state, "ns.beat", "run-*.json")
			for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
				if files, _ := filepath.Glob(waiting); len(files) > 1 {
					break
				} else if time.Now().After(end) {
					t.Fatal("no run waits for the sink that is down")
				}
			}
		} else {
			c.wait(t, len(c.events())+n+1)
		}
		if n < 4 {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			continue
		}
		if err := cmd.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("ended with %v", err)
		}
	}
	var last time.Time
	ids := map[string]time.Time{}
	for _, e := range c.events() {
		var data struct{ Due time.Time }
		if err := json.Unmarshal(e.Data(), &data); err != nil {
			t.Fatal(err)
		}
		due, again := ids[e.ID()]
		switch {
		case again && !due.Equal(data.Due):
			t.Errorf("%s was due at %v and at %v", e.ID(), due, data.Due)
		case !again && !data.Due.After(last):
			t.Errorf("%s of %v came after that of %v", e.ID(), data.Due, last)
		case !again:
			last = data.Due
		}
		ids[e.ID()] = data.Due
	}
	if len(ids) < 7 {
		t.Errorf("%d events, want at least 7", len(ids))
	}
}

// What a program that runs on has written, and the adapter has on disk, comes in its order
// whenever the adapter is killed or asked to end, and while the sink is down.
func TestSourceRunsOn(t *testing.T) {
	needKVM(t)
	t.Parallel()
	c, state := newCollector(t), t.TempDir()
	file := sourceManifest(t, guest, "continuous: true", `args: ["ticks"]`, "sink: {uri: "+c.URL+"}")
	args := []string{"-f", file, "--state-dir", state, "--log-level", "debug"}
	for n := 1; n <= 4; n++ {
		c.setDown(false)
		cmd, _, _ := runSource(t, args...)
		c.wait(t, len(c.events())+30)
		if n == 2 || n == 3 { // until something waits
			c.setDown(true)
			for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
				if files, _ := filepath.Glob(filepath.Join(state, "ns.beat", "run-*.json")); len(files) > 10 {
					break
				} else if time.Now().After(end) {
					t.Fatal("nothing waits for the sink that is down")
				}
			}
		}
		signal := unix.SIGKILL
		if n%2 == 0 {
			signal = unix.SIGTERM
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); signal == unix.SIGTERM && err != nil {
			t.Errorf("ended with %v", err)
		}
	}
	last, starts := map[string]int{}, []string{}
	for _, e := range c.events() {
		at := strings.LastIndexByte(e.ID(), '.')
		start, number := e.ID()[:at], 0
		if _, err := fmt.Sscanf(string(e.Data()), "tick %d", &number); err != nil || e.ID()[at+1:] != fmt.Sprint(number) {
			t.Fatalf("event %v", e)
		}
		switch before, known := last[start]; {
		case !known && number == 1:
			starts = append(starts, start)
		case number > before+1, start != starts[len(starts)-1]:
			t.Fatalf("%s came after %d", e.ID(), before)
		}
		last[start] = max(last[start], number)
	}
	if len(starts) != 4 {
		t.Errorf("events of %d starts came, want 4: %v", len(starts), last)
	}
}

// A source may run an image, and says on which level its worker processes are jailed.
func TestSourceImage(t *testing.T) {
	needKVM(t)
	t.Parallel()
	c, dir := newCollector(t), t.TempDir()
	program, err := os.ReadFile(guest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "guest"), program, 0o700); err != nil {
		t.Fatal(err)
	}
	file := sourceManifest(t, "", "image: dir:"+dir, `command: ["/guest"]`, "args: [count]", "once: true", "state: {}", "isolation: Process")
	args := []string{"-f", file, "--sink", c.URL, "--once", "--jail", "1", "--state-dir", t.TempDir(), "--snapshot-dir", privateDir(t), "--image-dir", privateDir(t)}
	for n := 1; n <= 2; n++ {
		cmd, _, stderr := runSource(t, args...)
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(stderr.String(), "image=dir:"+dir) {
			t.Errorf("the log does not name the image: %s", stderr)
		}
		got := c.events()
		if len(got) != 2*n || string(got[2*n-1].Data()) != fmt.Sprint(n) {
			t.Errorf("after run %d: %v", n, got)
		}
	}
	cmd, _, stderr := runSource(t, append(args, "--worker", "off")...)
	if err := cmd.Wait(); err == nil || !strings.Contains(stderr.String(), "there are no worker processes with --worker off") {
		t.Errorf("--jail 1 --worker off: %v, %s", err, stderr)
	}
}

// What a program writes becomes events, or the run fails and says why.
func TestSourceOnce(t *testing.T) {
	needKVM(t)
	t.Parallel()
	c := newCollector(t)
	for _, test := range []struct {
		name    string
		program string
		args    []string
		spec    []string
		status  int
		data    string
		want    string // of stderr
	}{
		{name: "text", program: guest, args: []string{"print", "hi"}, spec: []string{"once: true", "event: {type: greeting}"}, data: "hi"},
		{name: "fails", program: guest, args: []string{"exit", "3"}, spec: []string{"once: true"}, status: 1, want: "exit status 3"},
		{name: "never ends", program: guest, args: []string{"spin"}, spec: []string{"once: true", "timeout: 300ms"}, status: 1, want: "300ms"},
		{name: "half an event", program: guest, args: []string{"print", `{\"specversion\":\"1.0\",\"id\":`}, spec: []string{"once: true"}, status: 1, want: "the program's output: is a part of a CloudEvent"},
		{name: "garbage behind an event", program: guest, args: []string{"print", `{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\"}\ngarbage`}, spec: []string{"once: true"}, status: 1, want: "line 2 of the program's output"},
		{name: "100 MB", program: guest, args: []string{"output"}, spec: []string{"once: true"}, status: 1, want: "it wrote more than the 1048576 bytes of output"},
		{name: "many events", program: guest, args: []string{"events", "10001"}, spec: []string{"once: true"}, status: 1, want: "line 10001 of the program's output: has more than 10000 events"},
		{name: "a million events", program: guest, args: []string{"events", "1000000"}, spec: []string{"once: true"}, status: 1, want: "it wrote more than the 1048576 bytes of output"},
		{name: "runs on and crashes", program: guest, args: []string{"nil"}, spec: []string{"continuous: true"}, status: 1, want: "run failed"},
		{name: "runs on without lines", program: guest, args: []string{"output"}, spec: []string{"continuous: true"}, status: 1, want: "line 1 of the program's output: has more than the 1048576 bytes"},
		{name: "a state that is too large", program: guest, args: []string{"count"}, spec: []string{"once: true", "state: {limit: 0}"}, status: 1, want: "spec.state.limit"},
		{name: "a contract for events", program: guest, spec: []string{"once: true", "contract: {type: lambda}"}, status: 1, want: "contract lambda is for functions that are given an event"},
		{name: "no image", program: "", spec: []string{"once: true", "image: oci:/nowhere"}, status: 1, want: "/nowhere"},
		{name: "not valid", program: guest, spec: []string{"schedule: 61 * * * *"}, status: 1, want: "spec.schedule"},
		{name: "no time", program: guest, status: 1, want: "exactly one of schedule, interval, once and continuous"},
		{name: "no program", program: "/nowhere", spec: []string{"once: true"}, status: 1, want: "/nowhere"},
	} {
		t.Run(test.name, func(t *testing.T) {
			spec := test.spec
			if len(test.args) > 0 {
				spec = append(spec, `args: ["`+strings.Join(test.args, `", "`)+`"]`)
			}
			before := len(c.events())
			cmd, stdout, stderr := runSource(t, "-f", sourceManifest(t, test.program, spec...), "--sink", c.URL, "--once", "--json", "--state-dir", t.TempDir(), "--snapshot-dir", privateDir(t))
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != test.status && (test.status == 0 || got <= 0) {
				t.Errorf("exit status %d, want %d", got, test.status)
			}
			if !strings.Contains(stderr.String(), test.want) {
				t.Errorf("stderr %q, want %q", stderr, test.want)
			}
			got := c.events()[before:]
			if test.data == "" {
				if len(got) != 0 {
					t.Errorf("sent %v", got)
				}
				return
			}
			if len(got) != 1 || strings.TrimSpace(string(got[0].Data())) != test.data || got[0].Type() != "greeting" || got[0].Source() != "/apis/sources.kontain.dev/v1alpha1/namespaces/ns/kontainsources/beat" {
				t.Errorf("sent %v", got)
			}
			var stats map[string]struct{ Runs, Sent int }
			if err := json.Unmarshal([]byte(stdout.String()), &stats); err != nil || stats["ns/beat"].Sent != 1 {
				t.Errorf("stdout %q: %v", stdout, err)
			}
		})
	}
}

func privateDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
