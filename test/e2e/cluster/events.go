// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Event is a CloudEvent in binary mode.
type Event struct {
	Attributes  map[string]string // id, source, type, extensions; without specversion
	ContentType string
	Data        string
}

// client keeps connections, as Knative's own senders do, but not for as long as a server
// keeps them: those of Knative close what was idle for 10 s (their ReadTimeout), and a
// receiver that drains does so too. A request that meets the end of its connection fails,
// and a POST is not sent again by itself.
var client = &http.Client{
	Timeout:   Patience,
	Transport: &http.Transport{MaxIdleConnsPerHost: 500, IdleConnTimeout: 5 * time.Second},
}

// Send posts an event and returns status code and body of the answer.
func Send(ctx context.Context, url string, e Event) (int, string, error) {
	return SendWith(ctx, client, nil, url, e)
}

// SendWith is Send by a client and with headers of the caller's own.
func SendWith(ctx context.Context, client *http.Client, header http.Header, url string, e Event) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(e.Data))
	if err != nil {
		return 0, "", err
	}
	maps.Copy(req.Header, header)
	e.header(req.Header)
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close() //nolint:errcheck // Only read.
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(body), err
}

func (e Event) header(h http.Header) {
	h.Set("Ce-Specversion", "1.0")
	for name, value := range e.Attributes {
		h.Set("Ce-"+name, value)
	}
	if e.ContentType != "" {
		h.Set("Content-Type", e.ContentType)
	}
}

// BrokerURL is the address of the MT broker's ingress for a broker.
func BrokerURL(namespace, broker string) string {
	return fmt.Sprintf("http://broker-ingress.%s.svc.cluster.local/%s/%s", System, namespace, broker)
}

// Collector is an HTTP server that keeps the events that it was sent, in
// binary mode, and may answer them.
type Collector struct {
	URL string

	mu     sync.Mutex
	events []Event
	answer func(Event) (int, *Event)
}

// NewCollector starts a collector that ends with the context. answer gives the
// status code and the reply; nil is 202 without one.
func NewCollector(ctx context.Context, answer func(Event) (int, *Event)) (*Collector, error) {
	k := &Collector{answer: answer}
	address, err := serve(ctx, k)
	k.URL = "http://" + address
	return k, err
}

// ServeHTTP implements http.Handler.
func (k *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(io.LimitReader(r.Body, 8<<20))
	if err != nil {
		return // The sender is gone.
	}
	e := Event{Attributes: map[string]string{}, ContentType: r.Header.Get("Content-Type"), Data: string(data)}
	for name, values := range r.Header {
		if attribute, ok := strings.CutPrefix(strings.ToLower(name), "ce-"); ok && attribute != "specversion" {
			e.Attributes[attribute] = values[0]
		}
	}
	k.mu.Lock()
	k.events = append(k.events, e)
	k.mu.Unlock()
	if k.answer == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	status, reply := k.answer(e)
	if reply == nil {
		w.WriteHeader(status)
		return
	}
	reply.header(w.Header())
	w.WriteHeader(status)
	_, _ = io.WriteString(w, reply.Data) // The sender may be gone.
}

// Events are the events so far.
func (k *Collector) Events() []Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.events)
}

// Wait waits for an event with the given attribute.
func (k *Collector) Wait(ctx context.Context, attribute, value string) (Event, error) {
	var found Event
	err := Eventually(ctx, Patience, func(context.Context) error {
		events := k.Events()
		i := slices.IndexFunc(events, func(e Event) bool { return e.Attributes[attribute] == value })
		if i < 0 {
			return fmt.Errorf("none of %d events has %s=%s", len(events), attribute, value)
		}
		found = events[i]
		return nil
	})
	return found, err
}
