# `make run` and `make test` are the whole set-up: each installs what it needs, and says in one line what it cannot.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run install test assets screenshots postgres quick book check format vet lint demo bench fuzz soak build go gcc node chromium postgresql clean

# Where the official tarball puts Go, and where Debian does not look.
export PATH := $(PATH):/usr/local/go/bin
# A checkout that belongs to another user makes git refuse, and a build that stamps the commit fail with it.
export GOFLAGS := $(strip -buildvcs=false $(GOFLAGS))

GO_WANTED     := 1.26
LINT_VERSION  := v2.15.0
LINT          := .bin/golangci-lint-$(LINT_VERSION)
TUTELA        := .bin/tutela
PREFIX        ?= /usr/local
ARGS          ?=
FUZZTIME      ?= 10s
SOAK          ?= 10m
BENCH         ?= .
BENCHTIME     ?= 1s

# How tests are run: three packages at a time, since some wait for a process. vet has looked at all of them before. The time is a guard against a hang.
GO_TEST = go test -vet=off -p 3 -timeout 40m

# What tests write lies in memory, where there is room and programs may run: each of their data files is synced many times.
IN_MEMORY = room=$$(df --output=avail /dev/shm 2>/dev/null | tail -1) || true; \
	if [ -z "$${TMPDIR:-}" ] && [ "$${room:-0}" -gt 6000000 ]; then \
		memory=$$(mktemp -d -p /dev/shm tutela-XXXX) && chmod 711 "$$memory" && trap 'rm -rf "$$memory"' EXIT; \
		if cp "$$(type -P true)" "$$memory/true" && "$$memory/true"; then export TMPDIR="$$memory"; fi; \
	fi 2>/dev/null;

# Packages whose tests run once more over PostgreSQL: in make test a few that do most with the store, in make postgres all.
ON_POSTGRES = CGO_ENABLED=0 go run ./storage/storagetest/pgtest/with $(GO_TEST) -short
MOST_STORED = ./storage/audit ./recovery ./device/login ./backup ./server/access ./server/loginapi

help: ## this list
	@echo "tutela: a backend for authenticator apps. make targets:"
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo 'Flags for the server: make run ARGS="--dev --listen 127.0.0.1:9090"'

run: build ## build, and serve on http://localhost:8080 with the data in ./data
	@exec $(TUTELA) serve --data ./data $(ARGS)

install: build ## put tutela on the PATH: in /usr/local/bin, or with PREFIX=~/.local in ~/.local/bin
	@install -D -m 0755 $(TUTELA) "$(DESTDIR)$(PREFIX)/bin/tutela" && echo "installed $(DESTDIR)$(PREFIX)/bin/tutela"

# The tests of the root read the sources, one after the other: the race detector has nothing to find there. So it is with the tests that call
# check.WithoutRace. All parts run, whichever is red.
test: check gcc node chromium postgresql ## check the format, vet, lint, and run every test with the race detector
	@red=; $(IN_MEMORY) \
	if command -v gcc >/dev/null; then \
		CGO_ENABLED=1 $(GO_TEST) -race $$(go list ./... | grep -vx tutela) || red=1; \
		alone=$$(grep -r --include='*_test.go' -B 1 'check\.WithoutRace(t)' . | sed -nE 's/^(.*)\/[^/]*-func (Test[A-Za-z0-9_]+)\(.*/\1 \2/p'); \
		CGO_ENABLED=0 $(GO_TEST) -run "^($$(cut -d ' ' -f 2 <<<"$$alone" | paste -sd '|'))\$$" $$(cut -d ' ' -f 1 <<<"$$alone" | sort -u) || red=1; \
		CGO_ENABLED=0 $(GO_TEST) . || red=1; \
	else \
		$(GO_TEST) ./... || red=1; \
	fi; \
	$(ON_POSTGRES) $(MOST_STORED) || red=1; \
	[ -z "$$red" ]

postgres: go postgresql ## run the tests of the domain and the APIs over PostgreSQL
	@$(ON_POSTGRES) ./storage/audit ./storage/keyring ./recovery/... ./device ./device/login ./backup/... ./server/...

quick: format vet ## while you work: format, vet and the shorter tests, which start no process; no race detector, no lint
	@begun=$$SECONDS; go test -short ./... | { grep -v 'no test files' || true; }; \
	echo "quick: $$((SECONDS - begun)) s"

book: go ## write anew what docs/ holds of the code: the picture of the floors, the list of tables, the test vectors, the stories of recovery, the metrics
	@go test -count 1 -run '^TestBook' . -update
	@go test -count 1 -run '^TestBook(Recovery|Metrics|Migration)' ./cmd/tutela -update

assets: ## fetch anew what pages load of others, pinned in server/web/page/assets/PINNED, from the npm registry
	@server/web/page/fetch-assets.sh

screenshots: go chromium ## take the pictures of pages in docs/images/ anew, in a real browser
	@command -v chromium >/dev/null || { echo "no chromium here: apt-get install chromium"; exit 1; }; \
	TUTELA_PICTURES="$$PWD/docs/images" go test -count 1 -p 1 -timeout 20m -run '^Test(Browser|States)_' \
		./server/web ./server/web/dashboard

demo: build ## the whole story, with real processes: enrol, approve, back up, reinstall, recover, reset
	@exec $(TUTELA) demo $(ARGS)

bench: go ## run every benchmark, one package at a time (BENCH=regexp BENCHTIME=1s; BENCH=Limits: what the server costs, beside its limits)
	@packages=$$(grep -rl --include='*_test.go' '^func Benchmark' . | xargs -r -n1 dirname | sort -u); \
	[ -n "$$packages" ] || { echo "no benchmark yet"; exit 0; }; \
	go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -p 1 -timeout 60m $$packages

fuzz: go ## fuzz every decoder for a short time each (FUZZTIME=10s)
	@grep -r --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]+' . | sort | while IFS=: read -r file func; do \
		package=$$(dirname "$$file"); target=$${func#func }; \
		echo "$$package $$target"; \
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x "$$package" </dev/null; \
	done

soak: gcc ## the long tests, TestSoak…, for SOAK=10m each
	@race=-race; command -v gcc >/dev/null || race=; \
	TUTELA_SOAK=$(SOAK) go test $$race -count 1 -p 1 -v -timeout 0 -run '^TestSoak' ./...

clean: ## remove what make built (never ./data)
	@rm -rf .bin

build: go
	@[ -x $(TUTELA) ] || echo "building tutela: the first time Go fetches what it needs and compiles it, which takes a minute or two"
	@CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o $(TUTELA) ./cmd/tutela

check: format vet lint

format: go
	@unformatted=$$(gofmt -l .); \
	[ -z "$$unformatted" ] || { echo "not formatted (gofmt -w .):"; echo "$$unformatted"; exit 1; }

# Without a C compiler go vet works all the same, as long as cgo is off.
vet: go
	@CGO_ENABLED=0 go vet ./...

# In CI nothing is left out. Elsewhere a machine without the module proxy says so and goes on.
lint: go
	@[ -x $(LINT) ] || { \
		echo "building golangci-lint $(LINT_VERSION), once: about 90 s"; \
		mkdir -p .bin/install && \
		GOFLAGS= CGO_ENABLED=0 GOBIN="$$PWD/.bin/install" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION) 2>.bin/lint.log && \
		mv .bin/install/golangci-lint $(LINT); \
	} || { echo "cannot build golangci-lint $(LINT_VERSION) (see .bin/lint.log): not linted"; [ -z "$${CI:-}" ]; }
	@[ ! -x $(LINT) ] || CGO_ENABLED=0 $(LINT) run ./...

go:
	@command -v go >/dev/null || { echo "cannot find Go: install $(GO_WANTED) or newer from https://go.dev/dl"; exit 1; }

# The race detector needs a C compiler.
gcc: go
	@command -v gcc >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
		{ $$as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends gcc libc6-dev; } >/dev/null 2>&1; \
	} || { echo "cannot install gcc, which the race detector needs: tests run without it, in CI not at all"; [ -z "$${CI:-}" ]; }

# The examples of docs/ are programs for Node, and one of them takes a library from npm.
node:
	@{ command -v node && command -v npm; } >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
		{ $$as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends nodejs npm; } >/dev/null 2>&1; \
	} || { echo "cannot install node and npm, for which the examples of docs/ are written: they are not tested, in CI not at all"; [ -z "$${CI:-}" ]; }

# The browser client is tested in a real browser. That is large: only CI installs it, elsewhere the tests say that they miss it.
postgresql:
	@[ -z "$${CI:-}" ] || { ls /usr/lib/postgresql/*/bin/initdb && ls /usr/sbin/pgbouncer; } >/dev/null 2>&1 || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
		{ $$as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends postgresql pgbouncer; } >/dev/null 2>&1; \
	} || { echo "cannot install postgresql and pgbouncer, over which the domain is tested too"; exit 1; }

chromium:
	@[ -z "$${CI:-}" ] || command -v chromium >/dev/null || { \
		as_root=; [ "$$(id -u)" = 0 ] || as_root="sudo -n"; \
		{ $$as_root apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$as_root apt-get install -y -qq --no-install-recommends chromium; } >/dev/null 2>&1; \
	} || { echo "cannot install chromium, in which the browser client is tested"; exit 1; }
