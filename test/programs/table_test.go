// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package programs

// script runs the text in a file of testdata by an interpreter.
func script(name, tool, file string, flags ...string) program {
	return program{name: name, tools: []string{tool}, args: append(flags, "{dir}/"+file), files: map[string]string{file: source(file)}}
}

// Calls that many programs need.
var (
	children = []string{"execve", "vfork", "wait4"}
	sockets  = []string{"socket", "accept4"}
	both     = append(sockets, children...)
)

// needing adds calls to a program.
func needing(p program, calls []string) program {
	p.calls = calls
	return p
}

var shellPrograms = []program{
	{name: "sh_echo", tools: []string{"sh"}, args: []string{"-c", "echo one two; exit 3"}, want: "one two\n", status: 3},
	needing(script("sh_pipes", "sh", "pipes.sh"), children),
	needing(script("bash_jobs", "bash", "jobs.bash"), both),
	{name: "busybox_pipes", calls: children, tools: []string{"busybox"}, args: []string{"sh", "{dir}/pipes.sh"}, files: map[string]string{"pipes.sh": source("pipes.sh")}},
	// A script is a program, too.
	{name: "shebang", calls: children, args: []string{"say", "a b"}, files: map[string]string{"say": "#!/bin/sh -e\nprintf '<%s>\\n' \"$0\" \"$@\" | sed s,.*/,,\n"}},
}

var pythonPrograms = []program{
	{name: "python_c", tools: []string{"python3"}, args: []string{"-c", "import sys; print(sum(range(10)), sys.argv[1:])", "x"}, want: "45 ['x']\n"},
	script("python_json", "python3", "json_text.py"),
	script("python_threading", "python3", "threads.py"),
	needing(script("python_subprocess", "python3", "processes.py"), children),
	needing(script("python_asyncio", "python3", "async.py"), both),
	needing(script("python_http", "python3", "http_server.py"), sockets),
	needing(script("python_multiprocessing", "python3", "multi.py"), children),
	script("python_sqlite", "python3", "database.py"),
}

var nodePrograms = []program{
	script("node_timers", "node", "timers.js"),
	script("node_workers", "node", "workers.js"),
	needing(script("node_http", "node", "http.js"), sockets),
	needing(script("node_processes", "node", "processes.js"), both),
}

var scriptPrograms = []program{
	needing(script("perl", "perl", "text.pl"), children),
	needing(script("tclsh", "tclsh", "text.tcl"), both),
}

var javaPrograms = []program{
	{
		name: "java_hello", tools: []string{"java", "javac"}, args: []string{"-cp", "{dir}", "Hello", "a"},
		files: map[string]string{"Hello.java": source("Hello.java")}, build: compile("javac", "Hello.java"),
	},
	{
		name: "java_http", calls: sockets, tools: []string{"java", "javac"}, args: []string{"-cp", "{dir}", "Server"},
		files: map[string]string{"Server.java": source("Server.java")}, build: compile("javac", "Server.java"),
	},
	{
		name: "java_source", calls: sockets, tools: []string{"java", "javac"}, args: []string{"{dir}/Hello.java", "b"}, files: map[string]string{"Hello.java": source("Hello.java")}, slow: true,
	},
}

var compiledPrograms = []program{
	{
		name: "cxx", args: []string{"cxx"}, files: map[string]string{"cxx.cc": source("cxx.cc")},
		status: 7, build: compile("g++", "-std=c++17", "-O2", "-o", "cxx", "cxx.cc", "-pthread"),
	},
	{
		name: "rust", calls: both, args: []string{"rust"}, files: map[string]string{"rust.rs": source("rust.rs")},
		status: 5, build: compile("rustc", "-O", "-o", "rust", "rust.rs"),
	},
}

var toolPrograms = []program{
	{name: "sqlite_file", tools: []string{"sqlite3"}, args: []string{"{dir}/a.db"}, stdin: source("tables.sql")},
	{name: "sqlite_wal", tools: []string{"sqlite3"}, args: []string{"{dir}/b.db"}, stdin: "PRAGMA journal_mode=WAL;\n" + source("tables.sql")},
	needing(script("git", "sh", "git.sh"), children),
	{name: "gcc", calls: children, tools: []string{"sh", "gcc"}, args: []string{"-ec", "gcc -O1 -o hello hello.c && ./hello world && nm hello | grep -c ' T main'"}, files: map[string]string{"hello.c": source("hello.c")}, slow: true},
	{
		name: "go_vet", tools: []string{"sh", "go"}, args: []string{"-c", "go vet . 2>&1; echo $?"}, slow: true, build: goCache, calls: children,
		files: map[string]string{"go.mod": "module example.com/vet\n\ngo 1.21\n", "main.go": source("vet.go.txt")},
		env:   []string{"GOCACHE={dir}/cache", "GOFLAGS=", "GOTOOLCHAIN=local", "CGO_ENABLED=0"},
	},
}
