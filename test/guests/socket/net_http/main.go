// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command net_http proves: an HTTP server and its clients in one program: many at
// once, kept connections, large bodies both ways, a client that gives up, shutdown.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
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
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "hello %s", r.URL.Query().Get("n")) })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	slow := make(chan struct{})
	mux.HandleFunc("/slow", func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(slow)
	})
	l, err := net.Listen("tcp", "localhost:0")
	check(err)
	s := &http.Server{Handler: mux}
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	base := "http://" + l.Addr().String()

	var wg sync.WaitGroup
	answers := make([]string, 20)
	for i := range answers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			r, err := http.Get(fmt.Sprintf("%s/hello?n=%d", base, i))
			check(err)
			b, err := io.ReadAll(r.Body)
			check(err)
			r.Body.Close()
			answers[i] = string(b)
		}()
	}
	wg.Wait()
	fmt.Println(strings.Join(answers, ","))

	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	r, err := http.Post(base+"/echo", "text/plain", bytes.NewReader(big))
	check(err)
	b, err := io.ReadAll(r.Body)
	check(err)
	r.Body.Close()
	fmt.Println(r.Status, len(b), bytes.Equal(b, big))

	r, err = http.Get(base + "/nosuch")
	check(err)
	fmt.Println(r.StatusCode)
	r.Body.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/slow", nil)
	check(err)
	_, err = http.DefaultClient.Do(req)
	fmt.Println(errors.Is(err, context.DeadlineExceeded))
	cancel()
	<-slow

	check(s.Shutdown(context.Background()))
	fmt.Println(<-done)
	_, err = http.Get(base + "/hello")
	fmt.Println(err != nil && strings.Contains(err.Error(), "connection refused"))
}
