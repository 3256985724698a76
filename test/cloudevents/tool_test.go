// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cloudevents

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
	"syscall"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/event"
)

// patience is the longest that a test waits for what should take moments.
const patience = time.Minute

// tool is the conformance tool of the CloudEvents project, at the version that
// tool/go.mod pins.
type tool struct {
	path  string
	files string // folder of its own events
}

// errMissing says that the tool cannot be downloaded.
var errMissing = errors.New("the conformance tool cannot be had")

// build builds the tool into a folder.
func build(dir string) (tool, error) {
	golang := func(args ...string) (string, error) {
		cmd := exec.Command("go", args...)
		cmd.Dir = "tool"
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%v: %w: %s", cmd.Args, err, stderr.Bytes())
		}
		return strings.TrimSpace(string(out)), nil
	}
	if _, err := golang("mod", "download", "github.com/cloudevents/conformance"); err != nil {
		return tool{}, fmt.Errorf("%w: %w", errMissing, err)
	}
	module, err := golang("list", "-m", "-f", "{{.Dir}}", "github.com/cloudevents/conformance")
	if err != nil {
		return tool{}, err
	}
	c := tool{path: filepath.Join(dir, "cloudevents"), files: filepath.Join(module, "yaml")}
	_, err = golang("build", "-o", c.path, "github.com/cloudevents/conformance/cmd/cloudevents")
	return c, err
}

// Set by TestMain.
var (
	built    tool
	builtErr error
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "kontain-cloudevents-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // Temporary.
	built, builtErr = build(dir)
	return m.Run()
}

// needTool skips a test where there is no tool, unless KONTAIN_REQUIRE_TOOLS=1
// demands it.
func needTool(t *testing.T) tool {
	t.Helper()
	switch {
	case builtErr == nil:
	case !errors.Is(builtErr, errMissing):
		t.Fatal(builtErr)
	case os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1":
		t.Fatalf("KONTAIN_REQUIRE_TOOLS=1, but %v", builtErr)
	default:
		t.Skip(builtErr)
	}
	return built
}

// run runs the tool and returns what it printed; the error has it too.
func (c tool) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%v: %w\n%s", cmd.Args, err, out)
	}
	return string(out), err
}

// listen has the tool listen for events until the test ends, and returns its URL.
func (c tool) listen(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(c.path, "listen", "-P", "0", "--history", "100")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	r := bufio.NewReader(stderr)
	line, err := r.ReadString('\n')
	go func() { _, _ = io.Copy(io.Discard, r) }() // until it ends
	_, port, ok := strings.Cut(strings.TrimSpace(line), "listening on :")
	if !ok {
		t.Fatalf("the tool's listener says %q, %v", line, err)
	}
	return "http://127.0.0.1:" + port
}

// toolCase is a file of events that the tool sends.
type toolCase struct {
	name   string // without a comma: to the tool it ends the name of a file
	file   string
	tell   event.Mode
	events []string // ids, in order
}

// plain returns the file with attributes that end in a line feed without it: the tool
// sends them so, and then does not know them again.
func (c toolCase) plain(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(c.file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.ReplaceAll(text, []byte("|\n      {\"othervalue\": 5}"), []byte(`'{"othervalue": 5}'`))
	path := filepath.Join(t.TempDir(), "sent.yaml")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestTool has the conformance tool send its events, and some of ours, and holds
// that the receiver understood each as it was meant: what was dispatched is told to
// the tool's listener, and the tool compares that with the events it had sent. The
// listener undoes no percent-encoding and takes extensions by their canonical header
// names, and in structured mode it knows no data but JSON: it is told in the mode in
// which it understands a file.
func TestTool(t *testing.T) {
	c := needTool(t)
	s := &sinks{}
	url := start(t, s)
	for _, tt := range []toolCase{
		{
			"minimum binary", filepath.Join(c.files, "v1.0", "v1_minimum.yaml"), event.Binary,
			[]string{"conformance-0001", "conformance-0002", "conformance-0003", "conformance-0004", "conformance-0005", "conformance-0006"},
		},
		{"extensions binary and structured", filepath.Join(c.files, "v1.yaml"), event.Structured, []string{"4321-4321-4321", "4321-4321-4321"}},
		{
			"structured", filepath.Join("testdata", "structured.yaml"), event.Structured,
			[]string{"structured-object", "structured-array", "structured-string", "structured-text", "structured-xml", "structured-nothing"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sent := tt.plain(t)
			if _, err := c.run(t, "invoke", url+"/ns/"+echo, "-f", sent); err != nil {
				t.Fatal(err)
			}
			received := s.take()
			var ids []string
			for _, e := range received {
				ids = append(ids, e.ID())
			}
			if !slices.Equal(ids, tt.events) {
				t.Fatalf("events %q arrived, want %q", ids, tt.events)
			}
			listener := c.listen(t)
			for _, e := range received {
				tell(t, listener, e, tt.tell)
			}
			got := filepath.Join(t.TempDir(), "got.yaml")
			if err := os.WriteFile(got, fetch(t, fmt.Sprintf("%s/history?wait=%d", listener, len(received))), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := c.run(t, "diff", sent, got); err != nil {
				text, _ := os.ReadFile(got)
				t.Errorf("what arrived is not what was sent (-sent +arrived): %v; the listener has\n%s", err, text)
			}
		})
	}
}

// TestToolDiffers holds that the comparison of TestTool finds what is wrong.
func TestToolDiffers(t *testing.T) {
	c := needTool(t)
	text, err := os.ReadFile(filepath.Join("testdata", "structured.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(other, bytes.Replace(text, []byte("subject: a/b c"), []byte("subject: a/b%20c"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := c.run(t, "diff", filepath.Join("testdata", "structured.yaml"), other); err == nil || !strings.Contains(out, "a/b%20c") {
		t.Errorf("a changed subject was not found: %v %s", err, out)
	}
}

// TestToolOldVersion holds that events of CloudEvents 0.3 are refused, each for good.
func TestToolOldVersion(t *testing.T) {
	c := needTool(t)
	s := &sinks{}
	_, err := c.run(t, "invoke", start(t, s)+"/ns/"+echo, "-f", filepath.Join(c.files, "v0.3", "v03_minimum.yaml"))
	if err == nil || strings.Count(err.Error(), "400 Bad Request") < 6 {
		t.Errorf("%v; want 400 for each of 6 events", err)
	}
	if got := s.take(); len(got) != 0 {
		t.Errorf("%d events were dispatched", len(got))
	}
}

// tell posts an event.
func tell(t *testing.T, url string, e *event.Event, mode event.Mode) {
	t.Helper()
	h := http.Header{}
	var body []byte
	var err error
	if mode == event.Binary {
		body, err = event.EncodeBinary(e, h)
	} else {
		h.Set("Content-Type", event.MediaTypeJSON)
		body, err = event.EncodeJSON(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = h
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the tool's listener answers %s, %v", resp.Status, err)
	}
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	return b
}
