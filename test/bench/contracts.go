// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kontain.dev/eventing/vmexec"
)

// contractData is what the samples that are measured have an answer to.
const contractData = `{"name":"you","items":[{"price":2.5,"count":4}],"item":"tea","quantity":24}`

// service is a sample of a contract in one language.
type service struct {
	function
	contract string
	wanted   string        // the time of one event
	every    int           // of the rounds, one in so many starts it natively
	pause    time.Duration // after an event of a tier that prepares its next machine meanwhile
}

// services are the samples whose events are measured.
func (b *bench) services(ctx context.Context) ([]*service, error) {
	samples, err := sourceDir("..", "..", "samples")
	if err != nil {
		return nil, err
	}
	built := func(contract, name, wanted string) *service {
		s := &service{contract: contract, wanted: wanted, every: 10, pause: 8 * time.Millisecond}
		s.language, s.path = "Go", filepath.Join(b.bin, "samples", name)
		if _, err := os.Stat(s.path); err != nil {
			s.err = fmt.Errorf("%w; see make build", err)
		}
		return s
	}
	script := func(language, path, file, wanted string, err error) *service {
		s := &service{contract: "http", wanted: wanted, every: 20, pause: 25 * time.Millisecond}
		s.language, s.path, s.args, s.root, s.err = language, path, []string{file}, "/", err
		return s
	}
	python, pythonErr := pythonPath()
	node, nodeErr := nodePath()
	modules := filepath.Join(b.dir, "http-node")
	if nodeErr == nil {
		nodeErr = installNode(ctx, filepath.Join(samples, "http-node"), modules)
	}
	return []*service{
		built("http", "http-go", "1 ms"),
		script("Python", python, filepath.Join(samples, "http-python", "server.py"), "4 ms", pythonErr),
		script("Node", node, filepath.Join(modules, "server.js"), "10 ms", nodeErr),
		built("lambda", "lambda-go", ""),
		built("openwhisk", "openwhisk-go", ""),
		built("azure", filepath.Join("azure-go", "handler"), ""),
	}, nil
}

// installNode copies a sample in Node and installs what it depends on.
func installNode(ctx context.Context, sample, dir string) error {
	if err := os.CopyFS(dir, os.DirFS(sample)); err != nil {
		return err
	}
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w: %s", err, out)
	}
	return nil
}

// way is one way to have an event answered.
type way struct {
	service *service
	name    string
	tier    string // empty: natively
	every   int
	pause   time.Duration
	post    func() (time.Duration, error)
	samples []float64
}

// contracts measures an event of each contract on each tier, beside the same server
// that runs natively all the time, and that is started natively for each event.
func (b *bench) contracts(ctx context.Context) (err error) {
	manifests := filepath.Join(b.dir, "contracts")
	if err := os.Mkdir(manifests, 0o750); err != nil {
		return err
	}
	all, err := b.services(ctx)
	if err != nil {
		return err
	}
	var measured []*service
	for _, s := range all {
		if s.err != nil {
			b.report.skip("contract "+s.contract+", "+s.language, s.err)
			continue
		}
		measured = append(measured, s)
		for _, tier := range tiers[1:] {
			spec := s.spec()
			spec["contract"] = s.terms()
			if err := writeSink(manifests, s.sink(tier.name), spec, tier.spec); err != nil {
				return err
			}
		}
	}
	if len(measured) == 0 || !b.have(vmexec.KVM, "contracts") {
		return nil
	}
	r, err := b.serve(ctx, manifests, vmexec.KVM)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stop()) }()
	if err := r.ready(ctx, time.Minute); err != nil {
		return err
	}
	var ways []*way
	for _, s := range measured {
		for _, tier := range tiers[1:] {
			w := &way{service: s, name: tier.name, tier: tier.name, every: 1, post: poster(ctx, r.url(s.sink(tier.name)))}
			if tier.pause {
				w.pause = s.pause
			}
			ways = append(ways, w)
		}
		if s.contract != "http" {
			continue // it is no server
		}
		url, stop, err := s.start(ctx, b.dir)
		if err != nil {
			return err
		}
		defer stop()
		ways = append(ways,
			&way{service: s, name: "natively, always there", every: 1, post: poster(ctx, url)},
			&way{service: s, name: "natively, started for each event", every: s.every, post: func() (time.Duration, error) { return s.once(ctx, b.dir) }})
	}
	const warm = 20
	for i := range warm + b.times(1000) {
		for _, w := range ways {
			if i%w.every != 0 {
				continue
			}
			took, err := w.post()
			if err != nil {
				return err
			}
			if i >= warm {
				w.samples = append(w.samples, float64(took))
			}
			time.Sleep(w.pause)
		}
	}
	b.addWays(ways)
	return nil
}

// addWays adds the rows.
func (b *bench) addWays(ways []*way) {
	medians := map[string]float64{}
	for _, w := range ways {
		s := w.service
		line := b.report.add("contract "+s.contract+", "+w.name+", "+s.language, w.samples, nil)
		switch {
		case w.tier == "":
			line.compare(medians, s.language)
		case s.contract == "http":
			medians[w.tier+", "+s.language] = line.Median
			fallthrough
		default:
			line.Wanted = s.wanted
		}
	}
}

// terms are the contract in the manifest.
func (s *service) terms() map[string]any {
	all := map[string]any{"type": s.contract}
	switch s.contract {
	case "http":
		all["http"] = map[string]any{"readiness": "/health/readiness"}
	case "openwhisk":
		all["openwhisk"] = map[string]any{"protocol": "ActionLoop", "payload": "Data"}
	case "azure":
		all["azure"] = map[string]any{"function": "order", "binding": "order"}
	}
	return all
}

func (s *service) sink(tier string) string {
	return strings.ToLower(s.contract + "-" + s.language + "-" + tier)
}

func poster(ctx context.Context, url string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		_, took, err := postTo(ctx, http.DefaultClient, url, contractData)
		return took, err
	}
}

// start starts the server natively, with a folder for its files, and waits until it
// answers.
func (s *service) start(ctx context.Context, dir string) (url string, stop func(), err error) {
	address, err := freeAddress()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, s.path, s.args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + dir, "PORT=" + address[strings.LastIndex(address, ":")+1:]}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill() // nothing of it is needed any more
		_ = cmd.Wait()         // it was killed
	}
	ready := "http://" + address + "/health/readiness"
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Microsecond) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, ready, nil)
		if err != nil {
			stop()
			return "", nil, err
		}
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			if err = response.Body.Close(); err == nil && response.StatusCode == http.StatusOK {
				return "http://" + address + "/", stop, nil
			}
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			stop()
			return "", nil, fmt.Errorf("the native server in %s did not answer: %w", s.language, err)
		}
	}
}

// once starts the server for one event, and returns the time from before its start until
// the reply was read.
func (s *service) once(ctx context.Context, dir string) (time.Duration, error) {
	start := time.Now()
	url, stop, err := s.start(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer stop()
	_, _, err = postTo(ctx, http.DefaultClient, url, contractData)
	return time.Since(start), err
}
