# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0
#
# `make help` lists the targets. Everything is built into bin/, which is
# ignored by git; `make clean` removes it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules --no-print-directory

GO ?= go
# The C compiler of the C samples. Make's own default, cc, is not asked for.
ifeq ($(origin CC),default)
CC := gcc
endif
# Static, so that the program needs no loader and no library in its VM.
SAMPLE_CFLAGS ?= -std=c11 -O2 -Wall -Wextra -Werror -static

BIN := bin
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X kontain.dev/eventing/pkg/cli.Version=$(VERSION)

GO_SAMPLES := uppercase-go faulty jobsink-go http-go cloudevents-go lambda-go openwhisk-go fetch-go heartbeat-go feed-go sensor-go
C_SAMPLES := wordcount-c audit-c

# Arguments of `make run` and `make bench`, for example ARGS=--once.
ARGS ?=
# Arguments of go test, for example TESTFLAGS='-run TestGuest -v'.
TESTFLAGS ?=
# Time for each fuzz target of `make fuzz`.
FUZZTIME ?= 20s
# Events of `make soak`.
EVENTS ?= 1000000

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  ARGS=--once        make run: end after the demo"
	@echo "  TESTFLAGS='-run X' make test: further arguments of go test"
	@echo "  FUZZTIME=1m        make fuzz: time for each target"
	@echo "  EVENTS=100000      make soak: number of events"

.PHONY: build
build: build-go build-c ## Build the program and the samples into bin/

.PHONY: build-go
build-go: need-go
	@mkdir -p $(BIN)/samples
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/kontain ./cmd/kontain
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/kontain-worker ./cmd/worker
	@for s in $(GO_SAMPLES); do \
		echo "CGO_ENABLED=0 $(GO) build -o $(BIN)/samples/$$s ./samples/$$s"; \
		CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/samples/$$s ./samples/$$s; \
	done
	@$(MAKE) function-app

# A folder as Azure Functions has it: the handler beside host.json and the functions.
.PHONY: function-app
function-app:
	@rm -rf $(BIN)/samples/azure-go
	@mkdir -p $(BIN)/samples/azure-go
	@cp -R samples/azure-go/host.json $(patsubst %/function.json,%,$(wildcard samples/azure-go/*/function.json)) $(BIN)/samples/azure-go/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o $(BIN)/samples/azure-go/handler ./samples/azure-go

# Without a C compiler everything else is still built.
.PHONY: build-c
build-c:
	@mkdir -p $(BIN)/samples
	@if ! command -v $(CC) >/dev/null; then \
		rm -f $(addprefix $(BIN)/samples/,$(C_SAMPLES)); \
		echo "make: no C compiler ($(CC)): the C samples ($(C_SAMPLES)) are left out."; \
		echo "make: to have them too, install gcc (Debian, Ubuntu: apt-get install gcc libc6-dev) and run make again."; \
	else \
		for s in $(C_SAMPLES); do \
			set -- $(CC) $(SAMPLE_CFLAGS) -o $(BIN)/samples/$$s samples/$$s/main.c samples/internal/json.c; \
			echo "$$*"; \
			"$$@" || { echo "make: could not build samples/$$s; a static C library is needed" \
				"(Debian, Ubuntu: libc6-dev; Fedora: glibc-static; or CC=musl-gcc)." >&2; exit 1; }; \
		done; \
	fi

.PHONY: run
run: build ## Build, start the receiver with the samples and send each an event
	@hack/run.sh $(ARGS)

.PHONY: test
test: need-go ## Run every test
	$(GO) test -timeout 30m $(TESTFLAGS) ./...

.PHONY: conformance
conformance: build ## Run the tests of Go's library and of CPython in machines (hours; resumes)
	$(GO) run ./test/conformance --bin $(BIN) $(ARGS)

.PHONY: race
race: need-go need-cc ## Run the tests of pkg/ with the race detector
	$(GO) test -race -timeout 30m $(TESTFLAGS) ./pkg/...

.PHONY: soak
soak: need-go ## Send EVENTS (default 1000000) of every kind while workers are killed
	@mkdir -p $(BIN)
	KONTAIN_SOAK_EVENTS=$(EVENTS) KONTAIN_SOAK_JSON=$(abspath $(BIN))/soak.json $(GO) test -count 1 -v -timeout 24h -run '^TestSoak$$' ./test/e2e

.PHONY: soak-sources
soak-sources: need-go ## Run sources 2000 times while their adapter is killed 50 times
	KONTAIN_SOURCE_RUNS=2000 KONTAIN_SOURCE_KILLS=50 $(GO) test -count 1 -v -timeout 1h -run '^TestSourceKills$$' ./test/e2e

# A module of its own: nothing of Kubernetes's programs enters this one. The
# programs of a cluster are built once, into the user's cache.
E2E := test/e2e/cluster

.PHONY: e2e
e2e: need-go ## Run the tests on a real Kubernetes with Knative Eventing (root; first build 10 min)
	cd $(E2E) && $(GO) test -count 1 -timeout 60m $(TESTFLAGS) ./...

.PHONY: e2e-pods
e2e-pods: need-go ## Run the release as pods of a real kubelet and containerd (root, Debian, cgroups)
	cd $(E2E) && KONTAIN_E2E_PODS=1 $(GO) test -count 1 -timeout 20m -v $(TESTFLAGS) ./pods

.PHONY: e2e-up
e2e-up: need-go ## Start that cluster and leave it up until Ctrl-C
	@cd $(E2E) && $(GO) run ./cmd/kontain-cluster

.PHONY: bench
bench: build ## Measure events, peers, starts, guest speed and exits; writes bin/bench.json and .md
	@CC="$(CC)" $(GO) run ./test/bench --bin $(BIN) --json $(BIN)/bench.json --markdown $(BIN)/bench.md $(ARGS)

.PHONY: fuzz
fuzz: need-go ## Run every fuzz target for FUZZTIME (default 20s)
	@GO=$(GO) hack/fuzz.sh $(FUZZTIME)

.PHONY: generate
generate: need-go ## Write the generated files anew
	$(GO) generate ./...

.PHONY: check
check: check-headers vet lint check-generated ## Format, vet, lint, licence headers, generated files

.PHONY: check-headers
check-headers:
	@hack/check-headers.sh

.PHONY: check-generated
check-generated: need-go
	@GO=$(GO) hack/check-generated.sh

.PHONY: vet
vet: need-go
	$(GO) vet ./...

# The version is pinned, with its checksums, by hack/tools/go.mod.
LINT := $(BIN)/tools/golangci-lint
$(LINT): hack/tools/go.mod hack/tools/go.sum | need-go
	@echo "building golangci-lint (once; some minutes)"
	@mkdir -p $(@D)
	@$(GO) build -C hack/tools -o $(CURDIR)/$@ github.com/golangci/golangci-lint/v2/cmd/golangci-lint

.PHONY: lint
lint: $(LINT)
	$(LINT) run

.PHONY: fmt
fmt: $(LINT) ## Format the Go files
	$(LINT) fmt

# Without REGISTRY the images are archives, for ctr images import.
.PHONY: release
release: need-go ## Make the images of a cluster and one manifest in bin/release (REGISTRY=host/path pushes)
	$(GO) run ./hack/release --output $(BIN)/release --version "$(VERSION)" $(if $(REGISTRY),--push "$(REGISTRY)") $(ARGS)

.PHONY: clean
clean: ## Remove bin/
	rm -rf $(BIN)

.PHONY: need-go
need-go:
	@command -v $(GO) >/dev/null || { \
		echo "make: Go is not installed or not in PATH; Go $$(awk '$$1 == "go" {print $$2}' go.mod) or newer is needed." >&2; \
		echo "make: see https://go.dev/doc/install, or name it: make GO=/path/to/go" >&2; exit 1; }

.PHONY: need-cc
need-cc:
	@command -v $(CC) >/dev/null || { \
		echo "make: the race detector needs a C compiler and $(CC) is not installed (Debian, Ubuntu: apt-get install gcc libc6-dev)." >&2; exit 1; }
