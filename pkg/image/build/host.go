// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"kontain.dev/eventing/pkg/image"
)

// HostOptions say what to take from this machine.
type HostOptions struct {
	// Programs are names in PATH or paths. The first is the entrypoint.
	Programs []string
	// Add are further files and folders, with the libraries of what is ELF.
	Add []string
	// Work is a folder for temporary files, which must stay until the image is
	// stored.
	Work string
}

// FromHost makes an image of programs of this machine: with the dynamic linker
// and the libraries that they name, the interpreters of scripts, and the
// standard library of Python. Libraries that a program only opens while it runs
// must be named with Add.
func FromHost(ctx context.Context, o HostOptions) (v1.Image, error) {
	if len(o.Programs) == 0 {
		return nil, errors.New("no program is named")
	}
	h := newHost(ctx)
	var first string
	for _, p := range o.Programs {
		found, err := exec.LookPath(p)
		if err != nil && !errors.Is(err, exec.ErrDot) {
			return nil, fmt.Errorf("program %s: %w", p, err)
		}
		if found, err = filepath.Abs(found); err != nil {
			return nil, err
		}
		at, err := h.program(found)
		if err != nil {
			return nil, fmt.Errorf("program %s: %w", p, err)
		}
		h.inPath(filepath.Base(p), at)
		if first == "" {
			first = at
		}
	}
	for _, p := range o.Add {
		abs, err := filepath.Abs(p)
		if err == nil {
			err = h.all(abs, nil)
		}
		if err != nil {
			return nil, fmt.Errorf("add %s: %w", p, err)
		}
	}
	h.finish()
	return assemble(nil, h.tree, o.Work, v1.Config{
		Entrypoint: []string{first}, WorkingDir: "/",
		Env: []string{"PATH=" + image.DefaultPath},
	}, time.Time{})
}

// host collects files of this machine under their own paths.
type host struct {
	ctx       context.Context
	tree      *tree
	seen      map[string]bool // ELF files that were looked at
	cache     map[string]string
	fromCache bool // a library is where only the cache of the linker finds it
}

func newHost(ctx context.Context) *host {
	h := &host{ctx: ctx, tree: newTree(), seen: map[string]bool{}}
	if data, err := os.ReadFile(linkerCache); err == nil {
		h.cache = readLinkerCache(data)
	}
	return h
}

// add adds a path with the links on the way to it, and returns where it leads.
func (h *host) add(p string) (string, error) {
	real := "/"
	parts := strings.Split(strings.Trim(filepath.Clean(p), "/"), "/")
	for links := 0; len(parts) > 0; {
		if err := h.ctx.Err(); err != nil {
			return "", err
		}
		next := filepath.Join(real, parts[0])
		parts = parts[1:]
		info, err := os.Lstat(next)
		if err != nil {
			return "", err
		}
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			if links++; links > 40 {
				return "", &os.PathError{Op: "follow", Path: p, Err: errors.New("too many symbolic links")}
			}
			to, err := os.Readlink(next)
			if err != nil {
				return "", err
			}
			h.tree.put(next, entry{mode: fs.ModeSymlink | 0o777, link: to, time: seconds(info)})
			if !filepath.IsAbs(to) {
				to = filepath.Join(real, to)
			}
			parts = append(strings.Split(strings.Trim(filepath.Clean(to), "/"), "/"), parts...)
			real = "/"
			continue
		case fs.ModeDir:
			h.tree.put(next, entry{mode: fs.ModeDir | 0o755})
		case 0:
			h.tree.put(next, entry{mode: plainMode(info.Mode()), host: next, time: seconds(info)})
		default:
			return "", &os.PathError{Op: "add", Path: next, Err: errors.New("it is neither a file nor a folder")}
		}
		real = next
	}
	return real, nil
}

// seconds is a file's time as layers keep it. Python takes compiled files by
// the time of their source.
func seconds(info fs.FileInfo) time.Time { return info.ModTime().Truncate(time.Second) }

// all adds a file or a folder with all in it, and the libraries of ELF files.
func (h *host) all(p string, skip func(rel string, d fs.DirEntry) bool) error {
	real, err := h.add(p)
	if err != nil {
		return err
	}
	return filepath.WalkDir(real, func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(real, at)
		if err != nil {
			return err
		}
		if skip != nil && rel != "." && skip(rel, d) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		switch d.Type() {
		case fs.ModeDir, fs.ModeSymlink, 0:
		default:
			return nil
		}
		to, err := h.add(at)
		if d.Type() == fs.ModeSymlink && errors.Is(err, fs.ErrNotExist) {
			return nil // a link to nothing is one there too
		}
		if err != nil {
			return err
		}
		if info, err := os.Stat(to); err == nil && info.Mode().IsRegular() {
			return h.libraries(to)
		}
		return nil
	})
}

var (
	pythonName = regexp.MustCompile(`^python[0-9.]*$`)
	nodeName   = regexp.MustCompile(`^node(js)?$`)
)

// program adds a program with what it needs, and returns its path in the image.
func (h *host) program(p string) (string, error) {
	if pythonName.MatchString(filepath.Base(p)) {
		return h.python(p)
	}
	real, err := h.add(p)
	if err != nil {
		return "", err
	}
	if nodeName.MatchString(filepath.Base(p)) {
		if err := h.nodeModules(); err != nil {
			return "", err
		}
	}
	f, err := os.Open(real)
	if err != nil {
		return "", err
	}
	line := make([]byte, 256)
	n, _ := io.ReadFull(f, line)
	if err := f.Close(); err != nil {
		return "", err
	}
	if !bytes.HasPrefix(line[:n], []byte("#!")) {
		return p, h.libraries(real)
	}
	text, _, _ := strings.Cut(string(line[2:n]), "\n")
	words := strings.Fields(text)
	if len(words) == 0 {
		return "", errors.New("it is a script without an interpreter")
	}
	if _, err := h.program(words[0]); err != nil {
		return "", fmt.Errorf("its interpreter %s: %w", words[0], err)
	}
	if filepath.Base(words[0]) == "env" && len(words) > 1 && !strings.HasPrefix(words[1], "-") {
		found, err := exec.LookPath(words[1])
		if err == nil {
			_, err = h.program(found)
		}
		if err != nil {
			return "", fmt.Errorf("its interpreter %s: %w", words[1], err)
		}
	}
	return p, nil
}

// pythonParts asks an interpreter where its parts are: wrappers, as pyenv has
// them, are not what runs.
const pythonParts = `import sys, sysconfig, json
print(json.dumps({"exe": sys.executable, "dirs": sorted({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})}))`

func (h *host) python(p string) (string, error) {
	ctx, cancel := context.WithTimeout(h.ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, p, "-I", "-c", pythonParts).Output()
	if err != nil {
		return "", fmt.Errorf("ask it where its library is: %w", err)
	}
	var parts struct {
		Exe  string
		Dirs []string
	}
	if err := json.Unmarshal(out, &parts); err != nil || parts.Exe == "" {
		return "", fmt.Errorf("ask it where its library is: got %q: %w", out, err)
	}
	real, err := h.add(parts.Exe)
	if err != nil {
		return "", err
	}
	if err := h.libraries(real); err != nil {
		return "", err
	}
	for _, dir := range parts.Dirs {
		if err := h.all(dir, notForRunning); err != nil {
			return "", err
		}
	}
	return parts.Exe, nil
}

// notForRunning says what of Python's standard library no program imports.
func notForRunning(rel string, d fs.DirEntry) bool {
	name := d.Name()
	switch {
	case !d.IsDir():
		return strings.HasSuffix(name, ".a") || strings.Contains(name, ".opt-")
	case name == "test", name == "tests", name == "idle_test":
		return true
	}
	switch rel {
	case "site-packages", "dist-packages", "ensurepip", "idlelib", "tkinter", "turtledemo":
		return true
	}
	return strings.HasPrefix(name, "config-")
}

// nodeModules adds the modules that Debian's Node has outside of its program.
func (h *host) nodeModules() error {
	for _, name := range []string{"acorn", "acorn-walk", "cjs-module-lexer", "undici"} {
		dir := filepath.Join("/usr/share/nodejs", name)
		if _, err := os.Stat(dir); err != nil {
			continue // this Node has its own
		}
		if err := h.all(dir, nil); err != nil {
			return err
		}
	}
	return nil
}

// libraries adds what an ELF file names: the dynamic linker and libraries, and
// what these name. Other files need nothing.
func (h *host) libraries(real string) error {
	if h.seen[real] {
		return nil
	}
	h.seen[real] = true
	f, err := elf.Open(real)
	if err != nil {
		if _, ok := errors.AsType[*elf.FormatError](err); ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		return err
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	if f.Type != elf.ET_EXEC && f.Type != elf.ET_DYN {
		return nil
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("%s is for %s, and programs of x86-64 run here", real, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > 4096 {
			continue
		}
		name := make([]byte, p.Filesz)
		if _, err := p.ReadAt(name, 0); err != nil {
			return fmt.Errorf("%s: dynamic linker: %w", real, err)
		}
		at, err := h.add(strings.TrimRight(string(name), "\x00"))
		if err == nil {
			err = h.libraries(at)
		}
		if err != nil {
			return fmt.Errorf("%s: dynamic linker: %w", real, err)
		}
	}
	needed, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", real, err)
	}
	paths, err := f.DynString(elf.DT_RUNPATH)
	if err == nil && len(paths) == 0 {
		paths, err = f.DynString(elf.DT_RPATH)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", real, err)
	}
	for _, lib := range needed {
		at, err := h.findLibrary(lib, filepath.Dir(real), paths)
		if err == nil {
			at, err = h.add(at)
		}
		if err == nil {
			err = h.libraries(at)
		}
		if err != nil {
			return fmt.Errorf("%s: library %s: %w", real, lib, err)
		}
	}
	return nil
}

// standardLibraries is where dynamic linkers look by themselves.
var standardLibraries = []string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib",
}

// findLibrary looks for a library as ld.so(8) does, without LD_LIBRARY_PATH.
func (h *host) findLibrary(name, origin string, runPaths []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, list := range runPaths {
		for _, dir := range strings.Split(list, ":") {
			dir = strings.NewReplacer("${ORIGIN}", origin, "$ORIGIN", origin, "${LIB}", "lib/x86_64-linux-gnu", "$LIB", "lib/x86_64-linux-gnu").Replace(dir)
			if at := filepath.Join(dir, name); filepath.IsAbs(at) && isELF(at) {
				return at, nil
			}
		}
	}
	for _, dir := range standardLibraries {
		if at := filepath.Join(dir, name); isELF(at) {
			return at, nil
		}
	}
	if at := h.cache[name]; at != "" && isELF(at) {
		h.fromCache = true
		return at, nil
	}
	return "", fs.ErrNotExist
}

func isELF(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	ok := f.Class == elf.ELFCLASS64 && f.Machine == elf.EM_X86_64
	return f.Close() == nil && ok
}

// linkerCache is the table of libraries that ldconfig(8) makes.
const linkerCache = "/etc/ld.so.cache"

// readLinkerCache reads the x86-64 libraries of the cache of glibc's dynamic
// linker, in its form since 2.2; an unknown form gives none. See
// sysdeps/generic/dl-cache.h of glibc.
func readLinkerCache(data []byte) map[string]string {
	const (
		magic     = "glibc-ld.so.cache1.1"
		headSize  = 48
		entrySize = 24
		x8664     = 0x0303 // FLAG_ELF_LIBC6 | FLAG_X8664_LIB64
	)
	at := bytes.Index(data, []byte(magic))
	if at < 0 || len(data)-at < headSize {
		return nil
	}
	data = data[at:]
	le := binary.LittleEndian
	n := int(le.Uint32(data[len(magic):]))
	if n > (len(data)-headSize)/entrySize {
		return nil
	}
	text := func(at uint32) string {
		if int64(at) >= int64(len(data)) {
			return ""
		}
		s := data[at:]
		if end := bytes.IndexByte(s[:min(len(s), 4096)], 0); end >= 0 {
			return string(s[:end])
		}
		return ""
	}
	found := map[string]string{}
	for i := range n {
		e := data[headSize+i*entrySize:]
		if le.Uint32(e) != x8664 || le.Uint64(e[16:]) != 0 { // of any processor
			continue
		}
		if name := text(le.Uint32(e[4:])); name != "" && found[name] == "" {
			found[name] = text(le.Uint32(e[8:]))
		}
	}
	return found
}

// inPath makes a program that is in no folder of PATH known by its name.
func (h *host) inPath(name, at string) {
	for dir := range strings.SplitSeq(image.DefaultPath, ":") {
		if _, ok := h.tree.entries[clean(dir+"/"+name)]; ok {
			return
		}
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			if _, ok := h.tree.entries[clean(real+"/"+name)]; ok {
				return
			}
		}
	}
	h.tree.put("usr/local/bin/"+name, entry{mode: fs.ModeSymlink | 0o777, link: at})
}

// The users that exist everywhere; there are no passwords.
const (
	users  = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
	groups = "root:x:0:\nnogroup:x:65534:\n"
)

// finish adds what programs expect of any root.
func (h *host) finish() {
	if h.fromCache {
		if _, err := h.add(linkerCache); err != nil {
			h.fromCache = false // it was there when it was read
		}
	}
	h.tree.put("tmp", entry{mode: fs.ModeDir | fs.ModeSticky | 0o777})
	for at, text := range map[string]string{"etc/passwd": users, "etc/group": groups} {
		if _, ok := h.tree.entries[at]; !ok {
			h.tree.file(at, []byte(text))
		}
	}
	h.tree.put("root", entry{mode: fs.ModeDir | 0o755})
}

// interpreted reports whether an ELF file names a dynamic linker.
func interpreted(path string) (bool, error) {
	f, err := elf.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }), nil
}
