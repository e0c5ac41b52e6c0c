# podid: `make` shows what there is. GNU make, a POSIX shell and Go are all that build, demo and test need.

BIN       := bin
BINARIES  := podid podid-agent podid-operator
VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.0.0-dev)
COMMIT    ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
LDFLAGS   := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
# The version is stamped above; Go's own stamping fails in a checkout that another user owns.
GOBUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false

# The tools' binaries are kept under a name that changes with their pinned versions and with the Go release.
TOOLS     := $(BIN)/tools/$(shell { cat tools/go.mod tools/go.sum; go env GOVERSION; } | cksum | cut -d' ' -f1)

# What images are called, for which machines they are, and the one time that all their files have.
IMAGES    ?= podid.dev
IMAGE_TAG ?= $(shell sed -n 's/^appVersion: *"\{0,1\}\([^"]*\)"\{0,1\}/\1/p' charts/podid/Chart.yaml)
PLATFORMS ?= linux/amd64 linux/arm64
CREATED   ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# Kept by its version, like the tools; it is pinned where the chart is tested.
HELM      := $(BIN)/tools/helm-$(shell { cat test/chart/go.mod; go env GOVERSION; } | cksum | cut -d' ' -f1)/helm

RACE      ?=
TESTFLAGS ?=
TEST      ?= ./...
FUZZTIME  ?= 5s
FUZZ      ?= .
BENCH     ?= .
BENCHTIME ?= 1s
LOADFLAGS ?=
CONFORMANCEFLAGS ?=
KUBERNETES ?= 1.34.4
APITEST   ?= ./kubebin ./api/...

.DEFAULT_GOAL := help
.PHONY: help build demo images helm manifest test test-chart test-clients conformance lint fuzz bench bench-e2e bench-agent bench-fleet bench-operator soak test-apiserver test-cluster generate verify clean

##@ Everyday

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "; printf "Usage: make <target>\n"} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## Build the static binaries into bin/
	@mkdir -p $(BIN)
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/ $(BINARIES:%=./cmd/%)

demo: build ## Run the textbook example end to end: control plane, agent, pod, refusals
	$(GOBUILD) -ldflags '-s -w' -o $(BIN)/ ./demo ./demo/s3app
	$(BIN)/demo

images: ## Build the container images into bin/images, without a registry (PLATFORMS="linux/amd64", IMAGES=registry/prefix)
	@mkdir -p $(BIN)/images
	set -e; for p in $(PLATFORMS); do \
	  GOOS=$${p%/*} GOARCH=$${p#*/} $(GOBUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/platforms/$${p%/*}-$${p#*/}/ $(BINARIES:%=./cmd/%); \
	done
	CGO_ENABLED=0 go -C tools/images run -trimpath . -bin '$(CURDIR)/$(BIN)/platforms' -out '$(CURDIR)/$(BIN)/images' -platforms '$(PLATFORMS)' \
	  -repository '$(IMAGES)' -tag '$(IMAGE_TAG)' -version '$(VERSION)' -commit '$(COMMIT)' -created '$(CREATED)' $(BINARIES)

helm: $(HELM) ## Build helm into bin/tools, for machines without one

manifest: ## Copy the CRDs into the chart and render deploy/*.yaml from it
	CGO_ENABLED=0 go -C test/chart run -trimpath ./cmd/manifest '$(CURDIR)'

clean: ## Remove what the other targets build
	rm -rf $(BIN) test/clients/node_modules

##@ Tests

test: ## Run the tests (RACE=1: with the race detector, needs gcc; TEST=./internal/arn: one package)
	CGO_ENABLED=$(if $(RACE),1,0) go test $(if $(RACE),-race) -timeout 15m $(TESTFLAGS) $(TEST)

test-chart: ## Test the chart, the static manifests and the builder of images (UPDATE=1: write the golden renders anew)
	go -C test/chart mod tidy -diff
	go -C tools/images mod tidy -diff
	CGO_ENABLED=0 go -C test/chart test -trimpath -timeout 10m ./... $(if $(UPDATE),-update)
	CGO_ENABLED=0 go -C tools/images test -trimpath -timeout 10m ./...

test-clients: build ## Run AWS' own clients against `podid dev`: Node SDKs; AWS CLI and boto3 where present
	./test/clients/run.sh

conformance: build ## Play AWS' clients against `podid dev`, write docs/compat/matrix.md (EKSCTL=path, AWS_AGENT=path: those too)
	go run ./test/conformance -podid $(BIN)/podid -json $(BIN)/conformance.json -matrix docs/compat/matrix.md $(CONFORMANCEFLAGS)

test-apiserver: ## Run the tests against a real API server; the first run builds it (KUBERNETES=1.37.2: the newest)
	assets=$$(go -C test/cluster run ./cmd/kubebin -kubernetes '$(KUBERNETES)') && \
	  KUBE_ASSETS="$$assets" CGO_ENABLED=0 go -C test/cluster test -trimpath -count=1 -timeout 15m $(TESTFLAGS) $(APITEST)

test-cluster: $(HELM) ## Run podid in a real cluster of two nodes on this machine, as root (KUBERNETES=1.37.2: the newest)
	./test/cluster/packages.sh
	@$(MAKE) --no-print-directory images PLATFORMS=linux/$(shell go env GOARCH)
	$(GOBUILD) -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/podid
	CGO_ENABLED=0 go -C test/cluster build -trimpath -buildvcs=false -ldflags '-s -w' -o '$(CURDIR)/$(BIN)/test/' ./app
	assets=$$(go -C test/cluster run ./cmd/kubebin -kubernetes '$(KUBERNETES)') && \
	  KUBE_ASSETS="$$assets" PODID_BIN='$(CURDIR)/$(BIN)' HELM='$(CURDIR)/$(HELM)' CGO_ENABLED=0 go -C test/cluster test -trimpath -count=1 -timeout 30m -v $(TESTFLAGS) ./whole

fuzz: ## Fuzz every target for FUZZTIME=5s (FUZZ=regexp chooses targets)
	./tools/fuzz.sh '$(FUZZTIME)' '$(FUZZ)'

bench: ## Run the benchmarks with allocations (BENCH=regexp chooses, BENCHTIME=1s)
	./tools/bench.sh '$(BENCH)' '$(BENCHTIME)'

bench-e2e: build ## Measure server and agent end to end beside an empty handler (LOADFLAGS=-check: fail over a bound)
	go run ./test/load -podid $(BIN)/podid -agent $(BIN)/podid-agent $(LOADFLAGS)

bench-agent: build ## Measure the agent by itself beside an empty handler, and AWS' if AWS_AGENT names its binary
	go run ./test/load -set agent -agent $(BIN)/podid-agent -aws-agent '$(AWS_AGENT)' $(LOADFLAGS)

bench-fleet: build ## Start 5,000 pods in 40 s on 50 nodes, each a real agent, before one control plane
	go run ./test/load -set fleet -podid $(BIN)/podid -agent $(BIN)/podid-agent $(LOADFLAGS)

bench-operator: build ## Measure the webhook beside an empty TLS handler, and AWS' if AWS_WEBHOOK names its binary
	go run ./test/load -set operator -podid $(BIN)/podid -operator $(BIN)/podid-operator -aws-webhook '$(AWS_WEBHOOK)' $(LOADFLAGS)

soak: ## Issue and open 1,000,000 sessions in process and compare memory and disk before and after
	CGO_ENABLED=0 go test -tags soak -run 'TestSoak$$' -v -timeout 30m ./internal/controlplane

##@ Care

lint: $(TOOLS)/golangci-lint ## Run golangci-lint (pinned in tools/go.mod)
	$(TOOLS)/golangci-lint run ./...
	cd test/cluster && '$(CURDIR)/$(TOOLS)/golangci-lint' run ./...

generate: ## Rewrite generated files
	go generate ./...

verify: build $(TOOLS)/gofumpt ## Check generated files, go.mod, formatting, static binaries
	./tools/unchanged.sh '$(MAKE) --no-print-directory generate'
	go mod verify
	go mod tidy -diff
	@out=$$($(TOOLS)/gofumpt -l .); if [ -n "$$out" ]; then echo "not formatted by gofumpt:"; echo "$$out"; exit 1; fi
	go -C tools run ./static $(BINARIES:%=../$(BIN)/%)

$(HELM):
	@mkdir -p $(@D)
	CGO_ENABLED=0 go -C test/chart build -trimpath -ldflags '-s -w -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMajor=1 -X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37' \
	  -o '$(CURDIR)/$@' helm.sh/helm/v3/cmd/helm
	ln -sfn '$(notdir $(@D))/helm' $(BIN)/tools/helm

$(TOOLS)/golangci-lint:
	@mkdir -p $(TOOLS)
	CGO_ENABLED=0 go -C tools build -trimpath -o '$(CURDIR)/$@' github.com/golangci/golangci-lint/v2/cmd/golangci-lint

$(TOOLS)/gofumpt:
	@mkdir -p $(TOOLS)
	CGO_ENABLED=0 go -C tools build -trimpath -o '$(CURDIR)/$@' mvdan.cc/gofumpt
