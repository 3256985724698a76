// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"kontain.dev/eventing/pkg/image"
)

// imageDir gives the commands of a test a cache of their own.
func imageDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("KONTAIN_IMAGE_DIR", dir)
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	return dir
}

func testRegistry(t *testing.T) (host string, stop func()) {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), s.Close
}

// must runs a command that has to succeed and returns its output.
func must(t *testing.T, args ...string) string {
	t.Helper()
	status, stdout, stderr := call("", args...)
	if status != ExitOK {
		t.Fatalf("kontain %s: status %d, stderr %q", strings.Join(args, " "), status, stderr)
	}
	return stdout
}

func writeFiles(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for at, text := range files {
		p := filepath.Join(dir, at)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestImageUsage(t *testing.T) {
	dir := imageDir(t)
	for _, test := range []struct {
		name   string
		args   []string
		status int
		want   string
	}{
		{"unknown command", []string{"image", "lss"}, ExitUsage, `unknown command "lss"; did you mean ls?`},
		{"pull nothing", []string{"image", "pull"}, ExitUsage, "needs a REF"},
		{"pull policy", []string{"image", "pull", "--pull", "sometimes", "x"}, ExitUsage, "must be Always, IfNotPresent or Never"},
		{"bad reference", []string{"image", "pull", "UPPER"}, ExitFailure, "could not parse reference"},
		{"bad mirror", []string{"image", "pull", "--registry-mirror", "x", "y"}, ExitUsage, "must be HOST=MIRROR"},
		{"bad size", []string{"image", "ls", "--image-cache-size", "much"}, ExitUsage, "must be a quantity"},
		{"not there", []string{"image", "inspect", "localhost/absent"}, ExitFailure, "not in the cache"},
		{"remove what is not there", []string{"image", "rm", "sha256:123456"}, ExitFailure, "not in the cache"},
		{"import without a source", []string{"image", "import", "sh", "-t", "x"}, ExitUsage, "--from-host"},
		{"import without a name", []string{"image", "import", "--from-host", "sh"}, ExitUsage, "-t localhost/sh"},
		{"build without a name", []string{"build", "."}, ExitUsage, "-t REF"},
		{"build of no kind", []string{"build", ".", "-t", "x", "--type", "cobol"}, ExitUsage, "must be go, c,"},
		{"build with a contract", []string{"build", ".", "-t", "x", "--contract", "grpc"}, ExitUsage, "must be stdio,"},
		{"build on nothing", []string{"build", dir, "-t", "localhost/x", "--base", "localhost/absent"}, ExitFailure, "base: image localhost/absent:latest"},
		{"run image and root", []string{"run", "--image", "x", "--root", "/"}, ExitUsage, "--root cannot be given"},
		{"run command without image", []string{"run", "--command", "x", "--", "y"}, ExitUsage, "--command goes with --image"},
		{"run user without image", []string{"run", "--user", "1", "--", "y"}, ExitUsage, "--user goes with --image"},
		{"run image that is not there", []string{"run", "--pull", "Never", "--image", "example.com/x"}, ExitMonitor, "not in the cache"},
		{"run image policy", []string{"run", "--pull", "x", "--image", "example.com/x"}, ExitUsage, "must be Always"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, _, stderr := call("", test.args...)
			if status != test.status || !strings.Contains(stderr, test.want) {
				t.Errorf("status %d, stderr %q; want %d and %q", status, stderr, test.status, test.want)
			}
		})
	}
}

// TestImageCommands takes an image from its build through a registry, a layout
// and an archive back into a cache.
func TestImageCommands(t *testing.T) {
	imageDir(t)
	host, _ := testRegistry(t)
	src := writeFiles(t, filepath.Join(t.TempDir(), "src"), map[string]string{"bin/app": "#!/bin/app", "etc/motd": "hello"})
	out := t.TempDir()
	tag := host + "/team/app:1"
	insecure := "--insecure-registry=" + host
	built := strings.Fields(must(t, "build", src, "-t", tag, "--entrypoint", "/bin/app", "--entrypoint", "-v", "-e", "A=b", "--label", "l=1",
		"--contract", "http", "--push", insecure, "--output", filepath.Join(out, "layout")))
	if len(built) != 2 || built[0] != tag || !strings.HasPrefix(built[1], "sha256:") {
		t.Fatalf("build printed %q", built)
	}
	must(t, "build", src, "-t", "localhost/app", "--entrypoint", "/bin/app", "--output", filepath.Join(out, "app.tar"))

	var info image.Info
	if err := json.Unmarshal([]byte(must(t, "image", "inspect", tag)), &info); err != nil {
		t.Fatal(err)
	}
	if info.Config.Labels["dev.kontain.contract"] != "http" || info.Config.Labels["l"] != "1" || info.Config.Ports[0] != "8080/tcp" ||
		strings.Join(info.Config.Env, " ") != "A=b PORT=8080" || strings.Join(info.Config.Entrypoint, " ") != "/bin/app -v" {
		t.Errorf("config %+v", info.Config)
	}
	var list []image.Info
	if err := json.Unmarshal([]byte(must(t, "image", "ls", "-o", "json")), &list); err != nil || len(list) != 2 {
		t.Errorf("ls: %v, %v", list, err)
	}
	if text := must(t, "image", "ls"); !strings.Contains(text, tag) || !strings.Contains(text, "localhost/app:latest") {
		t.Errorf("ls: %s", text)
	}

	t.Setenv("KONTAIN_IMAGE_DIR", t.TempDir()) // another machine
	for _, ref := range []string{tag, host + "/team/app@" + built[1], filepath.Join(out, "layout"), "oci:" + filepath.Join(out, "layout") + ":" + "x"} {
		status, stdout, stderr := call("", "image", "pull", insecure, ref)
		if strings.HasSuffix(ref, ":x") {
			if status != ExitFailure || !strings.Contains(stderr, `no image "x"`) {
				t.Errorf("%s: %d %q", ref, status, stderr)
			}
			continue
		}
		if status != ExitOK || !strings.Contains(stdout, built[1]) {
			t.Errorf("%s: %d %q %q", ref, status, stdout, stderr)
		}
	}
	var got imageReport
	if err := json.Unmarshal([]byte(must(t, "image", "pull", "-o", "json", filepath.Join(out, "app.tar"))), &got); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(got.Root, "etc/motd")); err != nil || string(b) != "hello" {
		t.Errorf("from the archive: %q, %v", b, err)
	}
	must(t, "image", "push", insecure, tag, host+"/other/app:2")
	must(t, "image", "rm", tag)
	if text := must(t, "image", "gc", "--all"); !strings.Contains(text, "removed") {
		t.Errorf("gc: %s", text)
	}
	must(t, "image", "pull", insecure, host+"/other/app:2")
}

// probeSource is a program that says how it was started and writes to its root.
const probeSource = `package main

import (
	"fmt"
	"os"
)

func main() {
	dir, _ := os.Getwd()
	err := os.WriteFile("/written", []byte("x"), 0o600)
	fmt.Println(os.Args, dir, os.Getenv("A"), os.Getenv("HOME"), err)
	if len(os.Args) > 1 && os.Args[1] == "user" {
		groups, _ := os.Getgroups()
		_, secret := os.ReadFile("/secret")
		fmt.Println(os.Getuid(), os.Getgid(), groups, os.WriteFile("x", nil, 0o600), os.WriteFile("/tmp/x", nil, 0o600), secret)
	}
}
`

// TestRunImageInVM runs images that are unlike a distribution: nothing but a
// program, no shell, a user, an entrypoint relative to the working folder.
func TestRunImageInVM(t *testing.T) {
	needMachines(t)
	cache := imageDir(t)
	src := writeFiles(t, filepath.Join(t.TempDir(), "probe"), map[string]string{"go.mod": "module probe\n\ngo 1.24\n", "main.go": probeSource})
	must(t, "build", src, "-t", "localhost/probe", "-e", "A=image")
	archive := filepath.Join(t.TempDir(), "probe.tar")
	must(t, "build", src, "-t", "localhost/relative", "--entrypoint", "./probe", "--entrypoint", "first", "--output", archive)

	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"scratch", []string{"--image", "localhost/probe"}, "[/app/probe] /app image / <nil>\n"},
		{"args and env", []string{"--image", "localhost/probe", "-e", "A=mine", "--", "x", "-y"}, "[/app/probe x -y] /app mine / <nil>\n"},
		{"relative entrypoint", []string{"--image", "localhost/relative"}, "[./probe first] /app  / <nil>\n"},
		{"args replace cmd, not the entrypoint", []string{"--image", "localhost/relative", "--", "second"}, "[./probe first second] /app  / <nil>\n"},
		{"command", []string{"--image", "localhost/relative", "--command", "/app/probe", "--cwd", "/"}, "[/app/probe] /  / <nil>\n"},
		{"archive", []string{"--image", archive}, "[./probe first] /app  / <nil>\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, stdout, stderr := call("", append([]string{"run"}, test.args...)...)
			if status != 0 || stdout != test.want {
				t.Errorf("status %d, stdout %q, stderr %q; want %q", status, stdout, stderr, test.want)
			}
		})
	}
	if found, err := filepath.Glob(filepath.Join(cache, "images/*/rootfs/written")); err != nil || len(found) != 0 {
		t.Errorf("a program wrote to the cache: %v, %v", found, err)
	}
	status, _, stderr := call("", "run", "--image", "localhost/probe", "--command", "sh")
	if status != ExitNoProg || !strings.Contains(stderr, "no program sh") {
		t.Errorf("no shell: %d %q", status, stderr)
	}
}

// TestImageUserInVM runs an image as users that it knows and does not know: they may
// write to what is theirs, to /tmp, and nowhere else.
func TestImageUserInVM(t *testing.T) {
	needMachines(t)
	imageDir(t)
	src := writeFiles(t, filepath.Join(t.TempDir(), "probe"), map[string]string{"go.mod": "module probe\n\ngo 1.24\n", "main.go": probeSource})
	program := filepath.Join(t.TempDir(), "probe")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".")
	cmd.Dir, cmd.Env = src, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	elf, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range []struct {
		name string
		mode int64
		uid  int
		body string
	}{
		{"./", 0o555, 0, ""}, // a root that is read-only even without an overlay
		{"etc/", 0o755, 0, ""},
		{"etc/passwd", 0o644, 0, "root:x:0:0:root:/root:/bin/sh\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"},
		{"etc/group", 0o644, 0, "root:x:0:\nnonroot:x:65532:\nextra:x:7:nonroot\n"},
		{"home/", 0o755, 0, ""},
		{"home/nonroot/", 0o700, 65532, ""},
		{"app/", 0o755, 0, ""},
		{"tmp/", 0o1777, 0, ""},
		{"secret", 0o600, 0, "x"},
		{"probe", 0o755, 0, string(elf)},
	} {
		h := &tar.Header{Name: f.name, Mode: f.mode, Uid: f.uid, Gid: f.uid, Size: int64(len(f.body)), Typeflag: tar.TypeReg}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	made, err := mutate.AppendLayers(empty.Image, l)
	if err != nil {
		t.Fatal(err)
	}
	made, err = mutate.ConfigFile(made, withUser(t, made))
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "user.tar")
	if err := tarball.WriteToFile(archive, name.MustParseReference("localhost/user:1"), made); err != nil {
		t.Fatal(err)
	}
	const denied = "permission denied"
	for _, test := range []struct {
		user string // empty: the image's
		home string
		want string
		may  []bool // write to /, the working folder and /tmp, read /secret
	}{
		{"", "/home/nonroot", "65532 65532 [7]", []bool{false, true, true, false}},
		{"nonroot:extra", "/home/nonroot", "65532 7 []", []bool{false, true, true, false}},
		{"65532:0", "/home/nonroot", "65532 0 []", []bool{false, true, true, false}},
		{"root", "/root", "0 0 []", []bool{true, true, true, true}},
	} {
		t.Run("user "+test.user, func(t *testing.T) {
			args := []string{"run", "--image", archive}
			if test.user != "" {
				args = append(args, "--user", test.user)
			}
			status, stdout, stderr := call("", append(args, "--", "user")...)
			told := func(may bool, path, call string) string {
				if may {
					return "<nil>"
				}
				return call + " " + path + ": " + denied
			}
			want := fmt.Sprintf("[../../probe user] /home/nonroot  %s %s\n%s %s %s %s\n", test.home, told(test.may[0], "/written", "open"), test.want,
				told(test.may[1], "x", "open"), told(test.may[2], "/tmp/x", "open"), told(test.may[3], "/secret", "open"))
			if status != 0 || stdout != want {
				t.Errorf("status %d, stdout %q, stderr %q; want %q", status, stdout, stderr, want)
			}
		})
	}
	for user, want := range map[string]string{"nobody": "has no nobody", "65533": "user 65533 may not enter its working directory /home/nonroot"} {
		if status, _, stderr := call("", "run", "--image", archive, "--user", user); status == 0 || !strings.Contains(stderr, want) {
			t.Errorf("user %s: status %d, stderr %q; want %q", user, status, stderr, want)
		}
	}
}

func withUser(t *testing.T, i v1.Image) *v1.ConfigFile {
	t.Helper()
	c, err := i.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture = "linux", "amd64"
	c.Config.User, c.Config.WorkingDir, c.Config.Entrypoint = "nonroot", "/home/nonroot", []string{"../../probe"}
	return c
}

const pythonFunction = `import json, sys
event = json.load(sys.stdin)
print(json.dumps({"text": event["data"]["text"].upper()}))
`

const nodeFunction = `const event = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify({text: event.data.text.toUpperCase()}));
`

const goFunction = `package main

import (
	"encoding/json"
	"os"
	"strings"
)

func main() {
	var event struct{ Data struct{ Text string } }
	if err := json.NewDecoder(os.Stdin).Decode(&event); err != nil {
		panic(err)
	}
	_ = json.NewEncoder(os.Stdout).Encode(map[string]string{"text": strings.ToUpper(event.Data.Text)})
}
`

func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skip(err)
	}
}

// TestServeImageInVM builds functions, pushes them to a registry, serves them
// from there and sends each an event; and again when the registry is gone.
func TestServeImageInVM(t *testing.T) {
	needMachines(t)
	for _, test := range []struct {
		name, program string // program of this machine that the base is made of
		files         map[string]string
	}{
		{"go", "", map[string]string{"go.mod": "module fn\n\ngo 1.24\n", "main.go": goFunction}},
		{"python", "python3", map[string]string{"main.py": pythonFunction}},
		{"node", "node", map[string]string{"index.js": nodeFunction}},
	} {
		t.Run(test.name, func(t *testing.T) {
			imageDir(t)
			host, stop := testRegistry(t)
			src := writeFiles(t, filepath.Join(t.TempDir(), "fn"), test.files)
			tag := host + "/fn/" + test.name + ":1"
			args := []string{"build", "-q", src, "-t", tag, "--push", "--insecure-registry", host}
			if test.program != "" {
				needProgram(t, test.program)
				must(t, "image", "import", "--from-host", test.program, "-t", "localhost/base")
				args = append(args, "--base", "localhost/base")
			}
			must(t, args...)
			t.Setenv("KONTAIN_IMAGE_DIR", t.TempDir()) // another machine
			file := filepath.Join(t.TempDir(), "sink.yaml")
			manifest := fmt.Sprintf(`apiVersion: sinks.kontain.dev/v1alpha1
kind: KontainSink
metadata: {name: fn}
spec:
  image: %s
  isolation: VM
  snapshot: {mode: Never}
  timeout: 30s
  resources: {limits: {memory: 1Gi}}
`, tag)
			if err := os.WriteFile(file, []byte(manifest), 0o644); err != nil {
				t.Fatal(err)
			}
			for _, registryIs := range []string{"up", "down"} {
				if registryIs == "down" {
					stop()
				}
				serveOnce(t, file, host)
			}
			t.Setenv("KONTAIN_IMAGE_DIR", t.TempDir())
			waitsForRegistry(t, file, host)
		})
	}
}

// TestSnapshotOfImageInVM makes the snapshot of a sink with an image ahead of kontain
// serve, which then finds it.
func TestSnapshotOfImageInVM(t *testing.T) {
	needMachines(t)
	imageDir(t)
	dir := t.TempDir()
	t.Setenv("KONTAIN_SNAPSHOT_DIR", filepath.Join(dir, "snapshots"))
	src := writeFiles(t, filepath.Join(dir, "fn"), map[string]string{"go.mod": "module fn\n\ngo 1.24\n", "main.go": goFunction})
	must(t, "build", "-q", src, "-t", "localhost/fn")
	manifest := func(image string) string {
		file := filepath.Join(t.TempDir(), "sink.yaml")
		text := "apiVersion: sinks.kontain.dev/v1alpha1\nkind: KontainSink\nmetadata: {name: fn}\nspec: {isolation: VM, timeout: 30s, image: " + image + "}\n"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return file
	}
	file := manifest("localhost/fn")
	list := func() []string {
		var keys []string
		var entries []struct{ Key string }
		if err := json.Unmarshal([]byte(must(t, "snapshot", "ls", "--output", "json")), &entries); err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			keys = append(keys, e.Key)
		}
		return keys
	}
	made := strings.TrimSpace(must(t, "snapshot", "create", "-f", file))
	before := list()
	if len(before) != 1 || !strings.Contains(made, before[0]) {
		t.Fatalf("made %q, and there are %q", made, before)
	}
	serveOnce(t, file, "localhost:1")
	if after := list(); !slices.Equal(before, after) {
		t.Errorf("kontain serve made another one: %q, before %q", after, before)
	}
	alone := filepath.Join(dir, "fn.snapshot")
	must(t, "snapshot", "create", "-f", file, "-o", alone)
	status, stdout, stderr := call(`{"data":{"text":"hello"}}`, "snapshot", "run", alone)
	if status != ExitOK || !strings.Contains(stdout, "HELLO") {
		t.Errorf("run: status %d, stdout %q, stderr %q", status, stdout, stderr)
	}
	for image, want := range map[string]string{"localhost/absent": "not in the cache", "dir:" + src: "neither an entrypoint nor a cmd"} {
		if status, _, stderr := call("", "snapshot", "create", "-f", manifest(image)); status != ExitFailure || !strings.Contains(stderr, want) {
			t.Errorf("image %s: status %d, stderr %q; want %q", image, status, stderr, want)
		}
	}
}

func serveOnce(t *testing.T, file, host string) {
	t.Helper()
	out, log, stop := startServe(t, realMachines, "-f", file, "--listen", "127.0.0.1:0", "--drain-quiet-period", "1ms", "--insecure-registry", host)
	target := awaitText(t, out, log, `(?m)^http://127\.0\.0\.1:\d+/default/fn$`)
	status, stdout, stderr := call("", "invoke", "--type", "t", "--data", `{"text":"hello"}`, "--timeout", "60s", "-o", "json", target)
	if status != ExitOK || !strings.Contains(stdout, "HELLO") {
		t.Errorf("invoke: status %d, stdout %q, stderr %q, log %q", status, stdout, stderr, log)
	}
	if !strings.Contains(log.String(), "digest=sha256:") {
		t.Errorf("no digest in the log: %s", log)
	}
	if status := stop(); status != ExitOK {
		t.Errorf("status %d, log %q", status, log)
	}
}

// waitsForRegistry holds that a sink whose image cannot be had yet says so.
func waitsForRegistry(t *testing.T, file, host string) {
	t.Helper()
	out, log, stop := startServe(t, realMachines, "-f", file, "--listen", "127.0.0.1:0", "--drain-quiet-period", "1ms", "--insecure-registry", host)
	text := awaitText(t, out, log, `default/fn is not served: its image cannot be had, and is tried again.*connection refused`)
	target := regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(out.String()) + "/default/fn"
	if _, _, stderr := call("", "invoke", "--type", "t", target); !strings.Contains(stderr, "503") {
		t.Errorf("%s; invoke: %q", text, stderr)
	}
	if status := stop(); status != ExitOK {
		t.Errorf("status %d, log %q", status, log)
	}
}

func awaitText(t *testing.T, out, log *lockedBuffer, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(pattern)
	for deadline := time.Now().Add(2 * testTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if found := re.FindString(out.String()); found != "" {
			return found
		}
	}
	t.Fatalf("%s was not printed: %q, log %q", pattern, out, log)
	return ""
}

// TestBaseImageInVM makes bases of Debian's packages, twice with the same digest,
// and runs functions on them.
func TestBaseImageInVM(t *testing.T) {
	needMachines(t)
	if os.Getenv("KONTAIN_TEST_NETWORK") != "1" {
		t.Skip("it downloads packages: KONTAIN_TEST_NETWORK=1 lets it")
	}
	needProgram(t, "apt-get")
	needProgram(t, "dpkg-deb")
	dir := imageDir(t)
	kontain := filepath.Join(t.TempDir(), "kontain")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", kontain, "../../cmd/kontain").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	base := func(what, tag string) string {
		cmd := exec.CommandContext(t.Context(), "../../hack/base-image.sh", what, tag)
		cmd.Env = append(os.Environ(), "KONTAIN="+kontain, "KONTAIN_IMAGE_DIR="+dir)
		out, err := cmd.CombinedOutput()
		if err != nil {
			for _, reason := range []string{"resolve", "connect", "Unable to locate", "No packages found", "Can't find a source", "Failed to fetch"} {
				if strings.Contains(string(out), reason) {
					t.Skipf("packages cannot be fetched: %s", out)
				}
			}
			t.Fatalf("%v\n%s", err, out)
		}
		return regexp.MustCompile(`sha256:[0-9a-f]{64}`).FindString(string(out))
	}
	for _, test := range []struct {
		name  string
		files map[string]string
	}{
		{"python", map[string]string{"main.py": pythonFunction}},
		{"node", map[string]string{"index.js": nodeFunction}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tag := "localhost/" + test.name
			one := base(test.name, tag)
			if test.name == "python" {
				if two := base(test.name, tag); one == "" || one != two {
					t.Errorf("digests %q and %q", one, two)
				}
			}
			src := writeFiles(t, filepath.Join(t.TempDir(), "fn"), test.files)
			must(t, "build", "-q", src, "-t", "localhost/fn", "--base", tag)
			status, stdout, stderr := call(`{"data":{"text":"hello"}}`, "run", "--memory", "1Gi", "--timeout", "60s", "--image", "localhost/fn")
			if status != ExitOK || !strings.Contains(stdout, "HELLO") {
				t.Errorf("status %d, stdout %q, stderr %q", status, stdout, stderr)
			}
		})
	}
}
