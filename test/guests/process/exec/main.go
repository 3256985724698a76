// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Go's os/exec: outputs, pipes, exit errors, signals, contexts, extra files, many at once.
// The program that is started is this one.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func child(mode string) {
	switch mode {
	case "upper":
		b, _ := io.ReadAll(os.Stdin)
		fmt.Print(strings.ToUpper(string(b)))
	case "fail":
		fmt.Fprintln(os.Stderr, "on stderr")
		os.Exit(7)
	case "env":
		fmt.Println(os.Getenv("A"), len(os.Environ()), os.Args[2:])
		dir, _ := os.Getwd()
		fmt.Println(dir)
	case "extra":
		_, _ = io.Copy(os.Stdout, os.NewFile(3, "extra"))
	case "sleep":
		fmt.Println("sleeps")
		time.Sleep(time.Hour)
	case "term":
		c := make(chan os.Signal, 1)
		signal.Notify(c, syscall.SIGTERM)
		fmt.Println("ready")
		fmt.Println("got", <-c)
		os.Exit(3)
	}
	os.Exit(0)
}

func main() {
	if len(os.Args) > 1 {
		child(os.Args[1])
	}
	self, err := os.Executable()
	check(err)
	cmd := func(args ...string) *exec.Cmd { return exec.Command(self, args...) }

	c := cmd("upper")
	c.Stdin = strings.NewReader("through pipes")
	out, err := c.Output()
	fmt.Printf("%s %v\n", out, err)

	out, err = cmd("fail").CombinedOutput()
	var ee *exec.ExitError
	fmt.Printf("%q %v %v\n", out, errors.As(err, &ee), ee.ExitCode())

	c = cmd("env", "x", "y z")
	c.Env, c.Dir = []string{"A=b"}, "/tmp"
	out, err = c.Output()
	fmt.Printf("%q %v\n", out, err)

	r, w, err := os.Pipe()
	check(err)
	c = cmd("extra")
	c.ExtraFiles = []*os.File{r}
	var b bytes.Buffer
	c.Stdout = &b
	check(c.Start())
	check(r.Close())
	_, err = w.WriteString("by descriptor 3")
	check(err)
	check(w.Close())
	fmt.Println(c.Wait(), b.String())

	ctx, cancel := context.WithCancel(context.Background())
	c = exec.CommandContext(ctx, self, "sleep")
	p, err := c.StdoutPipe()
	check(err)
	check(c.Start())
	_, err = p.Read(make([]byte, 10))
	check(err)
	cancel()
	fmt.Println(c.Wait(), ctx.Err())

	c = cmd("term")
	p, err = c.StdoutPipe()
	check(err)
	check(c.Start())
	_, err = p.Read(make([]byte, 5))
	check(err)
	check(c.Process.Signal(syscall.SIGTERM))
	rest, _ := io.ReadAll(p)
	fmt.Printf("%q %v\n", strings.TrimSpace(string(rest)), c.Wait())
	fmt.Println(c.Process.Signal(syscall.SIGTERM))

	fmt.Println(exec.Command("/missing").Run())
	fmt.Println(exec.Command("/tmp").Run())

	var wg sync.WaitGroup
	outs := make([]string, 8)
	for i := range outs {
		wg.Go(func() {
			c := cmd("upper")
			c.Stdin = strings.NewReader(fmt.Sprint("job ", i))
			o, err := c.Output()
			outs[i] = fmt.Sprint(string(o), err)
		})
	}
	wg.Wait()
	fmt.Println(outs)
}

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}
