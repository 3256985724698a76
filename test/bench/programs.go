// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kontain.dev/eventing/vmexec"
)

// function is a program that answers an event.
type function struct {
	language string
	path     string   // of the executable
	args     []string // after its name
	root     string   // the folder that the guest sees; empty: the program alone
	err      error    // why it cannot be measured here; path is then of no use

	// all: it is measured on every platform; otherwise on the first that works.
	all bool
	// every and clients belong to tiers, index by index.
	every   [4]int        // of the rounds, one in so many has an event
	clients [4]int        // events of each of two clients
	pause   time.Duration // after an event of a tier that prepares its next machine meanwhile
	wanted  [4]string     // the time of one event
}

// command is what starts the program.
func (f *function) command() []string { return append([]string{f.path}, f.args...) }

// spec is the part of a manifest that says what runs.
func (f *function) spec() map[string]any {
	spec := map[string]any{
		"program": f.path, "contract": map[string]any{"type": "stdio"},
		"reply": map[string]any{"type": "bench.reply", "source": "/bench"},
	}
	if f.root != "" {
		spec["root"] = f.root
	}
	if len(f.args) > 0 {
		spec["args"] = f.args
	}
	return spec
}

// What the interpreters run: each answers an event with its text in upper case. What
// comes before the read is paid once.
const (
	pythonHandler = `import json, sys
json.loads("{}")
d = json.load(sys.stdin)
print(json.dumps({"text": d["data"]["text"].upper()}))
`
	// Python takes itself apart at its end, which costs many times what the event does:
	// it writes to most of the pages that it has. os._exit leaves that out.
	pythonExitHandler = `import json, os, sys
json.loads("{}")
d = json.load(sys.stdin)
print(json.dumps({"text": d["data"]["text"].upper()}), flush=True)
os._exit(0)
`
	nodeHandler = `const {readFileSync, writeSync} = require('node:fs');
JSON.parse('{}');
const event = JSON.parse(readFileSync(0));
writeSync(1, JSON.stringify({text: event.data.text.toUpperCase()}) + '\n');
`
)

// functions are the programs whose events are measured.
func (b *bench) functions() []*function {
	if b.programs != nil {
		return b.programs
	}
	sample := func(language, name string) *function {
		f := &function{
			language: language, path: filepath.Join(b.bin, "samples", name), all: true,
			every: [4]int{10, 1, 1, 1}, clients: [4]int{250, 4000, 500, 1000}, pause: 8 * time.Millisecond,
			wanted: [4]string{"", "0.35 ms, p99 4 ms", "1 ms, p99 4 ms", "0.6 ms, p99 4 ms"},
		}
		if _, err := os.Stat(f.path); err != nil {
			f.err = fmt.Errorf("%w; see make build", err)
		}
		return f
	}
	interpreter := func(language, path, file, text string, err error) *function {
		f := &function{language: language, path: path, args: []string{filepath.Join(b.dir, file)}, root: "/", err: err, pause: 25 * time.Millisecond}
		if err == nil {
			f.err = os.WriteFile(f.args[0], []byte(text), 0o644) //nolint:gosec // A worker under a user of its own reads it.
		}
		return f
	}
	path, err := pythonPath()
	python := interpreter("Python", path, "handler.py", pythonHandler, err)
	python.every, python.clients = [4]int{20, 1, 1, 1}, [4]int{20, 1000, 125, 250}
	python.wanted = [4]string{"", "2 ms", "4 ms", "3 ms"}
	exit := interpreter("Python with os._exit", path, "exit.py", pythonExitHandler, err)
	exit.every, exit.clients, exit.wanted = python.every, python.clients, python.wanted
	path, err = nodePath()
	node := interpreter("Node", path, "handler.js", nodeHandler, err)
	node.every, node.clients = [4]int{200, 4, 4, 4}, [4]int{8, 400, 60, 100}
	b.programs = []*function{sample("C", "wordcount-c"), sample("Go", "uppercase-go"), python, exit, node}
	return b.programs
}

// function returns the one of a language.
func (b *bench) function(language string) *function {
	for _, f := range b.functions() {
		if f.language == language {
			return f
		}
	}
	return &function{language: language, err: errors.New("no program in this language")}
}

// pythonPath finds the interpreter itself: python3 in PATH may be a wrapper, such as
// that of pyenv.
func pythonPath() (string, error) {
	out, err := exec.Command("python3", "-c", "import os, sys; print(os.path.realpath(sys.executable))").Output()
	if err != nil {
		return "", fmt.Errorf("python3: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

func nodePath() (string, error) {
	out, err := exec.Command("node", "-p", "fs.realpathSync(process.execPath)").Output()
	if err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// load opens a platform and the program.
func (f *function) load(kind vmexec.Kind) (*loaded, error) {
	if f.err != nil {
		return nil, f.err
	}
	l, err := loadIn(kind, f.root, f.command())
	if err == nil {
		l.name = f.language
	}
	return l, err
}

// writeSink writes a manifest into a folder. What more says is added to spec.
func writeSink(dir, name string, spec, more map[string]any) error {
	text, err := json.Marshal(manifestOf(name, spec, more))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name+".json"), text, 0o600)
}

func manifestOf(name string, spec, more map[string]any) map[string]any {
	all := map[string]any{}
	for _, from := range []map[string]any{spec, more} {
		for key, value := range from {
			all[key] = value
		}
	}
	return map[string]any{
		"apiVersion": "sinks.kontain.dev/v1alpha1", "kind": "KontainSink",
		"metadata": map[string]any{"name": name}, "spec": all,
	}
}
