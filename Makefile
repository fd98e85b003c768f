# Everything that one does with Sesame. `make` alone says what there is.

BIN := bin/sesame

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

build: ## Build bin/sesame
	go build -ldflags "-X main.revision=$$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" -o $(BIN) ./cmd/sesame

demo: build ## Run the main job through a server in a temporary folder (DEMO_EXIT=1 ends by itself)
	@$(BIN) demo

run: build ## Run a server on ./sesame-data
	@$(BIN) serve --data-dir ./sesame-data

check: ## Vet, staticcheck and the unit tests, not those of the whole program in test/: under two minutes
	go vet ./...
	go tool staticcheck ./...
	go test -short $$(go list ./... | grep -v /test$$)

test: ## Everything, with the race detector and in random order; installs what it needs
	./scripts/test.sh

fuzz: ## Run every fuzz target for FUZZTIME (2m)
	./scripts/fuzz.sh $${FUZZTIME:-2m}

bench-import: ## Import 1,000,000 and 10,000,000 addresses beside sort -u, postmap and DuckDB; installs postfix-lmdb
	go run ./bench/import

bench-match: ## Look addresses up in a list of 10,000,000 entries beside postmap; installs postfix-lmdb, -cdb and tinycdb
	go run ./bench/match

bench-ingest: ## Take 1,000,000 events by the Firehose door, beside decoding them alone and DuckDB
	go run ./bench/ingest

bench-insights: ## Ask a store of 30,000,000 events for messages and metrics while more come in
	go run ./bench/insights

bench-export: ## Export a store of 30,000,000 events beside DuckDB's own COPY
	go run ./bench/export

.PHONY: help build demo run check test fuzz bench-import bench-match bench-ingest bench-insights bench-export
