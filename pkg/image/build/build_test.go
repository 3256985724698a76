// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package build

import (
	"archive/tar"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// needTool skips without a tool, unless KONTAIN_REQUIRE_TOOLS=1.
func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("KONTAIN_REQUIRE_TOOLS") == "1" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// source writes files into a new folder of the given name.
func source(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	for at, text := range files {
		p := filepath.Join(dir, at)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(text, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(p, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func digestOf(t *testing.T, i v1.Image) string {
	t.Helper()
	h, err := i.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

// names lists what an image's layers hold.
func names(t *testing.T, i v1.Image) []string {
	t.Helper()
	r := mutate.Extract(i)
	defer r.Close()
	var list []string
	for a := tar.NewReader(r); ; {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, h.Name)
	}
}

const goMain = "package main\n\nfunc main() { println(\"hello\") }\n"

var cases = []struct {
	name  string
	tool  string
	base  bool
	files map[string]string
	kind  Kind
	entry []string
	want  []string // names in the image; nil: not looked at
}{
	{"go", "go", false, map[string]string{"go.mod": "module example.com/x\n\ngo 1.24\n", "main.go": goMain}, Go, []string{"/app/fn"}, []string{"app", "app/fn"}},
	{"one C file", "gcc", false, map[string]string{"x.c": "#include <stdio.h>\nint main(void) { return puts(__FILE__) < 0; }\n"}, C, []string{"/app/fn"}, []string{"app", "app/fn"}},
	{"Makefile", "make", false, map[string]string{
		"x.c": "int main(void) { return 0; }\n", "Makefile": "prog: x.c\n\t$(CC) $(CFLAGS) $(LDFLAGS) -g -o $@ $<\n",
	}, C, []string{"/app/prog"}, []string{"app", "app/prog"}},
	{
		"python", "", true,
		map[string]string{"main.py": "print(1)\n", "lib/a.py": "", "__pycache__/x.pyc": "old", ".git/HEAD": "x"},
		Python,
		[]string{"python3", "/app/main.py"},
		[]string{"app", "app/lib", "app/lib/a.py", "app/main.py", "base"},
	},
	{
		"node", "", true,
		map[string]string{"package.json": `{"main":"./src/fn.js"}`, "src/fn.js": "", "node_modules/x/y.js": ""},
		Node,
		[]string{"node", "/app/src/fn.js"},
		[]string{"app", "app/package.json", "app/src", "app/src/fn.js", "base"},
	},
	{"folder", "", false, map[string]string{"bin/run": "#!/bin/sh\n", "etc/x": "1"}, Folder, nil, []string{"bin", "bin/run", "etc", "etc/x"}},
}

// TestBuild builds each kind twice, at other places and other times: the digests
// are the same, and another input gives another.
func TestBuild(t *testing.T) {
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if tc.tool != "" {
				needTool(t, tc.tool)
			}
			if tc.kind == Go && testing.Short() {
				t.Skip("it compiles")
			}
			make := func(more string) v1.Image {
				dir := source(t, "fn", tc.files)
				if more != "" {
					if err := os.WriteFile(filepath.Join(dir, more), []byte("x"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				o := Options{Path: dir, Work: t.TempDir(), Log: t.Output(), Contract: "stdio"}
				if tc.base {
					b := newTree()
					b.file("base", []byte("1"))
					var err error
					if o.Base, err = assemble(nil, b, t.TempDir(), v1.Config{Env: []string{"PATH=/bin"}, User: "7"}, time.Time{}); err != nil {
						t.Fatal(err)
					}
				}
				old := time.Now().Add(-time.Duration(len(t.TempDir())) * time.Hour)
				_ = filepath.WalkDir(dir, func(p string, _ os.DirEntry, _ error) error { return os.Chtimes(p, old, old) })
				i, err := Image(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				return i
			}
			one, two := make(""), make("")
			if a, b := digestOf(t, one), digestOf(t, two); a != b {
				t.Errorf("the same source gave %s and %s", a, b)
			}
			if tc.kind != Go && tc.kind != C && digestOf(t, make("more")) == digestOf(t, one) {
				t.Error("another source gave the same digest")
			}
			file, err := one.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.entry, file.Config.Entrypoint); diff != "" {
				t.Errorf("entrypoint (-want +got):\n%s", diff)
			}
			if file.Config.Labels[ContractLabel] != "stdio" || tc.base && file.Config.User != "7" {
				t.Errorf("config %+v", file.Config)
			}
			if diff := cmp.Diff(tc.want, sorted(names(t, one))); tc.want != nil && diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

func sorted(list []string) []string {
	var out []string
	for _, n := range list {
		out = append(out, strings.TrimSuffix(n, "/"))
	}
	for i := range out { // few names: the order of layers is not that of paths
		for j := i + 1; j < len(out); j++ {
			if out[j] < out[i] {
				out[i], out[j] = out[j], out[i]
			}
		}
	}
	return out
}

func TestBuildErrors(t *testing.T) {
	for _, tc := range []struct {
		name, tool string
		files      map[string]string
		kind       Kind
		want       string
	}{
		{"no main package", "go", map[string]string{"go.mod": "module x\n", "x.go": "package x\n"}, "", "no main package"},
		{"does not compile", "gcc", map[string]string{"x.c": "int main(void) { return x; }\n"}, "", "gcc"},
		{"make makes nothing", "make", map[string]string{"Makefile": "all:\n"}, "", "one program is needed"},
		{"no C", "gcc", map[string]string{"x.txt": ""}, C, "neither a Makefile nor a C file"},
		{"python without a base", "", map[string]string{"main.py": ""}, "", "a base with Python is needed"},
		{"node without a base", "", map[string]string{"package.json": "{}"}, "", "a base with Node is needed"},
		{"unknown kind", "", map[string]string{"x": ""}, "cobol", `no kind "cobol"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.tool != "" {
				needTool(t, tc.tool)
			}
			_, err := Image(t.Context(), Options{Path: source(t, "fn", tc.files), Kind: tc.kind, Work: t.TempDir()})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
	base, err := assemble(nil, newTree(), t.TempDir(), v1.Config{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Image(t.Context(), Options{Path: source(t, "fn", map[string]string{"a.py": "", "b.py": ""}), Base: base, Work: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), "which of") {
		t.Errorf("two files: %v", err)
	}
	if _, err := Image(t.Context(), Options{Path: "/no/such", Work: t.TempDir()}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no source: %v", err)
	}
}

func TestFromHost(t *testing.T) {
	needTool(t, "sh")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!/bin/sh\necho hello\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	i, err := FromHost(t.Context(), HostOptions{Programs: []string{script, "ls"}, Add: []string{"/etc/os-release"}, Work: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	file, err := i.ConfigFile()
	if err != nil || file.Config.Entrypoint[0] != script {
		t.Fatalf("config %+v, %v", file, err)
	}
	dir := t.TempDir()
	r := mutate.Extract(i)
	defer r.Close()
	if out, err := runTar(t, dir, r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, at := range []string{"bin/sh", "lib64/ld-linux-x86-64.so.2", "etc/passwd", "tmp", script} {
		if _, err := os.Stat(filepath.Join(dir, at)); err != nil {
			t.Error(err)
		}
	}
	if os.Geteuid() == 0 { // the closure is whole: the program runs with nothing else
		cmd := exec.CommandContext(t.Context(), "chroot", dir, script)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "hello\n" {
			t.Errorf("in the image: %q, %v", out, err)
		}
		if out, err := exec.CommandContext(t.Context(), "chroot", dir, "ls", "/etc").CombinedOutput(); err != nil || !strings.Contains(string(out), "os-release") {
			t.Errorf("ls in the image: %q, %v", out, err)
		}
	}
	for _, tc := range []HostOptions{{}, {Programs: []string{"no-such-program"}}, {Programs: []string{"sh"}, Add: []string{"/no/such"}}} {
		tc.Work = t.TempDir()
		if _, err := FromHost(t.Context(), tc); err == nil {
			t.Errorf("%+v: no error", tc)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := FromHost(ctx, HostOptions{Programs: []string{"sh"}, Work: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

func runTar(t *testing.T, dir string, r io.Reader) ([]byte, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "tar", "-xf", "-", "-C", dir, "--no-same-owner")
	cmd.Stdin = r
	return cmd.CombinedOutput()
}

func linkerCacheOf(entries ...[2]string) []byte {
	le := binary.LittleEndian
	head := make([]byte, 48+24*len(entries))
	copy(head, "glibc-ld.so.cache1.1")
	le.PutUint32(head[20:], uint32(len(entries)))
	for i, e := range entries {
		at := head[48+24*i:]
		le.PutUint32(at, 0x0303)
		le.PutUint32(at[4:], uint32(len(head)))
		head = append(head, e[0]+"\x00"...)
		at = head[48+24*i:]
		le.PutUint32(at[8:], uint32(len(head)))
		head = append(head, e[1]+"\x00"...)
	}
	return head
}

func TestLinkerCache(t *testing.T) {
	got := readLinkerCache(append([]byte("ld.so-1.7.0 old part"), linkerCacheOf([2]string{"liba.so.1", "/opt/liba.so.1"}, [2]string{"libb.so", "/opt/libb.so"})...))
	if diff := cmp.Diff(map[string]string{"liba.so.1": "/opt/liba.so.1", "libb.so": "/opt/libb.so"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if data, err := os.ReadFile(linkerCache); err == nil {
		if found := readLinkerCache(data); found["libc.so.6"] == "" {
			t.Errorf("no libc in the cache of this machine, of %d libraries", len(found))
		}
	}
}

// FuzzLinkerCache holds that no file makes reading it fail.
func FuzzLinkerCache(f *testing.F) {
	f.Add(linkerCacheOf([2]string{"liba.so.1", "/opt/liba.so.1"}))
	f.Fuzz(func(_ *testing.T, data []byte) { readLinkerCache(data) })
}
