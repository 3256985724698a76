// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What SetDefaults gives to fields that are absent.
const (
	DefaultMemory                  = "128Mi"
	DefaultCPU                     = "1"
	DefaultTimeout                 = 10 * time.Second
	DefaultConcurrency       int32 = 16
	DefaultQueueLength       int32 = 100
	DefaultQueueTimeout            = 5 * time.Second
	DefaultIdleTimeout             = 60 * time.Second
	DefaultHTTPPort          int32 = 8080
	DefaultHTTPPath                = "/"
	DefaultOpenWhiskFunction       = "main"
	DefaultAzureBinding            = "event"
)

// SetDefaults gives every absent field its default. Doing it twice changes
// nothing more.
func (s *KontainSink) SetDefaults(ctx context.Context) {
	s.Spec.SetDefaults(ctx)
}

// SetDefaults gives every absent field its default.
func (s *KontainSinkSpec) SetDefaults(ctx context.Context) {
	s.FunctionSpec.SetDefaults(ctx)
	defaultPointer(&s.Concurrency, DefaultConcurrency)
	defaultPointer(&s.Queue.Length, DefaultQueueLength)
	defaultDuration(&s.Queue.Timeout, DefaultQueueTimeout)
	defaultString(&s.Receiver, ReceiverShared)
}

// SetDefaults gives every absent field its default.
func (s *FunctionSpec) SetDefaults(ctx context.Context) {
	s.Contract.SetDefaults(ctx)

	defaultQuantity(&s.Resources.Limits.Memory, DefaultMemory)
	defaultQuantity(&s.Resources.Limits.CPU, DefaultCPU)
	defaultDuration(&s.Timeout, DefaultTimeout)
	defaultString(&s.Isolation, IsolationProcess)
	defaultString(&s.Platform, PlatformAuto)
	mode := SnapshotReady
	if s.Platform == PlatformKM { // which has none
		mode = SnapshotNever
	}
	defaultString(&s.Snapshot.Mode, mode)
	defaultString(&s.Snapshot.Storage, SnapshotDisk)
	defaultDuration(&s.IdleTimeout, DefaultIdleTimeout)
	defaultString(&s.ImagePullPolicy, corev1.PullIfNotPresent)
}

// SetDefaults gives the contract a type and completes the part for that type.
func (c *Contract) SetDefaults(context.Context) {
	defaultString(&c.Type, ContractStdio)
	switch c.Type {
	case ContractHTTP:
		if c.HTTP == nil {
			c.HTTP = &HTTPContract{}
		}
		defaultPointer(&c.HTTP.Port, DefaultHTTPPort)
		defaultString(&c.HTTP.Path, DefaultHTTPPath)
		defaultString(&c.HTTP.Mode, HTTPModeBinary)
	case ContractLambda:
		if c.Lambda == nil {
			c.Lambda = &LambdaContract{}
		}
		defaultString(&c.Lambda.Payload, LambdaPayloadEvent)
	case ContractOpenWhisk:
		if c.OpenWhisk == nil {
			c.OpenWhisk = &OpenWhiskContract{}
		}
		defaultString(&c.OpenWhisk.Protocol, OpenWhiskHTTP)
		if c.OpenWhisk.Protocol == OpenWhiskHTTP {
			defaultString(&c.OpenWhisk.Main, DefaultOpenWhiskFunction)
		}
		defaultString(&c.OpenWhisk.Payload, OpenWhiskPayloadEvent)
	case ContractAzure:
		if c.Azure != nil && c.Azure.App == "" { // a function must be named
			defaultString(&c.Azure.Binding, DefaultAzureBinding)
		}
	case ContractStdio:
	}
}

func defaultString[T ~string](p *T, value T) {
	if *p == "" {
		*p = value
	}
}

func defaultPointer[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}

func defaultDuration(p **metav1.Duration, value time.Duration) {
	defaultPointer(p, metav1.Duration{Duration: value})
}

func defaultQuantity(p **resource.Quantity, value string) {
	if *p == nil {
		q := resource.MustParse(value)
		*p = &q
	}
}
