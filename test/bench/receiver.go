// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

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
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"kontain.dev/eventing/vmexec"
)

// receiver is a `kontain serve`.
type receiver struct {
	base    string // its URL, without a slash at the end
	pid     int
	started time.Time

	cmd   *exec.Cmd
	log   bytes.Buffer
	ended chan struct{} // closed when it has ended, with err
	err   error
}

// serve starts `kontain serve` on a free port and waits until it listens. Its
// snapshots and images are in the folder of this run, and none of the user's.
func (b *bench) serve(ctx context.Context, manifests string, kind vmexec.Kind, flags ...string) (*receiver, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	r := &receiver{base: "http://" + address, ended: make(chan struct{})}
	r.cmd = exec.CommandContext(ctx, b.kontain(), append([]string{
		"serve", "-f", manifests, "--platform", string(kind),
		"--listen", address, "--drain-quiet-period", "1ms",
	}, flags...)...)
	r.cmd.Env = b.environment()
	r.cmd.Cancel = func() error { return r.cmd.Process.Signal(syscall.SIGTERM) }
	r.cmd.WaitDelay = 10 * time.Second
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	r.started = time.Now()
	if err := r.cmd.Start(); err != nil {
		return nil, err
	}
	r.pid = r.cmd.Process.Pid
	go func() {
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	for deadline := r.started.Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return r, conn.Close()
		}
		select {
		case <-r.ended:
			return nil, fmt.Errorf("kontain serve ended: %w\n%s", r.err, &r.log)
		default:
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("kontain serve does not listen on %s", address), r.stop())
		}
	}
}

// ready waits until a sink is served.
func (r *receiver) ready(ctx context.Context, most time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/readyz", nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return fmt.Errorf("kontain serve is not ready: %w", errors.Join(err, r.stop()))
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err := errors.Join(err, response.Body.Close()); err != nil {
			return err
		}
		if response.StatusCode == http.StatusOK {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}

// stop ends it, and returns the error of its end with what it logged, which is not to
// be read before. It may be called again.
func (r *receiver) stop() error {
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-r.ended
	http.DefaultClient.CloseIdleConnections()
	if r.err != nil {
		return fmt.Errorf("kontain serve ended: %w\n%s", r.err, &r.log)
	}
	return nil
}

// url is that of a sink.
func (r *receiver) url(sink string) string { return r.base + "/default/" + sink }

func (b *bench) kontain() string { return filepath.Join(b.bin, "kontain") }

// environment keeps what a measured command leaves on disk in the folder of this run.
func (b *bench) environment() []string {
	return append(os.Environ(), "KONTAIN_SNAPSHOT_DIR="+filepath.Join(b.dir, "snapshots"), "KONTAIN_IMAGE_DIR="+filepath.Join(b.dir, "images"))
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// postTo sends one event to a sink and returns the body of the answer, and the time
// until it was read. An answer without an event is an error.
func postTo(ctx context.Context, client *http.Client, url, data string) ([]byte, time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(data))
	if err != nil {
		return nil, 0, err
	}
	request.Header = http.Header{
		"Ce-Specversion": {"1.0"},
		"Ce-Id":          {"1"},
		"Ce-Source":      {"/bench"},
		"Ce-Type":        {"bench"},
		"Content-Type":   {"application/json"},
	}
	start := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return nil, 0, err
	}
	body, err := io.ReadAll(response.Body)
	took := time.Since(start)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		return nil, 0, err
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Ce-Id") == "" {
		return nil, 0, fmt.Errorf("%s answered %s without a reply event: %s", url, response.Status, body)
	}
	return body, took, nil
}

// post sends one event and returns the time until the reply was read.
func post(ctx context.Context, url string) (time.Duration, error) {
	_, took, err := postTo(ctx, http.DefaultClient, url, eventData)
	return took, err
}
