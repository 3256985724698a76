// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// peerServer is the argument that makes this program the server of peers.
const peerServer = "peer-server"

// runner runs a program for one event, which it has on stdin.
type runner interface {
	run(ctx context.Context, event []byte) ([]byte, error)
}

// servePeers reads a line of JSON with peers, prints the address that it serves them
// on, and serves them until its input ends.
func servePeers(in io.Reader, out io.Writer) (err error) {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return err
	}
	var peers []peer
	if err := json.Unmarshal(line, &peers); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	mux := http.NewServeMux()
	var modules wazero.Runtime
	for _, p := range peers {
		var r runner
		switch {
		case p.Wasm != "":
			if modules == nil {
				modules = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler())
				defer func() { err = errors.Join(err, modules.Close(context.WithoutCancel(ctx))) }()
				if _, err := wasi_snapshot_preview1.Instantiate(ctx, modules); err != nil {
					return err
				}
			}
			if r, err = compile(ctx, modules, p.Wasm); err != nil {
				return err
			}
		case len(p.Command) > 0:
			r = &commandRunner{command: p.Command}
		}
		mux.Handle(p.Path, answer(r))
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() {
		_, _ = io.Copy(io.Discard, lines)
		_ = server.Close()
	}()
	if _, err := fmt.Fprintln(out, listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// answer gives the body of a request to a runner as the data of an event, and answers
// with what comes back; without a runner with the body itself.
func answer(r runner) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if r != nil {
			if body, err = json.Marshal(map[string]any{
				"specversion": "1.0", "id": request.Header.Get("Ce-Id"), "source": request.Header.Get("Ce-Source"),
				"type": request.Header.Get("Ce-Type"), "datacontenttype": "application/json", "data": json.RawMessage(body),
			}); err == nil {
				body, err = r.run(request.Context(), body)
			}
			if err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
		head := w.Header()
		head.Set("Ce-Specversion", "1.0")
		head.Set("Ce-Id", request.Header.Get("Ce-Id"))
		head.Set("Ce-Type", "bench.reply")
		head.Set("Ce-Source", "/bench")
		head.Set("Content-Type", "application/json")
		_, _ = w.Write(body) // a sender that went away sees its own error
	})
}

// commandRunner runs a command for each event.
type commandRunner struct {
	command []string
	count   atomic.Uint64
}

func (c *commandRunner) run(ctx context.Context, event []byte) ([]byte, error) {
	args := append([]string(nil), c.command[1:]...)
	if last := len(args) - 1; last >= 0 && strings.Contains(args[last], "{id}") {
		id := strconv.Itoa(os.Getpid()) + "-" + strconv.FormatUint(c.count.Add(1), 10)
		args[last] = strings.ReplaceAll(args[last], "{id}", id)
	}
	return runNative(ctx, event, c.command[0], args...)
}

// moduleRunner runs a new instance of a compiled module for each event.
type moduleRunner struct {
	modules  wazero.Runtime
	compiled wazero.CompiledModule
}

func compile(ctx context.Context, modules wazero.Runtime, file string) (*moduleRunner, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	compiled, err := modules.CompileModule(ctx, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &moduleRunner{modules, compiled}, nil
}

func (m *moduleRunner) run(ctx context.Context, event []byte) ([]byte, error) {
	var out, errs bytes.Buffer
	config := wazero.NewModuleConfig().WithName("").WithArgs("program").
		WithStdin(bytes.NewReader(event)).WithStdout(&out).WithStderr(&errs).
		WithSysWalltime().WithSysNanotime()
	instance, err := m.modules.InstantiateModule(ctx, m.compiled, config)
	if instance != nil {
		err = errors.Join(err, instance.Close(ctx))
	}
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, errs.Bytes())
	}
	return out.Bytes(), nil
}
