// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	plainHost = `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"handler"}}}`
	plainHTTP = `{"bindings":[{"type":"httpTrigger","direction":"in","name":"req"},{"type":"http","direction":"out","name":"res"}]}`
)

// host returns a host.json with more in its custom handler.
func host(more string) string {
	return `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"handler"},` + more + `}}`
}

// trigger returns a function.json with more in its trigger.
func trigger(more string) string {
	return strings.Replace(plainHTTP, `"direction":"in"`, `"direction":"in",`+more, 1)
}

// TestOpenApp holds what is read of the files of a function app, and which of them are
// refused, with what reason.
func TestOpenApp(t *testing.T) {
	for _, tt := range []struct{ name, host, function, want string }{
		{"least", plainHost, plainHTTP, `["/app/handler"] in /app, port 8080, req, invoked, "res"`},
		{"forwarded", host(`"enableForwardingHttpRequest":true`), plainHTTP, `["/app/handler"] in /app, port 8080, req, /api/order, "res"`},
		{"proxied, as text", host(`"enableProxyingHttpRequest":"True"`), plainHTTP, `["/app/handler"] in /app, port 8080, req, /api/order, "res"`},
		{"forwarding with other bindings", host(`"enableForwardingHttpRequest":true`), strings.Replace(plainHTTP, "]", `,{"type":"queue","direction":"out","name":"q"}]`, 1), `["/app/handler"] in /app, port 8080, req, invoked, "res"`},
		{"forwarding to a queue", host(`"enableForwardingHttpRequest":true`), `{"bindings":[{"type":"queueTrigger","direction":"in","name":"item"}]}`, `["/app/handler"] in /app, port 8080, item, invoked, ""`},
		{"port", host(`"port":9000`), plainHTTP, `["/app/handler"] in /app, port 9000, req, invoked, "res"`},
		{
			"in PATH", `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"node","arguments":["%A%","%NONE%","100%"],"defaultWorkerPath":"server.js","workerArguments":["x"],"workingDirectory":"sub"}}}`,
			plainHTTP, `["node" "1" "%NONE%" "100%" "server.js" "x"] in /app/sub, port 8080, req, invoked, "res"`,
		},
		{
			"absolute", `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"/usr/bin/node","workingDirectory":"/srv/../tmp"}}}`,
			plainHTTP, `["/usr/bin/node"] in /tmp, port 8080, req, invoked, "res"`,
		},
		{
			"in a folder", `{"version":"2.0","customHandler":{"description":{"defaultExecutablePath":"./bin/none"}}}`,
			plainHTTP, `["/app/bin/none"] in /app, port 8080, req, invoked, "res"`,
		},
		{"no executable", `{"version":"2.0","customHandler":{}}`, plainHTTP, `[] in /app, port 8080, req, invoked, "res"`},
		{"comments", "\uFEFF// a\n{/* \" */\"version\":\"2.0\",\"a\":\"// no\\\" /*\",\"customHandler\":{} // end\n}", plainHTTP, `[] in /app, port 8080, req, invoked, "res"`},
		{"returned", plainHost, strings.Replace(plainHTTP, `"res"`, `"$return"`, 1), `["/app/handler"] in /app, port 8080, req, invoked, "$return"`},

		{"no version", `{"customHandler":{}}`, plainHTTP, `the function app's file /app/host.json: version is ""; "2.0" is expected`},
		{"a language worker", `{"version":"2.0"}`, plainHTTP, "the function app's file /app/host.json: it has no section customHandler: functions that run in a language worker of Azure do not run here"},
		{"a preview", `{"version":"2.0","httpWorker":{}}`, plainHTTP, "the function app's file /app/host.json: it has the section httpWorker, of previews; write customHandler"},
		{"a port that is none", host(`"port":"http"`), plainHTTP, `the function app's file /app/host.json: customHandler.port is "http", which is no port`},
		{"no JSON", `{"version":`, plainHTTP, "the function app's file /app/host.json: unexpected end of JSON input"},
		{"an open comment", `/* {}`, plainHTTP, "the function app's file /app/host.json: invalid character '/' looking for beginning of value"},
		{"large", plainHost + strings.Repeat(" ", maxFile), plainHTTP, "the function app's file /app/host.json: it has more than 1048576 bytes"},
		{"NUL", `{"version":"2.0","customHandler":{"description":{"arguments":["\u0000"]}}}`, plainHTTP, "the function app's file /app/host.json: customHandler.description holds a NUL character"},
		{"no trigger", plainHost, `{"bindings":[]}`, "the function app's file /app/order/function.json: it has no binding that is a trigger"},
		{"two triggers", plainHost, `{"bindings":[{"type":"queueTrigger","name":"a"},{"type":"httpTrigger","name":"b"}]}`, "the function app's file /app/order/function.json: it has two triggers, a and b"},
		{"no name", plainHost, `{"bindings":[{"type":"queueTrigger"}]}`, "the function app's file /app/order/function.json: bindings[0] has no name"},
		{"disabled", plainHost, `{"disabled":true,"bindings":[]}`, "the function app's file /app/order/function.json: the function is disabled"},
		{"another method", plainHost, trigger(`"methods":["get","put"]`), "the function app's file /app/order/function.json: its trigger takes the methods get, put; an event is posted"},
		{"a parameter", plainHost, trigger(`"route":"orders/{id:int}"`), "the function app's file /app/order/function.json: its route orders/{id:int} has the parameter {id:int}, for which an event has no value"},
		{"a route that is none", plainHost, trigger(`"route":"a b"`), `the function app's file /app/order/function.json: its route "a b" is no path of a URL`},
		{"no function", plainHost, "", "the function app has no function order, with a /app/order/function.json; there is none"},
		{"no host.json", "", "", "the function app has no file /app/host.json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, content := range map[string]string{"host.json": tt.host, "order/function.json": tt.function, "handler": "x"} {
				if content == "" {
					continue
				}
				path := filepath.Join(root, "app", name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if got := describe(root); got != tt.want {
				t.Errorf("%s\nwant %s", got, tt.want)
			}
		})
	}
	if _, err := openApp("", "/app", "order"); err == nil || !strings.Contains(err.Error(), "set root or image") {
		t.Errorf("without a root: %v", err)
	}
}

// describe says what is read of a function app.
func describe(root string) string {
	a, err := openApp(root, "/app/.", "order")
	if err != nil {
		return err.Error()
	}
	s := a.start([]string{"A=1"})
	called := "invoked"
	if a.forward && a.alone {
		if called, err = a.route("order"); err != nil {
			return err.Error()
		}
	}
	return fmt.Sprintf("%q in %s, port %d, %s, %s, %q", s.Command, s.Dir, a.port, a.trigger.Name, called, a.output.Name)
}

func TestRoute(t *testing.T) {
	for _, tt := range []struct{ prefix, route, want string }{
		{"api", "", "/api/order"},
		{"", "", "/order"},
		{"a/b", "/c/d/", "/a/b/c/d"},
		{"api", "orders/{id?}", "/api/orders"},
		{"api", "{*rest}", "/api"},
		{"", "{*rest}", "/"},
		{"api", "v{version}", "has the parameter v{version}"},
		{"..", "", "no path of a URL"},
	} {
		a := app{prefix: tt.prefix, trigger: binding{Route: &tt.route}}
		got, err := a.route("order")
		if err != nil {
			got = err.Error()
		}
		if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
			t.Errorf("%s, %s: %s, want %s", tt.prefix, tt.route, got, tt.want)
		}
	}
}

// FuzzApp holds that whatever the files of a function app hold is refused, or says how
// an event is posted.
func FuzzApp(f *testing.F) {
	f.Add([]byte(plainHost), []byte(plainHTTP))
	f.Add([]byte(host(`"port":9000,"enableForwardingHttpRequest":true`)), []byte(trigger(`"route":"{*a}","methods":["POST"]`)))
	f.Add([]byte("// a\n{}"), []byte(`/**/{"bindings":[{"type":"x"}]}`))
	f.Fuzz(func(t *testing.T, host, function []byte) {
		if plain := withoutComments(host); len(plain) != len(host) || json.Valid(host) && string(plain) != string(host) {
			t.Errorf("%q without comments: %q", host, plain)
		}
		a := &app{dir: "/app"}
		if a.readHost(host) != nil || a.readFunction(function) != nil {
			return
		}
		s := a.start(nil)
		if a.port == 0 || a.trigger.Name == "" || !filepath.IsAbs(s.Dir) || len(s.Command) > 0 && a.executable == "" {
			t.Errorf("%q, %q: %+v %+v", host, function, a, s)
		}
		if path, err := a.route("order"); a.trigger.is("httpTrigger") && (err != nil || !strings.HasPrefix(path, "/")) {
			t.Errorf("%q, %q: path %q, %v", host, function, path, err)
		}
	})
}

// FuzzHTTPResponse holds that any output is a response or refused.
func FuzzHTTPResponse(f *testing.F) {
	for _, s := range []string{`"x"`, `{"statusCode":"204"}`, `{"body":null,"headers":{"a":["b",1],"c":{}}}`, `[1]`, `{"status":500,"body":{}}`, `1`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var v json.RawMessage
		if json.Unmarshal(raw, &v) != nil {
			return
		}
		r, err := httpResponse(v, 1000)
		if err == nil && (r.Status < 200 || r.Status > 599 || len(r.Body) > max(1000, len(raw)*3)) {
			t.Errorf("%q: %+v", raw, r)
		}
	})
}
