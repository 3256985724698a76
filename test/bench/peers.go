// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// peer is what people would use instead: the same program for the same event, behind
// the same kind of HTTP server.
type peer struct {
	Path    string   `json:"path"`              // of its URL
	Command []string `json:"command,omitempty"` // runs the program; {id} is another name in each
	Wasm    string   `json:"wasm,omitempty"`    // or the file of a WASI module
	// neither: the server answers by itself

	name     string
	language string // whose rows of ours it stands beside
	note     string
	every    int // of the rounds, one in so many has an event
	clients  int
	err      error
}

// peers starts the server of peers and returns those that work here. The report names
// the others.
func (b *bench) peers(ctx context.Context) (_ []*endpoint, stop func() error, err error) {
	dir := filepath.Join(b.dir, "peers")
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // Other users' sandboxes look into it.
		return nil, nil, err
	}
	var works []*peer
	for _, p := range b.allPeers(ctx, dir) {
		if p.err == nil && len(p.Command) > 0 {
			p.err = tryPeer(ctx, p)
		}
		if p.err != nil {
			b.report.skip("peer over HTTP, "+p.name, p.err)
			continue
		}
		works = append(works, p)
	}
	base, stop, err := startPeers(ctx, works)
	if err != nil {
		return nil, nil, err
	}
	var endpoints []*endpoint
	for _, p := range works {
		endpoints = append(endpoints, &endpoint{
			name: ", " + p.name, note: p.note, url: base + p.Path, every: p.every, clients: p.clients, language: p.language,
		})
	}
	return endpoints, stop, nil
}

// allPeers prepares what peers need below dir.
func (b *bench) allPeers(ctx context.Context, dir string) []*peer {
	c, golang, python := b.function("C"), b.function("Go"), b.function("Python")
	all := []*peer{{name: "HTTP echo in Go, nothing is run", language: "C", every: 1, clients: 10_000}}
	for i, f := range []*function{c, golang, python} {
		all = append(all, &peer{
			name: "fork and exec, " + f.language, language: f.language, Command: f.command(), err: f.err,
			every: []int{1, 1, 4}[i], clients: []int{500, 250, 20}[i],
		})
	}
	for i, f := range []*function{c, python} {
		p := &peer{name: "bubblewrap, " + f.language, language: f.language, err: f.err, every: []int{2, 8}[i], clients: []int{100, 20}[i]}
		if p.err == nil {
			p.Command, p.err = bubblewrap(f)
		}
		all = append(all, p)
	}
	for _, runtime := range []string{"runc", "runsc"} {
		p := &peer{name: map[string]string{"runc": "runc, C", "runsc": "gVisor (runsc), C"}[runtime], language: "C", err: c.err, every: 20, clients: 20}
		if runtime == "runsc" {
			p.every, p.clients = 40, 8
		}
		if p.err == nil {
			p.err = p.container(ctx, runtime, filepath.Join(dir, runtime), c.path)
		}
		all = append(all, p)
	}
	for _, f := range []*function{c, golang} {
		p := &peer{name: "wazero (WASI, compiled once), " + f.language, language: f.language, every: 2, clients: 250}
		p.Wasm, p.err = wasm(ctx, dir, f.language)
		all = append(all, p)
	}
	for i, p := range all {
		p.Path = "/" + strconv.Itoa(i)
	}
	return all
}

// bubblewrap is the command that runs a function in namespaces of its own.
func bubblewrap(f *function) ([]string, error) {
	bwrap, err := exec.LookPath("bwrap")
	if err != nil {
		return nil, err
	}
	command := []string{bwrap, "--unshare-all", "--die-with-parent", "--new-session"}
	if f.root != "" {
		return append(append(command, "--ro-bind", f.root, "/", "--proc", "/proc", "--dev", "/dev", "--"), f.command()...), nil
	}
	return append(append(command, "--ro-bind", f.path, "/program", "--proc", "/proc", "--dev", "/dev", "--", "/program"), f.args...), nil
}

// container makes a bundle with one static program for an OCI runtime.
func (p *peer) container(ctx context.Context, runtime, dir, program string) error {
	path, err := exec.LookPath(runtime)
	if err != nil {
		return err
	}
	root := filepath.Join(dir, "rootfs")
	if err := os.MkdirAll(root, 0o755); err != nil { //nolint:gosec // The container's user looks into it.
		return err
	}
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "program"), text, 0o755); err != nil { //nolint:gosec // It is executed.
		return err
	}
	flags := []string{"spec"}
	if os.Getuid() != 0 && runtime == "runc" {
		flags = append(flags, "--rootless")
	}
	spec := exec.CommandContext(ctx, path, flags...)
	spec.Dir = dir
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("%s spec: %w: %s", runtime, err, out)
	}
	if err := editSpec(filepath.Join(dir, "config.json")); err != nil {
		return err
	}
	state := filepath.Join(dir, "state")
	switch runtime {
	case "runsc":
		p.Command = []string{path, "--root", state, "--network=none", "--ignore-cgroups"}
		if os.Getuid() != 0 {
			p.Command = append(p.Command, "--rootless")
		}
	default:
		p.Command = []string{path, "--root", state}
	}
	p.Command = append(p.Command, "run", "--bundle", dir, "kontain-bench-{id}")
	return nil
}

// editSpec has a bundle run /program on a pipe.
func editSpec(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	process, ok := config["process"].(map[string]any)
	if !ok {
		return fmt.Errorf("%s has no process", file)
	}
	process["args"], process["terminal"] = []string{"/program"}, false
	config["root"] = map[string]any{"path": "rootfs", "readonly": true}
	if text, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

// wasm builds a sample as a WASI module.
func wasm(ctx context.Context, dir, language string) (string, error) {
	samples, err := sourceDir("..", "..", "samples")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, strings.ToLower(language)+".wasm")
	var build *exec.Cmd
	switch language {
	case "Go":
		build = exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, ".")
		build.Dir = filepath.Join(samples, "uppercase-go")
		build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	default:
		clang, err := exec.LookPath("clang")
		if err != nil {
			return "", err
		}
		build = exec.CommandContext(ctx, clang, "--target=wasm32-wasi", "-std=c11", "-O2", "-o", out,
			filepath.Join(samples, "wordcount-c", "main.c"), filepath.Join(samples, "internal", "json.c"))
	}
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a WASI module of %s: %w: %s", language, err, text)
	}
	return out, nil
}

// tryPeer runs a command once, so that one that cannot work here is named instead of
// failing all.
func tryPeer(ctx context.Context, p *peer) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	out, err := (&commandRunner{command: p.Command}).run(ctx, []byte(eventJSON))
	if err == nil && len(out) == 0 {
		err = errors.New("it answered nothing")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(p.Command[0]), err)
	}
	return nil
}

// startPeers starts the server of peers: this program in a process of its own, as our
// receiver is in one.
func startPeers(ctx context.Context, peers []*peer) (base string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	config, err := json.Marshal(peers)
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, self, peerServer)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe() // its end is the server's
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			return fmt.Errorf("the server of peers: %w", err)
		}
		return nil
	}
	if _, err := in.Write(append(config, '\n')); err != nil {
		return "", nil, errors.Join(err, stop())
	}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return "http://" + strings.TrimSpace(address), stop, nil
}
