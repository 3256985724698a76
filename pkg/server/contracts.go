// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/azure"
	"kontain.dev/eventing/pkg/contract/http"
	"kontain.dev/eventing/pkg/contract/lambda"
	"kontain.dev/eventing/pkg/contract/openwhisk"
	"kontain.dev/eventing/pkg/contract/stdio"
	"kontain.dev/eventing/pkg/dispatcher"
)

// contracts are the ways to hand an event to a program.
var contracts = map[v1alpha1.ContractType]func(contract.Config) (contract.Contract, error){
	v1alpha1.ContractStdio:     stdio.New,
	v1alpha1.ContractHTTP:      http.New,
	v1alpha1.ContractOpenWhisk: openwhisk.New,
	v1alpha1.ContractAzure:     azure.New,
	v1alpha1.ContractLambda:    lambda.New,
}

// NewContract makes the contract of a sink.
func NewContract(s dispatcher.Sink) (contract.Contract, error) {
	c := s.Contract
	c.Root, c.Env = s.Root, s.Env
	make := contracts[c.Spec.Type]
	if make == nil {
		return nil, fmt.Errorf("the contract %q is not available in this release", c.Spec.Type)
	}
	return make(c)
}
