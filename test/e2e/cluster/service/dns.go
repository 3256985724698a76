// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package service

import (
	"context"
	"fmt"
	"net"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"

	"kontain.dev/eventing/test/e2e/cluster/sandbox"
)

// zone of the names that are answered; all others do not exist.
const zone = ".svc." + sandbox.Domain + "."

// serveDNS answers queries for A records of Services over UDP
// (https://github.com/kubernetes/dns/blob/master/docs/specification.md, section 2.3).
func (p *Proxy) serveDNS(ctx context.Context, address string) error {
	conn, err := net.ListenPacket("udp", address)
	if err != nil {
		return fmt.Errorf("the cluster's name server: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return // closed
			}
			if reply := p.answer(buf[:n]); reply != nil {
				_, _ = conn.WriteTo(reply, from) // A client asks again.
			}
		}
	}()
	return nil
}

// answer is nil for what is no query.
func (p *Proxy) answer(query []byte) []byte {
	var parser dnsmessage.Parser
	header, err := parser.Start(query)
	if err != nil || header.Response {
		return nil
	}
	question, err := parser.Question()
	if err != nil {
		return nil
	}
	ips, known := p.resolve(strings.ToLower(question.Name.String()), 0)
	header.Response, header.Authoritative, header.RecursionAvailable = true, true, true
	if !known {
		header.RCode = dnsmessage.RCodeNameError
	}
	b := dnsmessage.NewBuilder(nil, header)
	b.EnableCompression()
	if b.StartQuestions() != nil || b.Question(question) != nil || b.StartAnswers() != nil {
		return nil
	}
	for _, ip := range ips {
		v4 := ip.To4()
		if v4 == nil || question.Type != dnsmessage.TypeA {
			continue
		}
		rh := dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: 1}
		if b.AResource(rh, dnsmessage.AResource{A: [4]byte(v4)}) != nil {
			return nil
		}
	}
	reply, err := b.Finish()
	if err != nil {
		return nil
	}
	return reply
}

// resolve returns the addresses of service.namespace.svc.cluster.local., also
// through ExternalName, and whether there is such a Service.
func (p *Proxy) resolve(name string, depth int) ([]net.IP, bool) {
	rest, ok := strings.CutSuffix(name, zone)
	if !ok || depth > 8 {
		return nil, false
	}
	service, namespace, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, false
	}
	s, err := p.services.Services(namespace).Get(service)
	if err != nil {
		return nil, false
	}
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return p.resolve(strings.TrimSuffix(strings.ToLower(s.Spec.ExternalName), ".")+".", depth+1)
	}
	if ip := net.ParseIP(s.Spec.ClusterIP); ip != nil {
		return []net.IP{ip}, true
	}
	slices, err := p.slices.EndpointSlices(namespace).List(labels.Set{discoveryv1.LabelServiceName: service}.AsSelector())
	if err != nil {
		return nil, false
	}
	var ips []net.IP
	for _, slice := range slices {
		for _, address := range ready(slice) {
			ips = append(ips, net.ParseIP(address))
		}
	}
	return ips, true
}
