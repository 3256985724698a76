// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
)

// file is an entry of a test's layer.
type file struct {
	name string
	typ  byte // 0: a regular file, or a folder when the name ends with /
	body string
	link string
	mode int64
	uid  int
}

func (f file) header() *tar.Header {
	h := &tar.Header{Name: f.name, Typeflag: f.typ, Mode: f.mode, Linkname: f.link, Uid: f.uid, Size: int64(len(f.body)), ModTime: time.Unix(1e9, 0)}
	if h.Typeflag == 0 {
		h.Typeflag = tar.TypeReg
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
	}
	if h.Mode == 0 {
		h.Mode = 0o644
		if h.Typeflag == tar.TypeDir {
			h.Mode = 0o755
		}
	}
	return h
}

func layerOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		if err := w.WriteHeader(f.header()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes()
}

// unpackLayers applies plain layers to a new folder.
func unpackLayers(t testing.TB, limits Limits, layers ...[]byte) (*unpacker, string, error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "root")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	u, err := newUnpacker(dir, limits)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.close)
	for _, l := range layers {
		if err := u.apply(t.Context(), hashOf(l), hashOf(l), bytes.NewReader(l)); err != nil {
			return u, dir, err
		}
	}
	return u, dir, u.finish("/")
}

// tree lists a folder: mode, name, and the content or the target of a link.
func tree(t testing.TB, dir string) []string {
	t.Helper()
	list := []string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := info.Mode().String() + " " + rel
		switch {
		case info.Mode().Type() == fs.ModeSymlink:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + to
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += " " + string(b)
		}
		list = append(list, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestLayers(t *testing.T) {
	tests := []struct {
		name   string
		layers [][]file
		want   []string
	}{
		{"files, folders, links", [][]file{{
			{name: "./"},
			{name: "bin/", mode: 0o700},
			{name: "bin/a", body: "A", mode: 0o755},
			{name: "bin/b", typ: tar.TypeSymlink, link: "a"},
			{name: "bin/c", typ: tar.TypeLink, link: "bin/a"},
		}}, []string{"drwx------ bin", "-rwxr-xr-x bin/a A", "Lrwxrwxrwx bin/b -> a", "-rwxr-xr-x bin/c A"}},
		{"absolute names start at the root", [][]file{{{name: "/app/"}, {name: "/app/x", body: "1"}}}, []string{"drwxr-xr-x app", "-rw-r--r-- app/x 1"}},
		{"folders that are not listed", [][]file{{{name: "a/b/c", body: "1"}}}, []string{"drwxr-xr-x a", "drwxr-xr-x a/b", "-rw-r--r-- a/b/c 1"}},
		{"whiteout", [][]file{
			{{name: "a", body: "1"}, {name: "d/"}, {name: "d/x", body: "1"}, {name: "keep", body: "1"}},
			{{name: ".wh.a"}, {name: ".wh.d"}, {name: ".wh.absent"}},
		}, []string{"-rw-r--r-- keep 1"}},
		{"whiteout beside its replacement", [][]file{
			{{name: "d/"}, {name: "d/x", body: "1"}},
			{{name: "d"}, {name: ".wh.d"}},
		}, []string{"-rw-r--r-- d "}},
		{"opaque, before and after what the layer brings", [][]file{
			{{name: "d/"}, {name: "d/old", body: "1"}, {name: "d/e/"}, {name: "d/e/old", body: "1"}},
			{{name: "d/"}, {name: "d/first", body: "2"}, {name: "d/.wh..wh..opq"}, {name: "d/e/"}, {name: "d/e/new", body: "2"}},
		}, []string{"drwxr-xr-x d", "drwxr-xr-x d/e", "-rw-r--r-- d/e/new 2", "-rw-r--r-- d/first 2"}},
		{"opaque keeps folders the layer listed but not what was in them", [][]file{
			{{name: "d/"}, {name: "d/e/"}, {name: "d/e/old", body: "1"}},
			{{name: "d/"}, {name: "d/e/"}, {name: "d/e/new", body: "2"}, {name: "d/.wh..wh..opq"}},
		}, []string{"drwxr-xr-x d", "drwxr-xr-x d/e", "-rw-r--r-- d/e/new 2"}},
		{"kinds replace each other", [][]file{
			{{name: "a/"}, {name: "a/x", body: "1"}, {name: "b", body: "1"}, {name: "c", typ: tar.TypeSymlink, link: "b"}},
			{{name: "a", body: "2"}, {name: "b/"}, {name: "b/x", body: "2"}, {name: "c", body: "2"}},
		}, []string{"-rw-r--r-- a 2", "drwxr-xr-x b", "-rw-r--r-- b/x 2", "-rw-r--r-- c 2"}},
		{"a link to a folder is followed on the way, inside the root", [][]file{
			{{name: "usr/lib/"}, {name: "lib", typ: tar.TypeSymlink, link: "usr/lib"}, {name: "var", typ: tar.TypeSymlink, link: "/usr"}},
			{{name: "lib/a", body: "1"}, {name: "var/b", body: "2"}},
		}, []string{"Lrwxrwxrwx lib -> usr/lib", "drwxr-xr-x usr", "-rw-r--r-- usr/b 2", "drwxr-xr-x usr/lib", "-rw-r--r-- usr/lib/a 1", "Lrwxrwxrwx var -> /usr"}},
		{"a folder takes the place of a link", [][]file{
			{{name: "d/"}, {name: "l", typ: tar.TypeSymlink, link: "d"}},
			{{name: "l/"}, {name: "l/x", body: "1"}},
		}, []string{"drwxr-xr-x d", "drwxr-xr-x l", "-rw-r--r-- l/x 1"}},
		{"links out of the root lead back into it", [][]file{
			{{name: "up", typ: tar.TypeSymlink, link: "../../../.."}, {name: "etc", typ: tar.TypeSymlink, link: "/"}},
			{{name: "up/x", body: "1"}, {name: "etc/y", body: "2"}},
		}, []string{"Lrwxrwxrwx etc -> /", "Lrwxrwxrwx up -> ../../../..", "-rw-r--r-- x 1", "-rw-r--r-- y 2"}},
		{"setuid, setgid and sticky", [][]file{{
			{name: "su", mode: 0o6755}, {name: "tmp/", mode: 0o1777}, {name: "g/", mode: 0o2755}, {name: "none", mode: 0o000, body: "x"},
		}}, nil},
		{"devices are left out", [][]file{
			{{name: "null", body: "file"}},
			{{name: "null", typ: tar.TypeChar}, {name: "sda", typ: tar.TypeBlock}, {name: "pipe", typ: tar.TypeFifo}, {name: "x"}},
		}, []string{"-rw-r--r-- x "}},
		{"the same folder twice", [][]file{{{name: "d/", mode: 0o700}, {name: "d/x"}, {name: "d/", mode: 0o755}}}, []string{"drwxr-xr-x d", "-rw-r--r-- d/x "}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			var layers [][]byte
			for _, files := range tc.layers {
				layers = append(layers, layerOf(t, files...))
			}
			u, dir, err := unpackLayers(t, Limits{}, layers...)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == nil {
				if diff := cmp.Diff([]Fact(nil), u.owners().Files); os.Geteuid() == 0 && diff != "" {
					t.Errorf("facts (-want +got):\n%s", diff)
				}
				for _, line := range tree(t, dir) {
					if strings.ContainsAny(line[:10], "ugS") {
						t.Errorf("setuid or setgid is left: %s", line)
					}
				}
				return
			}
			if diff := cmp.Diff(tc.want, tree(t, dir)); diff != "" {
				t.Errorf("root (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCompression holds that layers are read however they are packed.
func TestCompression(t *testing.T) {
	plain := layerOf(t, file{name: "x", body: "1"})
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, blob := range map[string][]byte{"plain": plain, "gzip": zipped(t, plain), "zstd": z.Bytes()} {
		t.Run(name, func(t *testing.T) {
			u, dir, err := unpackLayers(t, Limits{})
			if err == nil {
				err = u.apply(t.Context(), hashOf(blob), hashOf(plain), bytes.NewReader(blob))
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"-rw-r--r-- x 1"}, tree(t, dir)); diff != "" {
				t.Error(diff)
			}
			info, err := os.Stat(filepath.Join(dir, "x"))
			if err != nil || info.ModTime().Unix() != 1e9 {
				t.Errorf("time %v, %v", info.ModTime(), err)
			}
		})
	}
}

// TestHostileLayers holds that each attack is refused, by layer and entry, and
// leaves nothing outside the root.
func TestHostileLayers(t *testing.T) {
	deep := strings.Repeat("d/", 200)
	many := make([]file, 101)
	for i := range many {
		many[i] = file{name: fmt.Sprint(i)}
	}
	ladder := []file{{name: "l0/"}}
	for i := range 60 { // each link goes one folder deeper by way of the one before
		ladder = append(ladder, file{name: fmt.Sprintf("l%d/a/b/c/d/e/", i)}, file{name: fmt.Sprintf("l%d", i+1), typ: tar.TypeSymlink, link: fmt.Sprintf("l%d/a/b/c/d/e", i)})
	}
	small := Limits{Unpacked: 1 << 20, Entries: 100, Depth: 50, Ratio: 10}
	tests := []struct {
		name   string
		limits Limits
		files  []file
		entry  string // that is named
		want   string // part of the error
	}{
		{"dot dot", Limits{}, []file{{name: "../x"}}, "../x", `contains ".."`},
		{"dot dot inside", Limits{}, []file{{name: "a/../../x"}}, "a/../../x", `contains ".."`},
		{"dot dot at the end", Limits{}, []file{{name: "a/.."}}, "a/..", `contains ".."`},
		{"the root as a file", Limits{}, []file{{name: "/"}, {name: ".", typ: tar.TypeSymlink, link: "/etc"}}, ".", "replace the root"},
		{"hard link out", Limits{}, []file{{name: "x", typ: tar.TypeLink, link: "../../../../etc/passwd"}}, "x", `contains ".."`},
		{"hard link to a file of the host", Limits{}, []file{{name: "x", typ: tar.TypeLink, link: "/etc/passwd"}}, "x", "no such file"},
		{"hard link through a link", Limits{}, []file{{name: "l", typ: tar.TypeSymlink, link: "/etc"}, {name: "x", typ: tar.TypeLink, link: "l/passwd"}}, "x", "no such file"},
		{"hard link to a folder", Limits{}, []file{{name: "d/"}, {name: "x", typ: tar.TypeLink, link: "d"}}, "x", "no file that can be linked"},
		{"hard link to itself", Limits{}, []file{{name: "x", typ: tar.TypeLink, link: "x"}}, "x", "no such file"},
		{"file below a file", Limits{}, []file{{name: "a"}, {name: "a/b"}}, "a/b", "not a directory"},
		{"below a link to nothing", Limits{}, []file{{name: "l", typ: tar.TypeSymlink, link: "nothing"}, {name: "l/b"}}, "l/b", "file exists"},
		{"links in a circle", Limits{}, []file{{name: "l", typ: tar.TypeSymlink, link: "l"}, {name: "l/b"}}, "l/b", "symbolic links"},
		{"twice", Limits{}, []file{{name: "a", body: "1"}, {name: "./a", body: "2"}}, "./a", "in the layer twice"},
		{"twice through a link", Limits{}, []file{{name: "d/"}, {name: "l", typ: tar.TypeSymlink, link: "d"}, {name: "d/a"}, {name: "l/a"}}, "l/a", "in the layer twice"},
		{"folder then file", Limits{}, []file{{name: "a/"}, {name: "a"}}, "a", "in the layer twice"},
		{"whiteout of the folder above", Limits{}, []file{{name: "d/.wh..."}}, "d/.wh...", "hides nothing"},
		{"whiteout of nothing", Limits{}, []file{{name: ".wh."}}, ".wh.", "hides nothing"},
		{"long name", Limits{}, []file{{name: strings.Repeat("n", 256)}}, strings.Repeat("n", 200) + "…", "longer than 255"},
		{"long path", Limits{}, []file{{name: strings.Repeat("nnn/", 1200)}}, strings.Repeat("nnn/", 50) + "…", "longer than 4095"},
		{"deep", Limits{}, []file{{name: deep}}, clip(deep), "folders in one another"},
		{"deep by links", Limits{}, ladder, "", "folders in one another"},
		{"many", small, many, "100", "more than 100 entries"},
		{"large", small, []file{{name: "a", body: strings.Repeat("x", 2<<20)}}, "a", "more than 1048576 bytes"},
		{"unknown type", Limits{}, []file{{name: "a", typ: 'Q'}}, "a", "not known"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			blob := layerOf(t, tc.files...)
			_, dir, err := unpackLayers(t, tc.limits, blob)
			var le *LayerError
			if !errors.As(err, &le) {
				t.Fatalf("error %v, want a *LayerError", err)
			}
			if le.Layer != hashOf(blob).String() || (tc.entry != "" && clip(le.Entry) != tc.entry) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v; want entry %q and %q", err, tc.entry, tc.want)
			}
			above, err := os.ReadDir(filepath.Dir(dir))
			if err != nil || len(above) != 1 {
				t.Errorf("beside the root: %v, %v", above, err)
			}
		})
	}
}

func TestBrokenLayers(t *testing.T) {
	plain := layerOf(t, file{name: "x", body: strings.Repeat("1", 5000)})
	bomb := zipped(t, append(layerOf(t, file{name: "x"}), make([]byte, 8<<20)...))
	big := zipped(t, layerOf(t, file{name: "zero", body: string(make([]byte, 80<<20))}))
	garbage := zipped(t, append(bytes.Clone(plain), make([]byte, maxPadding+1)...))
	for _, tc := range []struct {
		name, want string
		blob       []byte
		diff       v1.Hash
		limits     Limits
	}{
		{"truncated archive", "unexpected EOF", plain[:2000], hashOf(plain[:2000]), Limits{}},
		{"truncated gzip", "unexpected EOF", zipped(t, plain)[:40], hashOf(plain), Limits{}},
		{"no archive", "read the archive", []byte(strings.Repeat("hello ", 200)), v1.Hash{}, Limits{}},
		{"other content", "the image's configuration says", plain, hashOf([]byte("other")), Limits{}},
		{"bytes after the end", "follow the archive", garbage, v1.Hash{}, Limits{Ratio: 1 << 20}},
		{"ratio", "times as many", big, v1.Hash{}, Limits{Ratio: 100}},
		{"bomb behind the end of the archive", "configuration says", bomb, hashOf(nil), Limits{}},
		{"zstd with a huge window", "window size", []byte("\x28\xb5\x2f\xfd\x00\xf8\x00\x00\x00\x00\x00\x00"), v1.Hash{}, Limits{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u, _, err := unpackLayers(t, tc.limits)
			if err != nil {
				t.Fatal(err)
			}
			err = u.apply(t.Context(), hashOf(tc.blob), tc.diff, bytes.NewReader(tc.blob))
			var le *LayerError
			if !errors.As(err, &le) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want a *LayerError with %q", err, tc.want)
			}
		})
	}
}

func TestParseConfig(t *testing.T) {
	many := `["` + strings.Repeat(`a","`, 5000) + `a"]`
	for _, tc := range []struct{ name, raw, want string }{
		{"good", `{"os":"linux","architecture":"amd64","config":{"Entrypoint":["/a"],"WorkingDir":"w/../x"}}`, ""},
		{"says no platform", `{}`, ""},
		{"other processor", `{"os":"linux","architecture":"arm64"}`, "for linux/arm64"},
		{"other system", `{"os":"windows","architecture":"amd64"}`, "for windows/amd64"},
		{"not JSON", `{`, "not valid"},
		{"wrong type", `{"config":{"Env":"A=b"}}`, "not valid"},
		{"variable without a value", `{"config":{"Env":["A"]}}`, `"A" is not NAME=value`},
		{"NUL", `{"config":{"Cmd":["a\u0000b"]}}`, "NUL"},
		{"many", `{"config":{"Cmd":` + many + `}}`, "more than 4096"},
		{"long", `{"config":{"Cmd":["` + strings.Repeat("x", 200<<10) + `"]}}`, "longer than"},
		{"diff_id", `{"rootfs":{"type":"layers","diff_ids":["sha256:../../../../etc/passwd"]}}`, "not"},
		{"huge", strings.Repeat(" ", maxConfigBytes+1), "larger than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, c, err := parseConfig([]byte(tc.raw))
			if tc.want == "" {
				if err != nil || !strings.HasPrefix(c.WorkingDir, "/") {
					t.Fatalf("%+v, %v", c, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestProcess(t *testing.T) {
	_, dir, err := unpackLayers(t, Limits{}, layerOf(t,
		file{name: "bin/sh", mode: 0o755}, file{name: "usr/bin/x", mode: 0o755}, file{name: "bin/data"}, file{name: "app/run", mode: 0o755},
		file{name: "bin/link", typ: tar.TypeSymlink, link: "/usr/bin/x"}, file{name: "bin/out", typ: tar.TypeSymlink, link: "/etc/hostname"},
		file{name: "etc/passwd", body: "root:x:0:0::/root:/bin/sh\nnobody:x:65532:65532::/home/nobody:/bin/false\n"},
	))
	if err != nil {
		t.Fatal(err)
	}
	sh := []string{"sh", "-c"}
	for _, tc := range []struct {
		name               string
		config             Config
		command, args, env []string
		path               string
		argv               []string
		want               string // of the error
	}{
		{"entrypoint and cmd", Config{Entrypoint: sh, Cmd: []string{"true"}}, nil, nil, nil, "/bin/sh", []string{"sh", "-c", "true"}, ""},
		{"cmd alone", Config{Cmd: sh}, nil, nil, nil, "/bin/sh", sh, ""},
		{"args replace cmd", Config{Entrypoint: sh, Cmd: []string{"true"}}, nil, []string{"a", "b"}, nil, "/bin/sh", []string{"sh", "-c", "a", "b"}, ""},
		{"command drops cmd", Config{Entrypoint: []string{"no"}, Cmd: []string{"true"}}, sh, nil, nil, "/bin/sh", sh, ""},
		{"command and args", Config{Entrypoint: []string{"no"}, Cmd: []string{"true"}}, sh, []string{"x"}, nil, "/bin/sh", []string{"sh", "-c", "x"}, ""},
		{"relative to the working directory", Config{Entrypoint: []string{"./run"}, WorkingDir: "/app"}, nil, nil, nil, "/app/run", []string{"./run"}, ""},
		{"absolute", Config{Entrypoint: []string{"/usr/bin/x"}}, nil, nil, nil, "/usr/bin/x", []string{"/usr/bin/x"}, ""},
		{"PATH of the image", Config{Entrypoint: []string{"run"}, Env: []string{"PATH=/nowhere:/app"}}, nil, nil, nil, "/app/run", []string{"run"}, ""},
		{"PATH of the caller", Config{Entrypoint: []string{"run"}, Env: []string{"PATH=/nowhere"}}, nil, nil, []string{"PATH=/app"}, "/app/run", []string{"run"}, ""},
		{"by a link", Config{Entrypoint: []string{"link"}}, nil, nil, nil, "/bin/link", []string{"link"}, ""},
		{"a link to the host finds nothing", Config{Entrypoint: []string{"out"}}, nil, nil, nil, "", nil, "no program out"},
		{"not executable", Config{Entrypoint: []string{"data"}}, nil, nil, nil, "", nil, "no program data"},
		{"nothing", Config{}, nil, nil, nil, "", nil, "neither an entrypoint nor a cmd"},
		{"absent", Config{Entrypoint: []string{"/no"}}, nil, nil, nil, "", nil, "no program /no"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			i := &Image{Root: dir, Config: tc.config}
			p, err := i.Process(tc.command, tc.args, tc.env)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Path != tc.path || !slices.Equal(p.Args, tc.argv) {
				t.Errorf("got %q %q, want %q %q", p.Path, p.Args, tc.path, tc.argv)
			}
		})
	}
}

// TestUser looks users and groups up as container engines do.
func TestUser(t *testing.T) {
	root := writeRoot(t, map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nbroken\n\nme:x:1000:1001:Me:/home/me:/bin/sh\n# no line\nodd:x:9:many::/:\nfar:x:4294967295:1::/:\nrelative:x:8:8::home:\n",
		"etc/group":  "root:x:0:\nmine:x:1001:\nextra:x:27:you,me\nmore:x:28:me\nother:x:29:men\nbad:x:-1:me\n",
	})
	for _, tc := range []struct {
		text string
		user User
		home string
		want string // of the error
	}{
		{"", User{}, "/root", ""},
		{"root", User{}, "/root", ""},
		{"0", User{}, "/root", ""},
		{"me", User{1000, 1001, []uint32{27, 28}}, "/home/me", ""},
		{"1000", User{1000, 1001, []uint32{27, 28}}, "/home/me", ""},
		{"me:", User{1000, 1001, []uint32{27, 28}}, "/home/me", ""},
		{"me:extra", User{1000, 27, nil}, "/home/me", ""},
		{"1000:29", User{1000, 29, nil}, "/home/me", ""},
		{"1000:12345", User{1000, 12345, nil}, "/home/me", ""},
		{"65532", User{65532, 0, nil}, "/", ""},
		{"65532:65532", User{65532, 65532, nil}, "/", ""},
		{"4294967294", User{4294967294, 0, nil}, "/", ""},
		{"relative", User{8, 8, nil}, "/", ""},
		{"nobody", User{}, "", `the image is to run as user "nobody", but its /etc/passwd has no nobody; give the number instead`},
		{"me:nobody", User{}, "", "its /etc/group has no nobody"},
		{"me:me:me", User{}, "", "its /etc/group has no me:me"},
		{"odd", User{}, "", `its group in /etc/passwd is "many"`},
		{"far", User{}, "", "its /etc/passwd has no far"},
		{"4294967295", User{}, "", "its /etc/passwd has no 4294967295"},
		{"-1", User{}, "", "its /etc/passwd has no -1"},
		{"me:4294967295", User{}, "", "its /etc/group has no 4294967295"},
	} {
		t.Run(tc.text, func(t *testing.T) {
			got, home, err := root.user(tc.text)
			if tc.want != "" {
				var ue *UserError
				if !errors.As(err, &ue) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error %v, want %q", err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.user, got); diff != "" || home != tc.home {
				t.Errorf("home %q, want %q; user (-want +got):\n%s", home, tc.home, diff)
			}
		})
	}
	empty := writeRoot(t, nil)
	if u, home, err := empty.user("65532:7"); err != nil || u.UID != 65532 || u.GID != 7 || home != "/" {
		t.Errorf("without /etc/passwd: %+v, %q, %v", u, home, err)
	}
	folder := writeRoot(t, map[string]string{"etc/passwd/x": ""})
	if _, _, err := folder.user("me"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a folder as /etc/passwd: %v", err)
	}
}

// writeRoot makes the root of an image.
func writeRoot(t testing.TB, files map[string]string) *rootDir {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := openRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.close)
	return root
}

// FuzzUser holds that no files of an image make a user that is none.
func FuzzUser(f *testing.F) {
	f.Add("me:mine", "root:x:0:0:root:/root:/bin/sh\nme:x:1000:1001:Me:/home/me:/bin/sh\n", "mine:x:27:me\n")
	f.Add("65532", "", "x:x:1:")
	f.Fuzz(func(t *testing.T, text, passwd, group string) {
		u, home, err := writeRoot(t, map[string]string{"etc/passwd": passwd, "etc/group": group}).user(text)
		if err == nil && (u.UID == 1<<32-1 || u.GID == 1<<32-1 || !path.IsAbs(home)) {
			t.Errorf("%+v, home %q", u, home)
		}
	})
}

func TestParseReference(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"layout/oci-layout", "folder/x", "file.tar"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	digest := "@sha256:" + strings.Repeat("a", 64)
	for in, want := range map[string]string{
		"debian":                       "docker.io/library/debian:latest",
		"kontain/x:1":                  "docker.io/kontain/x:1",
		"localhost/x":                  "localhost/x:latest",
		"registry.example:5000/a/b":    "registry.example:5000/a/b:latest",
		"r.example/a" + digest:         "r.example/a" + digest,
		"r.example/a:1" + digest:       "r.example/a" + digest,
		"oci:/x/y:tag":                 "oci:/x/y:tag",
		"oci:/x:1/y":                   "oci:/x:1/y",
		"docker-archive:/x.tar":        "docker-archive:/x.tar",
		"docker-archive:/x.tar:a":      "docker-archive:/x.tar:a",
		"dir:/x:y":                     "dir:/x:y",
		filepath.Join(dir, "layout"):   "oci:" + dir + "/layout",
		filepath.Join(dir, "folder"):   "dir:" + dir + "/folder",
		filepath.Join(dir, "file.tar"): "docker-archive:" + dir + "/file.tar",
	} {
		r, err := ParseReference(in)
		if err != nil || r.String() != want {
			t.Errorf("%s: %s, %v; want %s", in, r, err, want)
		}
	}
	for _, in := range []string{"", "UPPER", "a:b:c", "a@sha256:1", "oci:", "dir:", "/no/such", "a\x00b", "a b"} {
		if r, err := ParseReference(in); err == nil {
			t.Errorf("%q: %s, want an error", in, r)
		}
	}
}

// FuzzLayer holds that no layer writes outside its root, whatever it holds.
func FuzzLayer(f *testing.F) {
	f.Add(layerOf(f, file{name: "a/b", body: "1"}, file{name: "a/l", typ: tar.TypeSymlink, link: "../.."}, file{name: "a/l/x"}))
	f.Add(layerOf(f, file{name: "d/"}, file{name: "d/.wh..wh..opq"}, file{name: ".wh.d"}, file{name: "h", typ: tar.TypeLink, link: "d/x"}))
	f.Add(zipped(f, layerOf(f, file{name: "../x"})))
	lower := layerOf(f, file{name: "a/"}, file{name: "a/x", body: "1"}, file{name: "l", typ: tar.TypeSymlink, link: "/a"}, file{name: "up", typ: tar.TypeSymlink, link: "../../.."})
	limits := Limits{Unpacked: 1 << 20, Entries: 200, Depth: 20}
	f.Fuzz(func(t *testing.T, blob []byte) {
		above := t.TempDir()
		dir := filepath.Join(above, "in", "root")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		sentinel := filepath.Join(above, "sentinel")
		if err := os.WriteFile(sentinel, []byte("whole"), 0o600); err != nil {
			t.Fatal(err)
		}
		u, err := newUnpacker(dir, limits)
		if err != nil {
			t.Fatal(err)
		}
		defer u.close()
		if err := u.apply(t.Context(), hashOf(lower), hashOf(lower), bytes.NewReader(lower)); err != nil {
			t.Fatal(err)
		}
		if u.apply(t.Context(), hashOf(blob), v1.Hash{}, bytes.NewReader(blob)) == nil {
			t.Error("a layer without its digest was taken")
		}
		_ = u.finish("/w")
		for dir, want := range map[string]int{above: 2, filepath.Join(above, "in"): 1} {
			if list, err := os.ReadDir(dir); err != nil || len(list) != want {
				t.Errorf("outside the root: %v, %v", list, err)
			}
		}
		if b, err := os.ReadFile(sentinel); err != nil || string(b) != "whole" {
			t.Errorf("the file outside: %q, %v", b, err)
		}
	})
}

// FuzzConfig holds that no configuration makes parsing fail other than by an
// error, and that what is taken is within bounds.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"amd64","config":{"Entrypoint":["/a"],"Env":["A=b"],"User":"1:2","ExposedPorts":{"80/tcp":{}}},"rootfs":{"diff_ids":["sha256:` + strings.Repeat("0", 64) + `"]}}`))
	f.Add([]byte(`{"config":null,"created":"0001-01-01T00:00:00Z"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file, c, err := parseConfig(raw)
		if err != nil {
			return
		}
		if !filepath.IsAbs(c.WorkingDir) || len(c.Env)+len(c.Cmd) > maxConfigStrings {
			t.Errorf("taken: %+v", c)
		}
		for _, d := range file.RootFS.DiffIDs {
			if checkHash(d) != nil {
				t.Errorf("taken: diff_id %v", d)
			}
		}
	})
}

// FuzzArchive holds that no file makes reading it as an archive of docker save
// fail other than by an error.
func FuzzArchive(f *testing.F) {
	config := `{"rootfs":{"diff_ids":["` + hashOf([]byte("l")).String() + `"]}}`
	f.Add(layerOf(f, file{name: "manifest.json", body: `[{"Config":"c","RepoTags":["a:b"],"Layers":["l"]}]`}, file{name: "c", body: config}, file{name: "l", body: "l"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "a.tar")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := openArchive(context.Background(), Reference{Kind: Archive, Path: path})
		if err != nil {
			return
		}
		defer a.close() //nolint:errcheck // Nothing was written.
		if _, _, _, _, err := resolve(t.Context(), a); err != nil {
			t.Errorf("the manifest that was made is refused: %v", err)
		}
	})
}

// TestOwners holds that what a user without privilege cannot set is noted.
func TestOwners(t *testing.T) {
	dir := t.TempDir()
	u, err := newUnpacker(dir, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer u.close()
	u.chown = false
	layer := layerOf(t,
		file{name: "home/"}, file{name: "home/me/", mode: 0o700, uid: 65532}, file{name: "home/me/x", uid: 65532},
		file{name: "y", typ: tar.TypeLink, link: "home/me/x"}, file{name: "none", mode: 0o040}, file{name: "ours", mode: 0o4644})
	if err := u.apply(t.Context(), hashOf(layer), hashOf(layer), bytes.NewReader(layer)); err != nil {
		t.Fatal(err)
	}
	want := owners{UID: os.Geteuid(), GID: os.Getegid(), Files: []Fact{
		{"home/me", 65532, 0, 0o700}, {"home/me/x", 65532, 0, 0o644}, {"none", 0, 0, 0o040}, {"y", 65532, 0, 0o644},
	}}
	if diff := cmp.Diff(want, u.owners()); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
}
