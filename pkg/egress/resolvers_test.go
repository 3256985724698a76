// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package egress_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kontain.dev/eventing/pkg/egress"
	"kontain.dev/eventing/pkg/egress/policy"
	"kontain.dev/eventing/vmexec"
)

const pythonClient = `
import socket, sys
try:
    socket.getaddrinfo("none.test", None)
except socket.gaierror as e:
    print("none.test:", "no such name" if e.errno == socket.EAI_NONAME else e)
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.sendall(b"hello\n")
print(s.makefile().readline(), end="")
`

const nodeClient = `
const net = require("net"), dns = require("dns");
dns.lookup("none.test", (e) => {
  console.log("none.test:", e.code === "ENOTFOUND" ? "no such name" : e.code);
  const s = net.connect(Number(process.argv[2]), process.argv[1], () => s.end("hello\n"));
  s.on("data", (b) => process.stdout.write(b));
});
`

// TestResolvers has the libraries that programs find names with: those of glibc, musl,
// Python, Node and curl. That of Go is TestMachines'.
func TestResolvers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	compile := func(cc string) func(t *testing.T) []string {
		return func(t *testing.T) []string {
			path := filepath.Join(dir, cc)
			args := []string{"-O1", "-o", path, "testdata/c/resolve.c"}
			if cc == "musl-gcc" {
				args = append(args, "-static")
			}
			if said, err := exec.CommandContext(t.Context(), cc, args...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", cc, err, said)
			}
			return []string{path}
		}
	}
	addr := serve(t, echo)
	_, port, _ := net.SplitHostPort(addr)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("hello " + r.Host[:strings.IndexByte(r.Host, ':')] + "\n"))
	}))
	defer web.Close()
	_, webPort, _ := net.SplitHostPort(web.Listener.Addr().String())
	const none = "none.test: no such name\n"
	for _, tc := range []struct {
		tool string
		args func(t *testing.T) []string // before the name and the port
		url  string
		want string
	}{
		{"gcc", compile("gcc"), "", none + "hello\n"},
		{"musl-gcc", compile("musl-gcc"), "", none + "hello\n"},
		{"python3", func(*testing.T) []string { return []string{"python3", "-S", write("client.py", pythonClient)} }, "", none + "hello\n"},
		{"node", func(*testing.T) []string { return []string{"node", "-e", nodeClient} }, "", none + "hello\n"},
		{"curl", func(*testing.T) []string { return []string{"curl", "-sS"} }, "http://web.test:" + webPort, "hello web.test\n"},
	} {
		t.Run(tc.tool, func(t *testing.T) {
			if _, err := exec.LookPath(tc.tool); err != nil {
				if os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1" && tc.tool != "curl" {
					t.Fatal(err)
				}
				t.Skip(err)
			}
			args := append(tc.args(t), "echo.test", port)
			if tc.url != "" {
				args = append(tc.args(t), tc.url)
			}
			path, err := exec.LookPath(args[0])
			if err != nil {
				t.Fatal(err)
			}
			for _, kind := range []vmexec.Kind{vmexec.KVM, vmexec.Ptrace} {
				t.Run(string(kind), func(t *testing.T) {
					r := runOutside(t, kind, path, args, "127.0.0.1/32", "*.test")
					if r.Status != 0 || r.Reason != vmexec.Exited || string(r.Stdout) != tc.want {
						t.Errorf("%v %d %s: %q, want %q; stderr: %s", r.Reason, r.Status, r.Message, r.Stdout, tc.want, r.Stderr)
					}
				})
			}
		})
	}
}

// runOutside runs a program of this machine that may connect to what is listed.
func runOutside(t *testing.T, kind vmexec.Kind, path string, args []string, list ...string) *vmexec.Result {
	t.Helper()
	host, err := vmexec.Open(kind)
	if err != nil {
		if os.Getenv("VMEXEC_REQUIRE_"+strings.ToUpper(string(kind))) == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	defer func() { check(host.Close()) }()
	root, err := vmexec.DirRoot("/")
	check(err)
	defer func() { check(root.Close()) }()
	p, err := policy.Parse(list)
	check(err)
	program, err := vmexec.NewProgram(vmexec.ProgramSpec{
		Root: root, Path: path, Args: args, Env: []string{"PATH=/usr/bin:/bin", "HOME=/tmp"}, Outward: true, HostLoopback: p.Loopback(),
	})
	check(err)
	defer func() { check(program.Close()) }()
	vm, err := host.NewVM(program, vmexec.Limits{Memory: 4 << 30, Wall: 3 * time.Minute})
	check(err)
	defer func() { check(vm.Close()) }()
	b := egress.New(p, egress.Options{Resolver: names{"echo.test": {"::1", "127.0.0.1"}, "web.test": {"127.0.0.1"}}})
	defer b.Close()
	out, end := b.Begin(t.Context())
	defer end()
	r, err := vm.Run(t.Context(), vmexec.IO{Outward: out})
	check(err)
	return r
}
