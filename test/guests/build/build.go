// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package build compiles the golden guests: the C and C++ files and the Go
// commands in the folders of test/guests, one folder a family. Every program is
// statically linked, so that the same file runs natively and in a virtual
// machine whose root holds nothing but the program.
package build

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Flavour says with which tool and how a guest is built.
type Flavour string

const (
	// Glibc is C with gcc -O2 -static: a program at a fixed address (ET_EXEC).
	Glibc Flavour = "glibc"
	// PIE is C with gcc -O2 -static-pie: a program that relocates itself (ET_DYN).
	PIE Flavour = "pie"
	// Musl is C with musl-gcc -O2 -static.
	Musl Flavour = "musl"
	// Cxx is C++ with g++ -O2 -static.
	Cxx Flavour = "cxx"
	// Go is Go with CGO_ENABLED=0.
	Go Flavour = "go"
)

// tool describes the compiler of a flavour of C.
type tool struct {
	name  string // command
	guest string // what is not tested without it
	ext   string // of the source
	flags []string
}

// common holds what all flavours of C share. Without warnings: guests misuse
// interfaces on purpose, and each release of a compiler warns of more.
var common = []string{"-O2", "-w", "-pthread", "-U_FORTIFY_SOURCE"}

var tools = map[Flavour]tool{
	Glibc: {"gcc", "C guests", ".c", append([]string{"-std=gnu11", "-static"}, common...)},
	PIE:   {"gcc", "C guests", ".c", append([]string{"-std=gnu11", "-static-pie", "-fPIE"}, common...)},
	Musl:  {"musl-gcc", "musl guests", ".c", append([]string{"-std=gnu11", "-static"}, common...)},
	Cxx:   {"g++", "C++ guests", ".cc", append([]string{"-std=c++17", "-static"}, common...)},
}

// jobs is how many C compilers run at once.
const jobs = 2

// Guest names one program to build. The name of a source is used once among
// those of its language, whatever the family.
type Guest struct {
	Source  string // name of a file without its extension, or of a Go command's folder
	Flavour Flavour
}

// Sources returns each source under src once, in a flavour that can build it.
func Sources(src string) ([]Guest, error) {
	var list []Guest
	for _, k := range []struct {
		pattern string
		flavour Flavour
	}{{"*/*.c", Glibc}, {"*/*.cc", Cxx}, {"*/*/main.go", Go}} {
		files, err := filepath.Glob(filepath.Join(src, k.pattern))
		if err != nil {
			return nil, fmt.Errorf("sources of guests: %w", err)
		}
		for _, f := range files {
			if k.flavour == Go {
				f = filepath.Dir(f)
			}
			name := filepath.Base(f)
			list = append(list, Guest{Source: strings.TrimSuffix(name, filepath.Ext(name)), Flavour: k.flavour})
		}
	}
	return list, nil
}

// find returns the one path of a source: the name may lie in any family.
func find(src, name string) (string, error) {
	files, err := filepath.Glob(filepath.Join(src, "*", name))
	switch {
	case err != nil:
		return "", fmt.Errorf("source %s of a guest: %w", name, err)
	case len(files) == 0:
		return "", fmt.Errorf("source %s of a guest in %s: %w", name, src, fs.ErrNotExist)
	case len(files) > 1:
		return "", fmt.Errorf("source of a guest is there twice: %s", strings.Join(files, ", "))
	}
	return files[0], nil
}

// MissingToolError says that a compiler is not installed, and what is
// therefore not tested.
type MissingToolError struct {
	Tool   string
	Guests string
}

func (e *MissingToolError) Error() string {
	return fmt.Sprintf("%s not found: %s are not tested", e.Tool, e.Guests)
}

// Result is the outcome for one guest.
type Result struct {
	Path string // absolute path of the program
	Err  error  // a *MissingToolError, or what the compiler said
}

// Dir returns the folder that keeps compiled guests from one test run to the
// next: one for each checkout, in the user's cache folder, or in the folder for
// temporary files when there is no cache folder.
func Dir(src string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256([]byte(src))
	dir := filepath.Join(cache, "kontain-eventing", fmt.Sprintf("guests-%x", sum[:6]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("folder for compiled guests: %w", err)
	}
	// Guests compare argv[0] with what the kernel says they are.
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return "", fmt.Errorf("folder for compiled guests: %w", err)
	}
	return dir, nil
}

// All builds the guests, whose sources are under src (the folder test/guests),
// into dir, and returns a result for each. C guests are compiled by two
// compilers at once and only when their source, the common header, the flags or
// the compiler changed; Go guests by one call of the go command, which has a
// cache of its own. A lock on dir keeps a second caller waiting. The error is
// not nil only when dir cannot be used.
func All(ctx context.Context, src, dir string, guests []Guest) (map[Guest]Result, error) {
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()

	results := make(map[Guest]Result, len(guests))
	var mu sync.Mutex
	put := func(g Guest, r Result) {
		mu.Lock()
		defer mu.Unlock()
		results[g] = r
	}

	var wg sync.WaitGroup
	slots := make(chan struct{}, jobs)
	versions := map[string]string{} // by command; empty when it is missing
	var goGuests []Guest
	seen := map[Guest]bool{}
	for _, g := range guests {
		if seen[g] {
			continue
		}
		seen[g] = true
		if g.Flavour == Go {
			goGuests = append(goGuests, g)
			continue
		}
		tl, ok := tools[g.Flavour]
		if !ok {
			put(g, Result{Err: fmt.Errorf("guest %s: unknown flavour %q", g.Source, g.Flavour)})
			continue
		}
		if _, ok := versions[tl.name]; !ok {
			versions[tl.name] = version(ctx, tl.name)
		}
		v := versions[tl.name]
		if v == "" {
			put(g, Result{Err: &MissingToolError{Tool: tl.name, Guests: tl.guest}})
			continue
		}
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			path, err := compile(ctx, src, dir, g, tl, v)
			put(g, Result{Path: path, Err: err})
		})
	}
	if len(goGuests) > 0 {
		err := buildGo(ctx, src, dir, goGuests)
		for _, g := range goGuests {
			put(g, Result{Path: filepath.Join(dir, "go", g.Source), Err: err})
		}
	}
	wg.Wait()
	return results, nil
}

// lock takes the lock file of dir and returns how to release it.
func lock(dir string) (func(), error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock of compiled guests: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock of compiled guests: flock %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil // closing releases the lock
}

// version returns what a compiler says of itself, or "" when it is missing.
func version(ctx context.Context, name string) string {
	if _, err := exec.LookPath(name); err != nil {
		return ""
	}
	out, err := exec.CommandContext(ctx, name, "--version").CombinedOutput()
	if err != nil {
		return name // exists; the compilation will say what is wrong with it
	}
	return string(out)
}

// compile builds one C or C++ guest unless dir has it already, and removes
// what older sources of the same guest left there.
func compile(ctx context.Context, src, dir string, g Guest, tl tool, version string) (string, error) {
	file, err := find(src, g.Source+tl.ext)
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("source of guest %s: %w", g.Source, err)
	}
	header, err := os.ReadFile(filepath.Join(src, "guest.h"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // other folders of guests need not have one
		return "", fmt.Errorf("header of the C guests: %w", err)
	}
	own, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*.h")) // of its family
	if err != nil {
		return "", fmt.Errorf("headers of guest %s: %w", g.Source, err)
	}
	for _, name := range own {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fmt.Errorf("header of guest %s: %w", g.Source, err)
		}
		header = append(header, b...)
	}
	h := sha256.New()
	for _, part := range [][]byte{text, header, []byte(version), []byte(strings.Join(tl.flags, " "))} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	prefix := fmt.Sprintf("%s.%s.", g.Source, g.Flavour)
	path := filepath.Join(dir, fmt.Sprintf("%s%x", prefix, h.Sum(nil)[:6]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("guest %s: %w", g.Source, err)
	}
	old, err := filepath.Glob(filepath.Join(dir, prefix+"*"))
	if err != nil {
		return "", fmt.Errorf("guest %s: %w", g.Source, err)
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			return "", fmt.Errorf("guest %s: %w", g.Source, err)
		}
	}
	partial := path + ".partial"
	args := append(slices.Clone(tl.flags), "-I", src, "-o", partial, file, "-lm")
	if out, err := exec.CommandContext(ctx, tl.name, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", tl.name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	if err := os.Rename(partial, path); err != nil {
		return "", fmt.Errorf("guest %s: %w", g.Source, err)
	}
	return path, nil
}

// buildGo builds all Go guests by one call of the go command.
func buildGo(ctx context.Context, src, dir string, guests []Guest) error {
	if _, err := exec.LookPath("go"); err != nil {
		return &MissingToolError{Tool: "go", Guests: "Go guests"}
	}
	out := filepath.Join(dir, "go") + string(filepath.Separator)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("folder for compiled Go guests: %w", err)
	}
	args := []string{"build", "-trimpath", "-o", out}
	for _, g := range guests {
		main, err := find(src, filepath.Join(g.Source, "main.go"))
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(src, filepath.Dir(main))
		if err != nil {
			return fmt.Errorf("source %s of a guest: %w", g.Source, err)
		}
		args = append(args, "./"+rel)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(text))
	}
	return nil
}
