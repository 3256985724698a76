// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Program client connects to what its events name, and says what came of it. With an
// argument it connects to that before it reads its event.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

type request struct {
	Do   string // what to do
	Addr string // HOST:PORT
	N    int    // bytes
}

func main() {
	var held net.Conn
	if len(os.Args) > 1 {
		var err error
		if held, err = net.Dial("tcp", os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, "before the event:", err)
			os.Exit(1)
		}
		if _, err := io.ReadFull(held, make([]byte, 1)); err != nil {
			fmt.Fprintln(os.Stderr, "before the event:", err)
			os.Exit(1)
		}
	}
	var event struct{ Data request }
	in, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(in, &event)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	said, err := do(event.Data, held)
	if err != nil {
		said = "error: " + text(err)
	}
	out, _ := json.Marshal(said)
	os.Stdout.Write(out)
}

// text is an error without what is different each time.
func text(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.Err
	}
	return err.Error()
}

func do(r request, held net.Conn) (string, error) {
	switch r.Do {
	case "echo": // what is sent comes back
		c, err := net.Dial("tcp", r.Addr)
		if err != nil {
			return "", err
		}
		defer c.Close()
		b := bytes.Repeat([]byte("0123456789abcdef"), r.N/16+1)[:r.N]
		go func() {
			c.Write(b)
			c.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(got, b) {
			err = fmt.Errorf("%d bytes came back, of %d", len(got), len(b))
		}
		return fmt.Sprintf("%d bytes", len(got)), err
	case "send": // and end at once
		c, err := net.Dial("tcp", r.Addr)
		if err != nil {
			return "", err
		}
		n, err := c.Write(make([]byte, r.N))
		return fmt.Sprintf("%d bytes", n), err
	case "first": // one byte of what comes, and no more
		c, err := net.Dial("tcp", r.Addr)
		if err != nil {
			return "", err
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		return "a byte", err
	case "read": // all that comes
		c, err := net.Dial("tcp", r.Addr)
		if err != nil {
			return "", err
		}
		got, err := io.ReadAll(c)
		return string(got), err
	case "held":
		_, err := held.Read(make([]byte, 1))
		return "", err
	case "many": // as many connections as there are
		n := 0
		var all []net.Conn // so that none is collected
		for {
			c, err := net.Dial("tcp", r.Addr)
			if err != nil {
				return fmt.Sprintf("%d, then %s", n, text(err)), nil
			}
			all = append(all, c)
			n = len(all)
		}
	case "lookup":
		all, err := net.DefaultResolver.LookupHost(context.Background(), r.Addr)
		slices.Sort(all)
		return strings.Join(all, " "), err
	case "udp":
		c, err := net.Dial("udp", r.Addr)
		if err != nil {
			return "", err
		}
		_, err = c.Write([]byte("x"))
		return "sent", err
	}
	return "", errors.New("what?")
}
