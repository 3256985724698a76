// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package kontainsink

import (
	"cmp"
	"context"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/sinkstatus"
)

const (
	// askTime bounds one round of questions.
	askTime = 2 * time.Second
	// askMost is how many receivers of a Service are asked; which is settled by
	// their addresses, so that it is the same ones each time.
	askMost = 32
)

// Asker asks a receiver about a sink. *sinkstatus.Client is one.
type Asker interface {
	Get(ctx context.Context, hostPort, namespace, name string) (*sinkstatus.Status, error)
}

// endpoint is a receiver.
type endpoint struct {
	hostPort string
	ready    bool
}

// endpoints returns the receivers of a Service that are not ending, those that
// are not ready included: they may know why.
func endpoints(lister discoverylisters.EndpointSliceLister, namespace, service string) ([]endpoint, error) {
	slicesOf, err := lister.EndpointSlices(namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service}))
	if err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for _, s := range slicesOf {
		if s.AddressType == discoveryv1.AddressTypeFQDN {
			continue
		}
		i := slices.IndexFunc(s.Ports, func(p discoveryv1.EndpointPort) bool {
			return p.Name != nil && *p.Name == sinkstatus.PortName && p.Port != nil
		})
		if i < 0 {
			continue
		}
		for _, e := range s.Endpoints {
			if len(e.Addresses) == 0 || (e.Conditions.Terminating != nil && *e.Conditions.Terminating) {
				continue
			}
			hostPort := net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*s.Ports[i].Port)))
			// An endpoint may be in two slices while it moves.
			ready[hostPort] = ready[hostPort] || e.Conditions.Ready == nil || *e.Conditions.Ready
		}
	}
	all := make([]endpoint, 0, len(ready))
	for hostPort, r := range ready {
		all = append(all, endpoint{hostPort, r})
	}
	slices.SortFunc(all, func(a, b endpoint) int { return cmp.Compare(a.hostPort, b.hostPort) })
	return all[:min(len(all), askMost)], nil
}

// ask asks all receivers at once.
func ask(ctx context.Context, asker Asker, receivers []endpoint, sink *v1alpha1.KontainSink) []answer {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answers := make([]answer, len(receivers))
	var all sync.WaitGroup
	for i, r := range receivers {
		all.Go(func() {
			status, err := asker.Get(ctx, r.hostPort, sink.Namespace, sink.Name)
			answers[i] = answer{ready: r.ready, status: status, err: err}
		})
	}
	all.Wait()
	return answers
}
