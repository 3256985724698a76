// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Kind is how a source is built.
type Kind string

// The kinds of sources.
const (
	Go     Kind = "go"     // a main package, built statically
	C      Kind = "c"      // a Makefile, or C files that make one program
	Python Kind = "python" // sources and their requirements.txt
	Node   Kind = "node"   // sources and their package.json
	Folder Kind = "folder" // files as they are, from the root on
)

// Kinds lists all of them.
var Kinds = []Kind{Go, C, Python, Node, Folder}

// Options say what to build.
type Options struct {
	// Path is the source: a folder, or one C, Python or JavaScript file.
	Path string
	// Kind is how it is built; empty: what its files look like.
	Kind Kind
	// Base is the image below, nil for none. BaseRoot is the folder with its
	// files. Python and Node need one.
	Base     v1.Image
	BaseRoot string
	// Entrypoint replaces the one that is made up.
	Entrypoint []string
	// Contract is noted as a label; for http the port is set too.
	Contract string
	// Env are further variables (NAME=value) and Labels further labels.
	Env    []string
	Labels map[string]string
	// Time is what files and the image are dated; zero is 1970. It is the
	// caller's to take it from SOURCE_DATE_EPOCH.
	Time time.Time
	// Work is a folder for temporary files, which must stay until the image is
	// stored.
	Work string
	// Log gets what compilers and package managers print.
	Log io.Writer
}

// ContractLabel is the label with the contract that a function keeps.
const ContractLabel = "dev.kontain.contract"

// appDir is where functions are in their images.
const appDir = "/app"

// Detect says how a source would be built.
func Detect(source string) (Kind, error) {
	info, err := os.Stat(source)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		switch filepath.Ext(source) {
		case ".c":
			return C, nil
		case ".py":
			return Python, nil
		case ".js", ".mjs", ".cjs":
			return Node, nil
		}
		return "", fmt.Errorf("%s is neither a folder nor a file of C, Python or JavaScript", source)
	}
	for _, rule := range []struct {
		kind     Kind
		patterns []string
	}{
		{Go, []string{"go.mod", "*.go"}},
		{Node, []string{"package.json"}},
		{Python, []string{"requirements.txt", "pyproject.toml", "*.py"}},
		{C, []string{"Makefile", "makefile", "GNUmakefile", "*.c"}},
		{Node, []string{"*.js", "*.mjs"}},
	} {
		for _, p := range rule.patterns {
			if found, err := filepath.Glob(filepath.Join(escapeGlob(source), p)); err == nil && len(found) > 0 {
				return rule.kind, nil
			}
		}
	}
	return Folder, nil
}

func escapeGlob(s string) string {
	return regexp.MustCompile(`[*?\[\\]`).ReplaceAllString(s, `\$0`)
}

// Image builds the image of a source.
func Image(ctx context.Context, o Options) (v1.Image, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	abs, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, err
	}
	o.Path = abs
	if o.Kind == "" {
		if o.Kind, err = Detect(o.Path); err != nil {
			return nil, err
		}
	}
	b := &builder{Options: o, tree: newTree()}
	switch o.Kind {
	case Go:
		err = b.goProgram(ctx)
	case C:
		err = b.cProgram(ctx)
	case Python:
		err = b.python(ctx)
	case Node:
		err = b.node(ctx)
	case Folder:
		err = b.tree.folder("/", o.Path, func(_ string, d fs.DirEntry) bool { return d.IsDir() && d.Name() == ".git" })
		b.config.WorkingDir = "/"
	default:
		err = fmt.Errorf("there is no kind %q; there are %q", o.Kind, Kinds)
	}
	if err != nil {
		return nil, fmt.Errorf("build %s (%s): %w", o.Path, o.Kind, err)
	}
	for at, e := range b.tree.entries {
		e.time = o.Time
		b.tree.entries[at] = e
	}
	if len(o.Entrypoint) > 0 {
		b.config.Entrypoint = o.Entrypoint
	}
	b.config.Env = append(b.config.Env, o.Env...)
	b.config.Labels = maps.Clone(o.Labels)
	if o.Contract != "" {
		if b.config.Labels == nil {
			b.config.Labels = map[string]string{}
		}
		b.config.Labels[ContractLabel] = o.Contract
	}
	if o.Contract == "http" {
		b.config.Env = append(b.config.Env, "PORT=8080")
		b.config.ExposedPorts = map[string]struct{}{"8080/tcp": {}}
	}
	return assemble(o.Base, b.tree, o.Work, b.config, o.Time)
}

// assemble puts a layer and a configuration on a base.
func assemble(base v1.Image, t *tree, work string, c v1.Config, at time.Time) (v1.Image, error) {
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	if base == nil {
		base = mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	file, err := base.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("configuration of the base: %w", err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created = "linux", "amd64", v1.Time{Time: at.UTC()}
	below := file.Config
	if len(c.Entrypoint) == 0 {
		c.Entrypoint, c.Cmd = below.Entrypoint, below.Cmd
	}
	c.Env = mergeEnv(below.Env, c.Env)
	c.WorkingDir = cmp.Or(c.WorkingDir, below.WorkingDir)
	c.User = cmp.Or(c.User, below.User)
	labels := maps.Clone(below.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, c.Labels)
	if c.Labels = labels; len(labels) == 0 {
		c.Labels = nil
	}
	if c.ExposedPorts == nil {
		c.ExposedPorts = below.ExposedPorts
	}
	file.Config = c
	image, err := mutate.ConfigFile(base, file)
	if err != nil {
		return nil, err
	}
	layer, err := t.layer(work)
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{
		Layer: layer, History: v1.History{CreatedBy: "kontain build", Created: v1.Time{Time: at.UTC()}},
	})
}

func mergeEnv(lists ...[]string) []string {
	var env []string
	for _, kv := range slices.Concat(lists...) {
		name, _, _ := strings.Cut(kv, "=")
		env = slices.DeleteFunc(env, func(old string) bool { return strings.HasPrefix(old, name+"=") })
		env = append(env, kv)
	}
	return env
}

// builder makes the layer and the configuration of one source.
type builder struct {
	Options
	tree   *tree
	config v1.Config
}

// tool runs a compiler or a package manager in dir.
func (b *builder) tool(ctx context.Context, dir string, env []string, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, b.Log, b.Log
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return nil
}

func need(tool, what string) error {
	if _, err := exec.LookPath(tool); err != nil {
		return fmt.Errorf("%s is needed %s, and is not installed: %w", tool, what, err)
	}
	return nil
}

func (b *builder) goProgram(ctx context.Context) error {
	if err := need("go", "to build Go"); err != nil {
		return err
	}
	out := filepath.Join(b.Work, "program")
	// Nothing of this machine's paths, times or checkout gets into the program.
	err := b.tool(ctx, b.Path, []string{"CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1"},
		"go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, ".")
	if err != nil {
		return err
	}
	if f, err := elf.Open(out); err != nil {
		return errors.New("it is no main package: go build made no program")
	} else if err := f.Close(); err != nil {
		return err
	}
	return b.program(ctx, out, filepath.Base(b.Path))
}

// program makes an executable the image's entrypoint. One that is dynamically
// linked brings its libraries, unless they are the base's to have.
func (b *builder) program(ctx context.Context, file, name string) error {
	if name = safeName.ReplaceAllString(name, "-"); strings.Trim(name, "-.") == "" {
		name = "program"
	}
	dynamic, err := interpreted(file)
	if err != nil {
		return err
	}
	if dynamic && b.Base == nil {
		h := newHost(ctx)
		if err := h.libraries(file); err != nil {
			return err
		}
		h.finish()
		maps.Copy(b.tree.entries, h.tree.entries)
	}
	at := path.Join(appDir, name)
	b.tree.put(at, entry{mode: 0o755, host: file})
	b.config.Entrypoint, b.config.WorkingDir = []string{at}, appDir
	return nil
}

var safeName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// sourceOnly says what of a source no function needs.
func sourceOnly(_ string, d fs.DirEntry) bool {
	switch d.Name() {
	case ".git", ".hg", ".svn", ".venv", "venv", "__pycache__", "node_modules", ".mypy_cache", ".pytest_cache", ".DS_Store":
		return true
	}
	return !d.IsDir() && strings.HasSuffix(d.Name(), ".pyc")
}

func (b *builder) cProgram(ctx context.Context) error {
	cc := os.Getenv("CC")
	for _, name := range []string{"gcc", "cc", "musl-gcc", "clang"} {
		if _, err := exec.LookPath(name); cc == "" && err == nil {
			cc = name
		}
	}
	if cc == "" {
		return errors.New("a C compiler is needed (gcc, or the one that CC names)")
	}
	// In a copy, so that the source stays as it is.
	src := filepath.Join(b.Work, "src")
	if err := copySource(src, b.Path); err != nil {
		return err
	}
	name := strings.TrimSuffix(filepath.Base(b.Path), ".c")
	flags := []string{"-O2", "-ffile-prefix-map=" + src + "=.", "-Wl,--build-id=none"}
	if !hasMakefile(src) {
		files, err := filepath.Glob(filepath.Join(escapeGlob(src), "*.c"))
		if err != nil || len(files) == 0 {
			return errors.New("it has neither a Makefile nor a C file")
		}
		args := append(slices.Clone(flags), "-static", "-o", "kontain-program")
		for _, f := range files { // Glob sorts
			args = append(args, filepath.Base(f))
		}
		if err := b.tool(ctx, src, nil, cc, append(args, "-lm")...); err != nil {
			return err
		}
		return b.program(ctx, filepath.Join(src, "kontain-program"), name)
	}
	if err := need("make", "for a Makefile"); err != nil {
		return err
	}
	before, err := programsIn(src)
	if err != nil {
		return err
	}
	if err := b.tool(ctx, src, []string{"CC=" + cc, "CFLAGS=" + strings.Join(flags[:2], " "), "LDFLAGS=-static " + flags[2]}, "make"); err != nil {
		return err
	}
	after, err := programsIn(src)
	if err != nil {
		return err
	}
	made := slices.DeleteFunc(after, func(p string) bool { return slices.Contains(before, p) })
	for _, p := range made {
		if base := filepath.Base(p); len(made) == 1 || base == name || base == "main" || base == "function" {
			return b.program(ctx, filepath.Join(src, p), filepath.Base(p))
		}
	}
	return fmt.Errorf("make made %q; one program is needed, or one named %s, main or function", made, name)
}

func hasMakefile(dir string) bool {
	for _, name := range []string{"GNUmakefile", "makefile", "Makefile"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// programsIn lists the ELF programs of a folder.
func programsIn(dir string) ([]string, error) {
	var list []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode()&0o111 == 0 || !isELF(p) {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		list = append(list, rel)
		return err
	})
	return list, err
}

// copySource copies a source folder, or one file into a new folder.
func copySource(to, from string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return err
	}
	t := newTree()
	if info.IsDir() {
		if err := t.folder("/", from, sourceOnly); err != nil {
			return err
		}
	} else {
		t.put(filepath.Base(from), entry{mode: 0o644, host: from})
	}
	for _, at := range slices.Sorted(maps.Keys(t.entries)) {
		e, p := t.entries[at], filepath.Join(to, at)
		switch {
		case e.mode.IsDir():
			err = os.Mkdir(p, 0o700)
		case e.mode&fs.ModeSymlink != 0:
			err = os.Symlink(e.link, p)
		default:
			err = copyFile(p, e.host, e.mode.Perm())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string, mode fs.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // Nothing was written.
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// sources adds the source below /app and returns the names of its files at the
// top.
func (b *builder) sources() ([]string, error) {
	info, err := os.Stat(b.Path)
	if err != nil {
		return nil, err
	}
	b.config.WorkingDir = appDir
	if !info.IsDir() {
		b.tree.put(path.Join(appDir, filepath.Base(b.Path)), entry{mode: plainMode(info.Mode()), host: b.Path})
		return []string{filepath.Base(b.Path)}, nil
	}
	if err := b.tree.folder(appDir, b.Path, sourceOnly); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(b.Path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

// mainFile picks the file that is run.
func mainFile(names, wanted, extensions []string) (string, error) {
	for _, w := range wanted {
		if slices.Contains(names, w) {
			return w, nil
		}
	}
	var code []string
	for _, n := range names {
		if slices.Contains(extensions, filepath.Ext(n)) {
			code = append(code, n)
		}
	}
	if len(code) == 1 {
		return code[0], nil
	}
	return "", fmt.Errorf("which of %q is run? Name it %s, or give an entrypoint", code, wanted[0])
}

func (b *builder) python(ctx context.Context) error {
	if b.Base == nil {
		return errors.New("a base with Python is needed, such as docker.io/library/python:3.12-slim, or localhost/python after: kontain image import --from-host python3 -t localhost/python")
	}
	names, err := b.sources()
	if err != nil {
		return err
	}
	if len(b.Entrypoint) == 0 {
		file, err := mainFile(names, []string{"main.py", "app.py", "function.py", "handler.py", "__main__.py"}, []string{".py"})
		if err != nil {
			return err
		}
		b.config.Entrypoint = []string{"python3", path.Join(appDir, file)}
	}
	// Output is whole lines as they are written, and no file is compiled for a
	// root that forgets.
	b.config.Env = []string{"PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1"}
	if !slices.Contains(names, "requirements.txt") {
		return nil
	}
	if err := need("pip3", "for requirements.txt"); err != nil {
		return err
	}
	packages := filepath.Join(b.Work, "packages")
	args := []string{"install", "--disable-pip-version-check", "--no-compile", "--no-input", "--root-user-action=ignore", "--target", packages, "-r", filepath.Join(b.Path, "requirements.txt")}
	if v := pythonVersion(b.BaseRoot); v != "" {
		// Of the base's version, which need not be that of this machine's pip.
		args = append(args, "--python-version", v, "--implementation", "cp", "--platform", "manylinux2014_x86_64", "--platform", "any", "--only-binary=:all:")
	}
	if err := b.tool(ctx, b.Path, nil, "pip3", args...); err != nil {
		return err
	}
	at := path.Join(appDir, ".packages")
	b.config.Env = append(b.config.Env, "PYTHONPATH="+at)
	return b.tree.folder(at, packages, func(rel string, d fs.DirEntry) bool {
		// pip notes where it ran, in the files that it made.
		return d.Name() == "__pycache__" || d.Name() == "direct_url.json" || rel == "bin"
	})
}

var pythonDir = regexp.MustCompile(`^python(3\.[0-9]+)$`)

// pythonVersion finds the version of the Python in a root, such as 3.12.
func pythonVersion(root string) string {
	if root == "" {
		return ""
	}
	for _, dir := range []string{"usr/local/lib", "usr/lib", "lib"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			continue
		}
		for _, e := range entries {
			if m := pythonDir.FindStringSubmatch(e.Name()); m != nil {
				if _, err := os.Stat(filepath.Join(root, dir, e.Name(), "os.py")); err == nil {
					return m[1]
				}
			}
		}
	}
	return ""
}

func (b *builder) node(ctx context.Context) error {
	if b.Base == nil {
		return errors.New("a base with Node is needed, such as docker.io/library/node:22-slim, or localhost/node after: kontain image import --from-host node -t localhost/node")
	}
	names, err := b.sources()
	if err != nil {
		return err
	}
	var manifest struct {
		Main         string
		Dependencies map[string]any
	}
	if slices.Contains(names, "package.json") {
		data, err := os.ReadFile(filepath.Join(b.Path, "package.json"))
		if err == nil {
			err = json.Unmarshal(data, &manifest)
		}
		if err != nil {
			return fmt.Errorf("package.json: %w", err)
		}
	}
	if len(b.Entrypoint) == 0 {
		file := strings.TrimPrefix(path.Clean("/"+manifest.Main), "/")
		if file == "" {
			if file, err = mainFile(names, []string{"index.js", "main.js", "app.js", "function.js", "handler.js", "index.mjs"}, []string{".js", ".mjs", ".cjs"}); err != nil {
				return err
			}
		}
		b.config.Entrypoint = []string{"node", path.Join(appDir, file)}
	}
	b.config.Env = []string{"NODE_ENV=production"}
	if len(manifest.Dependencies) == 0 {
		return nil
	}
	if err := need("npm", "for the dependencies of package.json"); err != nil {
		return err
	}
	// In a copy: the source stays as it is. Scripts of packages are not run.
	src := filepath.Join(b.Work, "src")
	if err := copySource(src, b.Path); err != nil {
		return err
	}
	install := "install"
	if slices.Contains(names, "package-lock.json") {
		install = "ci"
	}
	if err := b.tool(ctx, src, nil, "npm", install, "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"); err != nil {
		return err
	}
	return b.tree.folder(path.Join(appDir, "node_modules"), filepath.Join(src, "node_modules"), nil)
}
