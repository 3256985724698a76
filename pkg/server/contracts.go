// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"fmt"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/contract/http"
	"kontain.dev/eventing/pkg/contract/stdio"
)

// contracts are the ways to hand an event to a program.
var contracts = map[v1alpha1.ContractType]func(contract.Config) (contract.Contract, error){
	v1alpha1.ContractStdio: stdio.New,
	v1alpha1.ContractHTTP:  http.New,
}

// NewContract makes the contract of a sink.
func NewContract(c contract.Config) (contract.Contract, error) {
	make := contracts[c.Spec.Type]
	if make == nil {
		return nil, fmt.Errorf("the contract %q is not available in this release", c.Spec.Type)
	}
	return make(c)
}
