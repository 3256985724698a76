// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"kontain.dev/eventing/vmexec"
)

// errNoCompiler is why what needs the C guest is left out.
var errNoCompiler = errors.New("no C compiler (install gcc and libc6-dev)")

// guests are the programs that are measured.
type guests struct {
	c       string // guest/bench.c; empty without a C compiler
	cErr    error
	goHello string
	goWork  string // guest/compute
}

// program returns the guest that has a mode.
func (g *guests) program(mode string) (string, error) {
	switch {
	case mode == "matmul" || mode == "sha256" || mode == "gzip":
		return g.goWork, nil
	case g.c == "":
		return "", g.cErr
	}
	return g.c, nil
}

// sourceDir returns a folder by its path from the folder of this package.
func sourceDir(elements ...string) (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("the source folder of the benchmarks is not known")
	}
	return filepath.Join(append([]string{filepath.Dir(file)}, elements...)...), nil
}

// buildGuests builds the guests into dir. Without a C compiler the C guest is
// left out and cErr says why.
func buildGuests(ctx context.Context, dir string) (*guests, error) {
	source, err := sourceDir("guest")
	if err != nil {
		return nil, err
	}
	g := &guests{goHello: filepath.Join(dir, "hello-go"), goWork: filepath.Join(dir, "compute-go")}
	for folder, program := range map[string]string{"hello": g.goHello, "compute": g.goWork} {
		build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, ".")
		build.Dir = filepath.Join(source, folder)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the Go guest %s: %w\n%s", folder, err, out)
		}
	}

	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
	}
	if _, err := exec.LookPath(cc); err != nil {
		g.cErr = errNoCompiler
		return g, nil
	}
	c := filepath.Join(dir, "bench-c")
	out, err := exec.CommandContext(ctx, cc, "-std=c11", "-O2", "-static", "-o", c, filepath.Join(source, "bench.c")).CombinedOutput()
	if err != nil {
		g.cErr = fmt.Errorf("build the C guest: %w\n%s", err, out)
		return g, nil
	}
	g.c = c
	return g, nil
}

// reading is what the C guest prints.
type reading struct {
	Ops uint64 `json:"ops"`
	NS  uint64 `json:"ns"`
}

func (r reading) each() float64 { return float64(r.NS) / float64(r.Ops) }

func parseReading(out []byte) (reading, error) {
	var r reading
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("the guest printed %q: %w", out, err)
	}
	if r.Ops == 0 || r.NS == 0 {
		return r, fmt.Errorf("the guest printed %q: nothing was measured", out)
	}
	return r, nil
}

// runNative runs a program as a process of this machine.
func runNative(ctx context.Context, stdin []byte, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Stdin = bytes.NewReader(stdin)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %v natively: %w: %s", filepath.Base(program), args, err, errs.Bytes())
	}
	return out, nil
}

// loaded is a program that is ready to be run in machines.
type loaded struct {
	host    *vmexec.Host
	root    *vmexec.Root
	program *vmexec.Program
	name    string
}

// load opens KVM where it works, and the program.
func load(program string, args ...string) (*loaded, error) {
	return loadOn(vmexec.Auto, program, args...)
}

// loadOn opens a platform and the program.
func loadOn(kind vmexec.Kind, program string, args ...string) (*loaded, error) {
	return loadIn(kind, "", append([]string{program}, args...))
}

// loadIn opens a platform and the program that a command starts, which sees the
// folder root as /, or nothing but itself when that is empty.
func loadIn(kind vmexec.Kind, root string, command []string) (*loaded, error) {
	l := &loaded{name: filepath.Base(command[0])}
	var err error
	if l.host, err = vmexec.Open(kind); err != nil {
		return nil, err
	}
	if root == "" {
		l.root, err = vmexec.ProgramRoot(command[0])
	} else {
		l.root, err = vmexec.DirRoot(root)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.program, err = vmexec.NewProgram(vmexec.ProgramSpec{
		Root: l.root, Path: command[0], Args: command, Env: []string{"PATH=/usr/bin:/bin"},
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Close frees what load opened.
func (l *loaded) Close() error {
	var errs []error
	if l.program != nil {
		errs = append(errs, l.program.Close())
	}
	if l.root != nil {
		errs = append(errs, l.root.Close())
	}
	return errors.Join(append(errs, l.host.Close())...)
}

// run runs the program once in a new machine and returns the result and the
// time from before the machine was made to after it was destroyed.
func (l *loaded) run(ctx context.Context, event []byte) (*vmexec.Result, time.Duration, error) {
	start := time.Now()
	vm, err := l.host.NewVM(l.program, vmexec.Limits{Memory: 512 << 20})
	if err != nil {
		return nil, 0, err
	}
	r, err := vm.Run(ctx, vmexec.IO{Event: event})
	if err := errors.Join(err, vm.Close()); err != nil {
		return nil, 0, err
	}
	took := time.Since(start)
	if status := r.ExitStatus(); status != 0 {
		return nil, 0, fmt.Errorf("%s in a virtual machine: %s, status %d: %s: %s", l.name, r.Reason, status, r.Message, r.Stderr)
	}
	return r, took, nil
}

// runGuest runs a guest's mode in a machine.
func (g *guests) runGuest(ctx context.Context, mode, count string) (reading, *vmexec.Result, error) {
	program, err := g.program(mode)
	if err != nil {
		return reading{}, nil, err
	}
	l, err := load(program, mode, count)
	if err != nil {
		return reading{}, nil, err
	}
	r, _, err := l.run(ctx, nil)
	if err := errors.Join(err, l.Close()); err != nil {
		return reading{}, nil, err
	}
	measured, err := parseReading(r.Stdout)
	return measured, r, err
}

// runGuestNative runs a guest's mode as a process.
func (g *guests) runGuestNative(ctx context.Context, mode, count string) (reading, error) {
	program, err := g.program(mode)
	if err != nil {
		return reading{}, err
	}
	out, err := runNative(ctx, nil, program, mode, count)
	if err != nil {
		return reading{}, err
	}
	return parseReading(out)
}
