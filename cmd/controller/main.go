// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command controller writes the status of KontainSinks and KontainSources, and makes the
// receivers of those sinks that have one of their own.
package main

import (
	"context"
	"log"
	"os"
	"strconv"

	"knative.dev/eventing/pkg/auth"
	filteredfactory "knative.dev/pkg/client/injection/kube/informers/factory/filtered"
	"knative.dev/pkg/injection"
	"knative.dev/pkg/injection/sharedmain"
	"knative.dev/pkg/signals"

	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/install/onesecret"
	"kontain.dev/eventing/pkg/reconciler/kontainsink"
	"kontain.dev/eventing/pkg/reconciler/kontainsource"
)

const component = "kontain-controller"

func init() { onesecret.Watch(install.ReceiverTLSSecretName) }

func main() {
	ctx := filteredfactory.WithSelectors(signals.NewContext(), install.ReceiverSelector, install.SourceSelector, auth.OIDCLabelSelector)
	ctx = probes(ctx)
	sharedmain.MainWithContext(ctx, component, kontainsink.NewController, kontainsource.NewController)
}

// probes serves the probes on the port of PROBES_PORT, where it is set: Knative's
// own is fixed, and several controllers may share an address.
func probes(ctx context.Context) context.Context {
	text := os.Getenv("PROBES_PORT")
	if text == "" {
		return ctx
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		log.Fatal("PROBES_PORT must be a port, from 1 to 65535")
	}
	go func() {
		if err := injection.ServeHealthProbes(ctx, int(port)); err != nil {
			log.Fatalf("serve probes: %v", err)
		}
	}()
	return sharedmain.WithHealthProbesDisabled(ctx)
}
