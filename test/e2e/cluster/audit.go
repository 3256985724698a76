// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// TestAgent is the user agent of requests that a test makes with a component's token.
const TestAgent = "kontain-e2e"

// auditPolicy has the API server write down what this project's components ask for, and
// nothing of anybody else.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users:
      - system:serviceaccount:knative-eventing:kontain-controller
      - system:serviceaccount:knative-eventing:kontain-receiver
      - system:serviceaccount:knative-eventing:kontain-source
      - system:serviceaccount:knative-eventing:kontain-webhook
  - level: None
`

func (c *Cluster) auditLog() string { return filepath.Join(c.Dir, "logs", "audit.log") }

// request is what is used of an entry of the audit log
// (https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/).
type request struct {
	Verb      string
	UserAgent string
	User      struct{ Username string }
	ObjectRef *struct {
		APIGroup, Resource, Subresource, Namespace, Name string
	}
	ResponseStatus *struct{ Code int }
	Annotations    map[string]string

	RequestReceivedTimestamp time.Time
}

func (r *request) String() string {
	_, account, _ := strings.Cut(r.User.Username, ":knative-eventing:")
	what := "another path"
	if o := r.ObjectRef; o != nil {
		what = o.APIGroup + "/" + o.Resource
		if o.Subresource != "" {
			what += "/" + o.Subresource
		}
	}
	return account + ": " + r.Verb + " " + what
}

// requests are the requests of the components so far.
func (c *Cluster) requests() (all []request, err error) {
	f, err := os.Open(c.auditLog())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // Only read.
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			// The last line may be half written.
			continue
		}
		if r.UserAgent != TestAgent {
			all = append(all, r)
		}
	}
	return all, lines.Err()
}

// Removed says that what is installed is taken away from now on, roles and components in
// no order, until the returned function says that it is there again.
func (c *Cluster) Removed() (restored func()) {
	c.removed, c.restored = time.Now(), time.Now().Add(24*time.Hour)
	return func() { c.restored = time.Now() }
}

// Refused are the requests of this project's components that their roles did not allow.
func (c *Cluster) Refused() ([]string, error) {
	all, err := c.requests()
	if err != nil {
		return nil, fmt.Errorf("the audit log: %w", err)
	}
	refused := map[string]bool{}
	for _, r := range all {
		if t := r.RequestReceivedTimestamp; t.After(c.removed) && t.Before(c.restored) {
			continue
		}
		// A code of 403 alone says little: so are objects refused in a namespace that ends.
		if r.Annotations["authorization.k8s.io/decision"] == "forbid" {
			refused[r.String()] = true
		}
	}
	return slices.Sorted(maps.Keys(refused)), nil
}

// Requested are the kinds of requests that components have made, one a line.
func (c *Cluster) Requested() ([]string, error) {
	all, err := c.requests()
	if err != nil {
		return nil, fmt.Errorf("the audit log: %w", err)
	}
	made := map[string]bool{}
	for _, r := range all {
		if r.ResponseStatus != nil && r.ResponseStatus.Code < http.StatusBadRequest {
			made[r.String()] = true
		}
	}
	return slices.Sorted(maps.Keys(made)), nil
}
