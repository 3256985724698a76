// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command webhook completes and checks KontainSinks as they are written to the
// API server.
package main

import (
	"knative.dev/pkg/injection/sharedmain"
	"knative.dev/pkg/signals"
	knwebhook "knative.dev/pkg/webhook"
	"knative.dev/pkg/webhook/certificates"

	"kontain.dev/eventing/pkg/install/onesecret"
	"kontain.dev/eventing/pkg/webhook"
)

func init() { onesecret.Watch(webhook.SecretName) }

func main() {
	// WEBHOOK_NAME and WEBHOOK_PORT are how Knative's webhooks are told.
	ctx := knwebhook.WithOptions(signals.NewContext(), knwebhook.Options{
		ServiceName: knwebhook.NameFromEnv(),
		Port:        knwebhook.PortFromEnv(webhook.Port),
		SecretName:  webhook.SecretName,
		// The configurations belong to the installation, which lists them: owning
		// them by the namespace would need the right to read and change it.
		DisableNamespaceOwnership: true,
	})
	sharedmain.WebhookMainWithContext(ctx, knwebhook.NameFromEnv(),
		certificates.NewController,
		webhook.NewDefaulting,
		webhook.NewValidation,
		webhook.NewConfigValidation,
	)
}
