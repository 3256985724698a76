// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command net_sockets proves package net: UDP and unix sockets, deadlines, closing
// under a blocked reader, what an interface is, and names that need no server.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	_ "kontain.dev/eventing/test/guests/internal/wait"
)

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func main() {
	dir, err := os.MkdirTemp("", "net")
	check(err)
	defer os.RemoveAll(dir)

	for _, a := range [][2]string{{"udp", "127.0.0.1:0"}, {"udp", "[::1]:0"}, {"unixgram", filepath.Join(dir, "gram")}} {
		p, err := net.ListenPacket(a[0], a[1])
		check(err)
		c, err := net.Dial(p.LocalAddr().Network(), p.LocalAddr().String())
		check(err)
		_, err = c.Write([]byte("datagram"))
		check(err)
		buf := make([]byte, 64)
		n, from, err := p.ReadFrom(buf)
		fmt.Println(a[0], string(buf[:n]), err, from != nil && from.String() == c.LocalAddr().String())
		check(p.SetReadDeadline(time.Now().Add(20 * time.Millisecond)))
		_, _, err = p.ReadFrom(buf)
		fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))
		c.Close()
		p.Close()
	}

	for _, a := range [][2]string{{"tcp", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"tcp", ":0"}, {"unix", filepath.Join(dir, "stream")}, {"unix", "@kontain-net-sockets"}, {"unixpacket", filepath.Join(dir, "packet")}} {
		l, err := net.Listen(a[0], a[1])
		check(err)
		got := make(chan string)
		go func() {
			c, err := l.Accept()
			check(err)
			b, err := io.ReadAll(c)
			check(err)
			_, err = c.Write(b)
			check(err)
			c.Close()
			got <- fmt.Sprint(len(b))
		}()
		to := l.Addr().String()
		if a[1] == ":0" {
			to = fmt.Sprintf("localhost:%d", l.Addr().(*net.TCPAddr).Port)
		}
		c, err := net.Dial(l.Addr().Network(), to)
		check(err)
		for range 20 {
			_, err = c.Write([]byte(strings.Repeat("x", 5000)))
			check(err)
		}
		check(c.(interface{ CloseWrite() error }).CloseWrite())
		b, err := io.ReadAll(c)
		fmt.Println(a[0], len(b), err, <-got)
		c.Close()
		l.Close()
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	c, err := net.Dial("tcp", l.Addr().String())
	check(err)
	go func() {
		time.Sleep(20 * time.Millisecond)
		c.Close()
		l.Close()
	}()
	_, err = c.Read(make([]byte, 1))
	fmt.Println(errors.Is(err, net.ErrClosed))
	l.Accept() // the connection
	_, err = l.Accept()
	fmt.Println(errors.Is(err, net.ErrClosed))
	_, err = net.DialTimeout("tcp", l.Addr().String(), 5*time.Second)
	fmt.Println(strings.HasSuffix(err.Error(), "connection refused"))

	lo, err := net.InterfaceByName("lo")
	check(err)
	fmt.Println(lo.Index, lo.MTU, lo.Flags&(net.FlagUp|net.FlagLoopback))
	addrs, err := lo.Addrs()
	fmt.Println(addrs, err)
	names, err := net.LookupHost("127.0.0.1")
	fmt.Println(names, err)
	port, err := net.LookupPort("tcp", "443")
	fmt.Println(port, err)
}
