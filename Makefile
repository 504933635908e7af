# The commands of this project; CI runs the same ones. `make help` lists them.

SHELL := /bin/bash
# Node.js that scripts/bootstrap put here, where the machine's own is missing or too old.
export PATH := $(CURDIR)/.tools/node/node_modules/.bin:$(PATH)

JOBS ?= $(shell nproc)
PRESET ?= release

.PHONY: help demo demo-cluster build addon dist test test-long lint format asan tsan sanitize fuzz bench bench-check \
	bench-curves bench-scale bench-peers model docs package clean bootstrap

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

demo: bootstrap addon dist ## install what is missing, build, and run the invoice approval
	@scripts/demo

demo-cluster: addon dist ## three workers on PostgreSQL and Redis, 5,000 orders; a worker and Redis are killed
	@scripts/bootstrap test
	@scripts/demo_cluster

build: bootstrap dist ## build everything (PRESET=debug, clang, … for another preset)
	@cmake --preset $(PRESET) > /dev/null
	@cmake --build --preset $(PRESET) --parallel $(JOBS)

addon: bootstrap
	@cmake --preset release > /dev/null
	@cmake --build --preset release --parallel $(JOBS) --target pawl_node

dist: bootstrap
	@cd node && node build.mjs

bootstrap:
	@scripts/bootstrap

test: ## build, then every test and check but the long ones
	@scripts/bootstrap test
	@$(MAKE) --no-print-directory build
	@scripts/run_tests

test-long: ## the long tests too: every crash point, packages in a bare Debian, fuzzers, docs
	@scripts/bootstrap test lint package docs
	@$(MAKE) --no-print-directory build
	@scripts/run_tests --long

lint: ## clang-tidy on what differs from main (FILES=all for everything), and tsc
	@scripts/bootstrap test lint
	@scripts/lint $(FILES)

format: ## rewrite the sources in the project's format
	@scripts/bootstrap test
	@scripts/check_format --fix

asan: ## tests under the address and undefined behaviour sanitizers (PRESET=asan-clang: C++ only)
	@$(MAKE) --no-print-directory sanitize PRESET=$(if $(filter release,$(PRESET)),asan,$(PRESET))

tsan: ## C++ tests under the thread sanitizer
	@$(MAKE) --no-print-directory sanitize PRESET=tsan

sanitize: dist
	@scripts/bootstrap lint
	@cmake --preset $(PRESET) > /dev/null
	@cmake --build --preset $(PRESET) --parallel $(JOBS)
	@scripts/run_tests --sanitized $(PRESET)

fuzz: ## run each fuzzer for a while (FUZZ_SECONDS=60)
	@scripts/bootstrap lint
	@scripts/fuzz $(FUZZ_SECONDS)

bench: build ## run the benchmarks (BENCH=three-step,parked, HOST=ts, N=, CONCURRENCY=, FOLDER=)
	@scripts/bench

bench-check: ## compare the micro-benchmarks with another version's (BASE=REF, BENCH=REGEX, ROUNDS=5)
	@scripts/bootstrap test
	@scripts/bench_check $(if $(BASE),--base '$(BASE)') $(if $(BENCH),--filter '$(BENCH)') \
	  $(if $(ROUNDS),--rounds $(ROUNDS))

bench-curves: build ## how cost grows, into docs/performance.md (CURVES=clients,payload MAX= ROUNDS= FOLDER=)
	@scripts/bootstrap curves
	@scripts/bench_curves

bench-scale: build ## workers on PostgreSQL and Redis (BENCH=workers,takeover ROUNDS= N= PAGE= QUIET_SECONDS=)
	@scripts/bootstrap test
	@scripts/bench_scale

bench-peers: build ## Pawl beside other engines, in one table (PEERS=pawl,dbos WORKLOADS=approval N=200)
	@scripts/bootstrap peers || echo "bench-peers: going on with what is there" >&2
	@node bench/peers/run.mjs

model: ## check the models of docs/scale with spin (LONG=yes: with more faults)
	@scripts/bootstrap model
	@scripts/check_model $(if $(LONG),--long)

docs: ## the reference of both languages, from the comments, in build/docs
	@scripts/bootstrap docs
	@scripts/docs

package: bootstrap build ## dist/pawl.tgz for npm and dist/pawl-cpp-VERSION-linux-ARCH.tar.gz for CMake
	@scripts/package

clean: ## remove everything that was built
	rm -rf build dist node/dist node/prebuilt
