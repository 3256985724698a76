// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/internal/rootfile"
)

// Bounds of what the files of a function app may hold.
const (
	maxFile      = 1 << 20 // bytes of each
	maxBindings  = 100
	maxArguments = 1000
)

// returned is the name of the binding that ReturnValue goes to.
const returned = "$return"

// app is what the files of a function app say of one function. The sources of what is
// read, and how, are
// https://learn.microsoft.com/en-us/azure/azure-functions/functions-custom-handlers,
// https://learn.microsoft.com/en-us/azure/azure-functions/functions-host-json and, for
// what these leave open, HttpWorkerOptionsSetup and HttpWorkerDescription of
// https://github.com/Azure/azure-functions-host
type app struct {
	root       string   // of the host: the guest's /
	dir        string   // of the guest: the app's folder
	executable string   // defaultExecutablePath; may be empty
	arguments  []string // with %NAME% in them
	working    string   // folder the program is started in
	port       uint16   // where the program listens
	forward    bool     // HTTP functions get the request itself
	prefix     string   // of the paths of HTTP functions, without slashes
	sum        string   // changes when one of the files does

	trigger binding // what the function is called by
	output  binding // of type http, or with no name
	alone   bool    // trigger and output are its only bindings
}

// binding is one of a function.json.
type binding struct {
	Type, Direction, Name, DataType string
	Route                           *string
	Methods                         []string
}

func (b *binding) is(kind string) bool { return strings.EqualFold(b.Type, kind) }

// hostFile is the part of host.json that counts here.
type hostFile struct {
	Version       string
	CustomHandler *struct {
		Description *struct {
			DefaultExecutablePath, DefaultWorkerPath, WorkingDirectory string
			Arguments, WorkerArguments                                 []string
		}
		EnableForwardingHTTPRequest loose `json:"enableForwardingHttpRequest"`
		EnableProxyingHTTPRequest   loose `json:"enableProxyingHttpRequest"`
		Port                        loose
	}
	HTTPWorker json.RawMessage `json:"httpWorker"`
	Extensions struct {
		HTTP struct{ RoutePrefix *string } `json:"http"`
	}
}

// functionFile is the part of function.json that counts here.
type functionFile struct {
	Disabled loose
	Bindings []binding
}

// loose is a setting that may be written as text too.
type loose string

// UnmarshalJSON implements json.Unmarshaler.
func (l *loose) UnmarshalJSON(b []byte) error {
	var s string
	switch {
	case json.Unmarshal(b, &s) == nil:
		*l = loose(s)
	case b[0] == '{' || b[0] == '[':
		return fmt.Errorf("%.20s: a number, true, false or text is expected", b)
	default:
		*l = loose(b)
	}
	return nil
}

func (l loose) yes() bool { return strings.EqualFold(string(l), "true") }

// openApp reads what the app in the folder dir of a root says of a function. The error
// is a whole sentence without its stop.
func openApp(root, dir, function string) (*app, error) {
	if root == "" {
		return nil, fmt.Errorf("the function app, %s, is a path in the root of the program, which has none; set root or image", dir)
	}
	r, err := rootfile.Open(root)
	if err != nil {
		return nil, fmt.Errorf("the function app, %s, cannot be read: %w", dir, err)
	}
	defer func() { _ = r.Close() }()
	a := &app{root: root, dir: path.Clean("/" + dir)}
	host := path.Join(a.dir, "host.json")
	said, err := r.Read(host, maxFile)
	if err == nil {
		err = a.readHost(said)
	}
	if err != nil {
		return nil, unusable(host, err)
	}
	file := path.Join(a.dir, function, "function.json")
	more, err := r.Read(file, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		there := "there is none"
		if names := r.With(a.dir, "function.json", 10); len(names) > 0 {
			there = "those that there are: " + strings.Join(names, ", ")
		}
		return nil, fmt.Errorf("the function app has no function %s, with a %s; %s", function, file, there)
	}
	if err == nil {
		err = a.readFunction(more)
	}
	if err != nil {
		return nil, unusable(file, err)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%d:%s%s", len(said), said, more))
	a.sum = hex.EncodeToString(sum[:])
	return a, nil
}

// unusable says which file is wrong.
func unusable(file string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the function app has no file %s", file)
	}
	return fmt.Errorf("the function app's file %s: %w", file, err)
}

// readHost reads host.json.
func (a *app) readHost(b []byte) error {
	var h hostFile
	if err := unmarshal(b, &h); err != nil {
		return err
	}
	switch {
	case h.Version != "2.0":
		return fmt.Errorf(`version is %q; "2.0" is expected`, h.Version)
	case h.CustomHandler == nil && len(h.HTTPWorker) > 0:
		return errors.New("it has the section httpWorker, of previews; write customHandler")
	case h.CustomHandler == nil:
		return errors.New("it has no section customHandler: functions that run in a language worker of Azure do not run here")
	}
	c := h.CustomHandler
	a.working, a.port = a.dir, port
	if d := c.Description; d != nil {
		a.executable = d.DefaultExecutablePath
		a.arguments = d.Arguments
		if d.DefaultWorkerPath != "" {
			a.arguments = append(a.arguments, d.DefaultWorkerPath)
		}
		a.arguments = append(a.arguments, d.WorkerArguments...)
		if d.WorkingDirectory != "" && !path.IsAbs(d.WorkingDirectory) {
			d.WorkingDirectory = path.Join(a.dir, d.WorkingDirectory)
		}
		if d.WorkingDirectory != "" {
			a.working = path.Clean(d.WorkingDirectory)
		}
	}
	for _, s := range append([]string{a.executable, a.working}, a.arguments...) {
		if strings.ContainsRune(s, 0) {
			return errors.New("customHandler.description holds a NUL character")
		}
	}
	if len(a.arguments) > maxArguments {
		return fmt.Errorf("customHandler.description.arguments has %d entries, more than %d", len(a.arguments), maxArguments)
	}
	if c.Port != "" {
		n, err := strconv.ParseUint(string(c.Port), 10, 16)
		if err != nil || n == 0 {
			return fmt.Errorf("customHandler.port is %q, which is no port", c.Port)
		}
		a.port = uint16(n)
	}
	a.forward = c.EnableForwardingHTTPRequest.yes() || c.EnableProxyingHTTPRequest.yes()
	a.prefix = "api"
	if p := h.Extensions.HTTP.RoutePrefix; p != nil {
		a.prefix = strings.Trim(*p, "/")
	}
	return nil
}

// readFunction reads function.json.
func (a *app) readFunction(b []byte) error {
	var f functionFile
	if err := unmarshal(b, &f); err != nil {
		return err
	}
	switch {
	case f.Disabled.yes():
		return errors.New("the function is disabled")
	case len(f.Bindings) > maxBindings:
		return fmt.Errorf("it has %d bindings, more than %d", len(f.Bindings), maxBindings)
	}
	for i, b := range f.Bindings {
		trigger := strings.HasSuffix(strings.ToLower(b.Type), "trigger")
		switch {
		case b.Name == "":
			return fmt.Errorf("bindings[%d] has no name", i)
		case trigger && a.trigger.Name != "":
			return fmt.Errorf("it has two triggers, %s and %s", a.trigger.Name, b.Name)
		case trigger:
			a.trigger = b
		case b.is("http") && strings.EqualFold(b.Direction, "out") && a.output.Name == "":
			a.output = b
		}
	}
	if a.trigger.Name == "" {
		return errors.New("it has no binding that is a trigger")
	}
	a.alone = len(f.Bindings) == 2 && a.output.Name != "" && a.trigger.is("httpTrigger")
	if !a.trigger.is("httpTrigger") {
		return nil
	}
	posted := a.trigger.Methods == nil
	for _, m := range a.trigger.Methods {
		posted = posted || strings.EqualFold(m, "post")
	}
	if !posted {
		return fmt.Errorf("its trigger takes the methods %s; an event is posted", strings.Join(a.trigger.Methods, ", "))
	}
	_, err := a.route("f")
	return err
}

// parameter is one of a route, as {id}, {id:int} or {*rest}; a ? makes it optional.
var parameter = regexp.MustCompile(`^\{[^{}]*\}$`)

// route returns the path at which an HTTP function of a name is called.
func (a *app) route(function string) (string, error) {
	route := function
	if a.trigger.Route != nil && *a.trigger.Route != "" {
		route = *a.trigger.Route
	}
	var segments []string
	for s := range strings.SplitSeq(strings.Trim(a.prefix+"/"+strings.Trim(route, "/"), "/"), "/") {
		switch {
		case parameter.MatchString(s) && (strings.HasSuffix(s, "?}") || strings.HasPrefix(s, "{*")):
			continue
		case strings.ContainsAny(s, "{}"):
			return "", fmt.Errorf("its route %s has the parameter %s, for which an event has no value", route, s)
		case s == "." || s == ".." || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"<>\^|?#%`+"`", r) }):
			return "", fmt.Errorf("its route %q is no path of a URL", route)
		}
		segments = append(segments, s)
	}
	return "/" + strings.Join(segments, "/"), nil
}

// start returns how the program is started. env, NAME=value, is for %NAME%: a name that
// it has not stays as it is.
func (a *app) start(env []string) *contract.Start {
	s := &contract.Start{Dir: a.working}
	if a.executable == "" {
		return s
	}
	values := map[string]string{}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		values[name] = value
	}
	for _, arg := range append([]string{a.executable}, a.arguments...) {
		s.Command = append(s.Command, expand(arg, values))
	}
	// It is a file of the app or, by its name alone, a program in PATH.
	if program := s.Command[0]; !path.IsAbs(program) && (strings.Contains(program, "/") || a.has(program)) {
		s.Command[0] = path.Join(a.dir, program)
	}
	return s
}

// has says whether the app's folder holds a file.
func (a *app) has(file string) bool {
	r, err := rootfile.Open(a.root)
	if err != nil {
		return false
	}
	defer func() { _ = r.Close() }()
	return r.IsFile(path.Join(a.dir, file))
}

var variable = regexp.MustCompile(`%[^%]+%`)

// expand puts values in for the names between percent signs.
func expand(s string, values map[string]string) string {
	return variable.ReplaceAllStringFunc(s, func(name string) string {
		if v, ok := values[name[1:len(name)-1]]; ok {
			return v
		}
		return name
	})
}

// unmarshal reads JSON as the Functions host does: with comments, and behind a byte order
// mark.
func unmarshal(b []byte, v any) error {
	return json.Unmarshal(withoutComments(bytes.TrimPrefix(b, []byte("\uFEFF"))), v)
}

// withoutComments returns b with spaces in place of what is between // and the end of
// the line, and between /* and */, outside of strings. A comment without an end stays.
func withoutComments(b []byte) []byte {
	out := bytes.Clone(b)
	for i := 0; i < len(b); i++ {
		switch {
		case b[i] == '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case bytes.HasPrefix(b[i:], []byte("//")):
			for ; i < len(b) && b[i] != '\n'; i++ {
				out[i] = ' '
			}
		case bytes.HasPrefix(b[i:], []byte("/*")):
			n := bytes.Index(b[i+2:], []byte("*/"))
			if n < 0 {
				return out
			}
			for end := i + n + 4; i < end; i++ {
				out[i] = ' '
			}
			i--
		}
	}
	return out
}
