// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command files proves: the os and filepath packages on files, folders and
// links in a temporary folder: contents, errors, walking, renaming, removing.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

func main() {
	syscall.Umask(0o022)
	dir, err := os.MkdirTemp("", "guest")
	check(err)
	defer os.RemoveAll(dir)
	check(os.Chdir(dir))
	wd, err := os.Getwd()
	check(err)
	fmt.Println("working directory is right:", wd == dir)
	check(os.MkdirAll("a/b/c", 0o755))
	check(os.WriteFile("a/one", []byte("first\nsecond\n"), 0o640))
	check(os.WriteFile("a/b/two", make([]byte, 300000), 0o600))
	check(os.Symlink("../one", "a/b/link"))
	check(os.Link("a/one", "a/hard"))
	check(os.Rename("a/b/c", "a/c"))
	check(filepath.WalkDir("a", func(p string, d fs.DirEntry, err error) error {
		check(err)
		info, err := d.Info()
		check(err)
		size := info.Size()
		if d.IsDir() {
			size = 0
		}
		fmt.Println(p, info.Mode(), size)
		return nil
	}))
	text, err := os.ReadFile("a/b/link")
	check(err)
	fmt.Printf("%q\n", text)
	target, err := os.Readlink("a/b/link")
	check(err)
	fmt.Println(target)

	f, err := os.OpenFile("a/one", os.O_APPEND|os.O_RDWR, 0)
	check(err)
	_, err = f.WriteString("third\n")
	check(err)
	_, err = f.Seek(6, io.SeekStart)
	check(err)
	for s := bufio.NewScanner(f); s.Scan(); {
		fmt.Println("line", s.Text())
	}
	_, err = f.ReadAt(make([]byte, 10), 100)
	fmt.Println(err)
	check(f.Truncate(3))
	info, err := f.Stat()
	check(err)
	fmt.Println(info.Name(), info.Size(), info.Mode(), time.Since(info.ModTime()) < time.Hour)
	check(f.Close())
	fmt.Println(f.Close())

	_, err = os.Open("missing")
	fmt.Println(err, errors.Is(err, fs.ErrNotExist))
	fmt.Println(os.Mkdir("a", 0o755))
	fmt.Println(os.Remove("a"))
	_, err = os.ReadDir("a/one")
	fmt.Println(errors.Is(err, syscall.ENOTDIR))
	_, err = os.OpenFile("a/one", os.O_CREATE|os.O_EXCL, 0o600)
	fmt.Println(errors.Is(err, fs.ErrExist))
	_, err = os.ReadFile("a")
	fmt.Println(err)

	src, err := os.Open("a/b/two")
	check(err)
	dst, err := os.Create("copy")
	check(err)
	n, err := io.Copy(dst, src)
	fmt.Println("copied", n, err)
	check(os.Chtimes("copy", time.Unix(1000, 0), time.Unix(2000, 0)))
	info, err = os.Stat("copy")
	check(err)
	fmt.Println(info.ModTime().Unix())
	names, err := filepath.Glob("a/*")
	fmt.Println(strings.Join(names, " "), err)
	check(os.RemoveAll("a"))
	entries, err := os.ReadDir(".")
	fmt.Println(entries, err)
	host, err := os.Hostname()
	fmt.Println(host != "", err)
	exe, err := os.Executable()
	fmt.Println(exe == os.Args[0], err)
}
