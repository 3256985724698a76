// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	ce "github.com/cloudevents/sdk-go/v2/event"
	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"kontain.dev/eventing/pkg/event"
)

const (
	// maxReply is the most bytes of an answer that invoke reads.
	maxReply = 64 << 20
	// maxBatch is the most events of a batch that are counted: one is right.
	maxBatch = 1000
)

type invokeFlags struct {
	event       string
	typ         string
	source      string
	id          string
	subject     string
	data        string
	contentType string
	extensions  []string
	mode        string
	timeout     time.Duration
	output      outputFlag
}

func newInvoke(s Streams) *cobra.Command {
	var f invokeFlags
	cmd := &cobra.Command{
		Use:   "invoke [flags] URL",
		Short: "Send one CloudEvent and show the reply",
		Long: `Send one CloudEvent over HTTP and show the reply and the time it took.

The event comes from a file (--event; structured CloudEvents JSON, - is stdin) or
from the flags. Data that is JSON is sent as application/json, other data as
text/plain, unless --content-type says otherwise.

The reply goes to stdout, the status and the time to stderr.
Exit status: 0 when the event was accepted, 1 when not.`,
		Example: `  kontain invoke --type dev.example.hello --data '{"text":"hello"}' http://127.0.0.1:8080/default/uppercase
  kontain invoke --event event.json --output json http://127.0.0.1:8080/default/wordcount
  kontain invoke --type t --data hi --extension tenant=a --mode structured http://127.0.0.1:8080/default/audit`,
		Args: oneArg("URL"),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if f.event == "" && f.typ == "" {
				return usageErrorf("invoke: no event given: --event FILE, or --type TYPE and what else it holds")
			}
			for _, name := range []string{"type", "source", "id", "subject", "data", "content-type", "extension"} {
				if f.event != "" && cmd.Flags().Changed(name) {
					return usageErrorf("invoke: --event is the whole event: --%s cannot be given with it", name)
				}
			}
			e, err := f.makeEvent(s.In)
			if err != nil {
				return err
			}
			return invoke(cmd.Context(), s, target, e, &f)
		},
	}
	cmd.Flags().StringVar(&f.event, "event", "", "`file` with the event as structured JSON; - is stdin")
	cmd.Flags().StringVar(&f.typ, "type", "", "`type` of the event")
	cmd.Flags().StringVar(&f.source, "source", "urn:kontain:invoke", "`source` of the event, a URI reference")
	cmd.Flags().StringVar(&f.id, "id", "", "`id` of the event (default: a random one)")
	cmd.Flags().StringVar(&f.subject, "subject", "", "`subject` of the event")
	cmd.Flags().StringVarP(&f.data, "data", "d", "", "`data` of the event")
	cmd.Flags().StringVar(&f.contentType, "content-type", "", "media `type` of the data")
	cmd.Flags().StringArrayVar(&f.extensions, "extension", nil, "extension attribute `NAME=VALUE`; may be repeated")
	cmd.Flags().StringVar(&f.mode, "mode", "binary", "content `mode`: binary or structured")
	cmd.Flags().DurationVar(&f.timeout, "timeout", time.Minute, "longest `time` to wait for the answer")
	addOutputFlag(cmd, &f.output)
	return cmd
}

func parseTarget(arg string) (string, error) {
	u, err := url.Parse(arg)
	if err != nil {
		return "", usageErrorf("invoke: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return "", usageErrorf("invoke: %q is not an http or https URL, such as http://127.0.0.1:8080/default/uppercase", arg)
	}
	return u.String(), nil
}

// makeEvent reads or makes the event and checks it, so that a mistake is told
// here and not by the receiver.
func (f *invokeFlags) makeEvent(stdin io.Reader) (*event.Event, error) {
	if f.mode != "binary" && f.mode != "structured" {
		return nil, usageErrorf("invoke: --mode %q: must be binary or structured", f.mode)
	}
	if f.timeout <= 0 {
		return nil, usageErrorf("invoke: --timeout %s: must be more than 0", f.timeout)
	}
	if f.event != "" {
		return readEvent(f.event, stdin)
	}
	e := ce.New()
	e.SetType(f.typ)
	e.SetSource(f.source)
	e.SetTime(time.Now())
	e.SetID(f.id)
	if f.id == "" {
		e.SetID(uuid.NewString())
	}
	if f.subject != "" {
		e.SetSubject(f.subject)
	}
	for _, kv := range f.extensions {
		name, value, ok := strings.Cut(kv, "=")
		if !ok {
			return nil, usageErrorf("invoke: --extension %q: must be NAME=VALUE", kv)
		}
		if err := e.Context.SetExtension(name, value); err != nil {
			return nil, usageErrorf("invoke: --extension %s: %w", name, err)
		}
	}
	if f.data != "" || f.contentType != "" {
		contentType := f.contentType
		if contentType == "" {
			contentType = "text/plain"
			if json.Valid([]byte(f.data)) {
				contentType = "application/json"
			}
		}
		if err := e.SetData(contentType, []byte(f.data)); err != nil {
			return nil, usageErrorf("invoke: --data: %w", err)
		}
	}
	if err := e.Validate(); err != nil {
		return nil, usageErrorf("invoke: the event is not valid: %s", oneLine(err.Error()))
	}
	return &e, nil
}

func readEvent(name string, stdin io.Reader) (*event.Event, error) {
	var b []byte
	var err error
	if name == "-" {
		name = "stdin"
		b, err = io.ReadAll(stdin)
	} else {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, fmt.Errorf("invoke: read the event: %w", err)
	}
	e := ce.New()
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("invoke: %s is not a CloudEvent in structured JSON: %s", name, oneLine(err.Error()))
	}
	if err := e.Validate(); err != nil {
		return nil, fmt.Errorf("invoke: %s: the event is not valid: %s", name, oneLine(err.Error()))
	}
	return &e, nil
}

// answer is what came back, and the JSON form of the output.
type answer struct {
	Status   int           `json:"status"`
	Duration time.Duration `json:"durationNs"`
	Reply    *event.Event  `json:"reply,omitempty"`
	Error    string        `json:"error,omitempty"`
}

func invoke(ctx context.Context, s Streams, target string, e *event.Event, f *invokeFlags) error {
	a, err := send(ctx, target, e, f)
	if err != nil {
		return fmt.Errorf("invoke: %w", err)
	}
	if f.output == outputJSON {
		if err := printJSON(s.Out, a); err != nil {
			return err
		}
		if a.Error != "" {
			return &exitError{status: ExitFailure}
		}
		return nil
	}
	fmt.Fprintf(s.Err, "%d %s in %s\n", a.Status, http.StatusText(a.Status), a.Duration.Round(10*time.Microsecond))
	if a.Error != "" {
		return fmt.Errorf("invoke: %s: %s", target, a.Error)
	}
	if a.Reply == nil {
		fmt.Fprintln(s.Err, "accepted, no reply")
		return nil
	}
	printEvent(s.Out, a.Reply, isTerminal(s.Out))
	return nil
}

// send posts the event and reads the answer. The error is not nil when no
// answer came; an answer that is a failure is in answer.Error.
func send(ctx context.Context, target string, e *event.Event, f *invokeFlags) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	// Not the SDK's encoding: that leaves out the percent-encoding of header
	// values that the specification asks for, both ways.
	header := http.Header{}
	var body []byte
	var err error
	if f.mode == "structured" {
		header.Set("Content-Type", event.MediaTypeJSON)
		body, err = event.EncodeJSON(e)
	} else {
		body, err = event.EncodeBinary(e, header)
	}
	if err != nil {
		return nil, fmt.Errorf("encode the event: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header = header
	client := http.Client{
		// A redirect of an event is a failure to its senders (the specification
		// of Knative's data plane), so it is shown and not followed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	start := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return nil, explainSend(err, f.timeout)
	}
	defer response.Body.Close() //nolint:errcheck // It was read to its end or the answer is given up.
	body, err = io.ReadAll(io.LimitReader(response.Body, maxReply+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", explainSend(err, f.timeout))
	}
	a := &answer{Status: response.StatusCode, Duration: time.Since(start)}
	if len(body) > maxReply {
		return nil, fmt.Errorf("the answer is larger than %d MiB", maxReply>>20)
	}
	a.read(response, body)
	return a, nil
}

// explainSend adds what an operator can do.
func explainSend(err error, timeout time.Duration) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w (is `kontain serve` running there?)", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %s (--timeout)", timeout)
	}
	return err
}

// read fills in the reply or the failure.
func (a *answer) read(response *http.Response, body []byte) {
	if response.StatusCode < 200 || response.StatusCode > 299 {
		a.Error = http.StatusText(response.StatusCode)
		if said := strings.TrimSpace(string(body)); said != "" {
			a.Error = explainBody(said)
		} else if location := response.Header.Get("Location"); location != "" {
			a.Error += " to " + location
		}
		if after := response.Header.Get("Retry-After"); after != "" {
			a.Error += " (retry after " + after + " s)"
		}
		return
	}
	if len(body) == 0 && response.Header.Get("Ce-Specversion") == "" {
		return
	}
	contentType := response.Header.Get("Content-Type")
	if response.Header.Get("Ce-Specversion") == "" && !strings.HasPrefix(strings.ToLower(contentType), "application/cloudevents") {
		a.Error = fmt.Sprintf("the answer has a body of type %q but is not a CloudEvent", contentType)
		return
	}
	replies, _, err := event.Decode(response.Header, body, maxBatch)
	if err != nil {
		a.Error = "the reply is not a valid CloudEvent: " + oneLine(err.Error())
		return
	}
	if len(replies) != 1 {
		a.Error = fmt.Sprintf("the answer to one event is a batch of %d", len(replies))
		return
	}
	a.Reply = replies[0]
}

// explainBody takes the sentence out of the JSON that a Kontain receiver says a
// failure in; what others say is left as it is.
func explainBody(said string) string {
	var failure struct {
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal([]byte(said), &failure) != nil || failure.Error == "" {
		return said
	}
	if failure.Reason == "" {
		return failure.Error
	}
	return failure.Reason + ": " + failure.Error
}

// printEvent prints the attributes and, after an empty line, the data.
func printEvent(w io.Writer, e *event.Event, pretty bool) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "%s: %s\n", name, value)
		}
	}
	row("id", e.ID())
	row("source", e.Source())
	row("type", e.Type())
	row("subject", e.Subject())
	if !e.Time().IsZero() {
		row("time", e.Time().Format(time.RFC3339Nano))
	}
	row("dataschema", e.DataSchema())
	extensions := e.Extensions()
	names := make([]string, 0, len(extensions))
	for name := range extensions {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		row(name, fmt.Sprint(extensions[name]))
	}
	row("datacontenttype", e.DataContentType())
	data := e.Data()
	if len(data) == 0 {
		return
	}
	if pretty {
		var indented bytes.Buffer
		if json.Indent(&indented, data, "", "  ") == nil {
			data = indented.Bytes()
		}
	}
	fmt.Fprintf(w, "\n%s\n", bytes.TrimRight(data, "\n"))
}

// oneLine joins the lines of an error message.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}
