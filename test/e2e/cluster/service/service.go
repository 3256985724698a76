// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Package service stands in for kube-proxy and for the cluster's DNS: it listens
// on every ClusterIP (the sandbox routes them all to the machine) and passes
// each connection on to an endpoint of the Service, as EndpointSlices name them.
package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// dialTimeout bounds a connection to an endpoint: pods are on the same machine.
const dialTimeout = 10 * time.Second

// Proxy serves the Services of a cluster.
type Proxy struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
	log      *log.Logger

	mu        sync.Mutex
	closed    bool
	listeners map[string]net.Listener // by "ip:port"
}

// Start serves the Services that client sees until the context ends, and their
// names at the UDP and TCP address dns.
func Start(ctx context.Context, client kubernetes.Interface, dns string, out io.Writer) (*Proxy, error) {
	factory := informers.NewSharedInformerFactory(client, 0)
	p := newProxy(factory, out)
	_, err := factory.Core().V1().Services().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { p.sync() },
		UpdateFunc: func(any, any) { p.sync() },
		DeleteFunc: func(any) { p.sync() },
	})
	if err != nil {
		return nil, err
	}
	if err := p.serve(ctx, factory, dns); err != nil {
		return nil, err
	}
	p.sync()
	context.AfterFunc(ctx, p.close)
	return p, nil
}

// StartDNS serves the names alone: connections are kube-proxy's.
func StartDNS(ctx context.Context, client kubernetes.Interface, dns string, out io.Writer) error {
	factory := informers.NewSharedInformerFactory(client, 0)
	return newProxy(factory, out).serve(ctx, factory, dns)
}

func newProxy(factory informers.SharedInformerFactory, out io.Writer) *Proxy {
	factory.Core().V1().Services().Informer()
	factory.Discovery().V1().EndpointSlices().Informer()
	return &Proxy{
		services:  factory.Core().V1().Services().Lister(),
		slices:    factory.Discovery().V1().EndpointSlices().Lister(),
		log:       log.New(out, "", log.LstdFlags|log.Lmicroseconds),
		listeners: map[string]net.Listener{},
	}
}

// serve answers for names once it knows what there is.
func (p *Proxy) serve(ctx context.Context, factory informers.SharedInformerFactory, dns string) error {
	factory.Start(ctx.Done())
	for kind, ok := range factory.WaitForCacheSync(ctx.Done()) {
		if !ok {
			return fmt.Errorf("%v were not listed: %w", kind, context.Cause(ctx))
		}
	}
	return p.serveDNS(ctx, dns)
}

// sync listens on each port of each Service, and no longer on those that are gone.
func (p *Proxy) sync() {
	services, err := p.services.List(labels.Everything())
	if err != nil {
		p.log.Print("listing Services: ", err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	wanted := map[string]bool{}
	for _, s := range services {
		if net.ParseIP(s.Spec.ClusterIP) == nil {
			continue // headless or ExternalName
		}
		for _, port := range s.Spec.Ports {
			if port.Protocol != corev1.ProtocolTCP {
				continue
			}
			address := net.JoinHostPort(s.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
			// A Service that was deleted and made anew may have the address of another.
			key := address + " " + s.Namespace + "/" + s.Name + " " + port.Name
			wanted[key] = true
			if p.listeners[key] != nil {
				continue
			}
			l, err := net.Listen("tcp", address)
			if err != nil {
				p.log.Printf("Service %s/%s: %v", s.Namespace, s.Name, err)
				continue
			}
			p.listeners[key] = l
			go p.accept(l, s.Namespace, s.Name, port.Name)
		}
	}
	for key, l := range p.listeners {
		if !wanted[key] {
			_ = l.Close()
			delete(p.listeners, key)
		}
	}
}

func (p *Proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, l := range p.listeners {
		_ = l.Close()
	}
}

// acceptAgain is how long a listener waits that cannot take a connection, as it is without
// descriptors: those that come wait in its backlog. kube-proxy, which is in the kernel,
// never ends for such a reason.
const acceptAgain = 20 * time.Millisecond

func (p *Proxy) accept(l net.Listener, namespace, service, port string) {
	said := false
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			go p.forward(c.(*net.TCPConn), namespace, service, port)
		case errors.Is(err, net.ErrClosed):
			return
		default:
			if !said {
				p.log.Printf("Service %s/%s: connections wait: %v", namespace, service, err)
			}
			time.Sleep(acceptAgain)
		}
		said = err != nil
	}
}

// forward passes one connection on to a ready endpoint, chosen at random. One
// endpoint is tried: what a client sees when a pod dies must be what it sees
// in a cluster.
func (p *Proxy) forward(client *net.TCPConn, namespace, service, port string) {
	defer client.Close() //nolint:errcheck // Whatever was to be sent is sent.
	endpoints := p.endpoints(namespace, service, port)
	if len(endpoints) == 0 {
		_ = client.SetLinger(0) // refused
		return
	}
	if err := Forward(client, endpoints[rand.IntN(len(endpoints))]); err != nil { //nolint:gosec // No secret.
		p.log.Printf("Service %s/%s: %v", namespace, service, err)
	}
}

// Forward passes a connection on to an address until both directions have ended.
func Forward(client *net.TCPConn, address string) error {
	conn, err := net.DialTimeout("tcp", address, dialTimeout)
	if err != nil {
		_ = client.SetLinger(0)
		return err
	}
	upstream := conn.(*net.TCPConn)
	defer upstream.Close() //nolint:errcheck // Whatever was to be sent is sent.
	done := make(chan struct{})
	go func() {
		defer close(done)
		pipe(upstream, client)
	}()
	pipe(client, upstream)
	<-done
	return nil
}

// pipe copies until the end of one direction; an end by reset is passed on as a reset.
// It copies by hand: splice(2), which io.Copy has for two connections, takes a pipe for
// each direction, and four descriptors more are soon too many.
func pipe(to, from *net.TCPConn) {
	if _, err := io.Copy(struct{ io.Writer }{to}, struct{ io.Reader }{from}); err != nil {
		_ = to.SetLinger(0)
		_ = to.Close()
		_ = from.Close()
		return
	}
	_ = to.CloseWrite()
}

// endpoints are the addresses of the ready endpoints of a port of a Service.
func (p *Proxy) endpoints(namespace, service, port string) []string {
	slices, err := p.slices.EndpointSlices(namespace).List(labels.Set{discoveryv1.LabelServiceName: service}.AsSelector())
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range slices {
		for _, sp := range s.Ports {
			if sp.Port == nil || sp.Name != nil && *sp.Name != port {
				continue
			}
			for _, ip := range ready(s) {
				out = append(out, net.JoinHostPort(ip, strconv.Itoa(int(*sp.Port))))
			}
		}
	}
	return out
}

func ready(s *discoveryv1.EndpointSlice) []string {
	var out []string
	for _, e := range s.Endpoints {
		if e.Conditions.Ready == nil || *e.Conditions.Ready {
			out = append(out, e.Addresses...)
		}
	}
	return out
}
