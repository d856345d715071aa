# A front for Meson: `make` builds, `make run` shows it, `make test` proves it. Paths are relative, so that the directory's name
# may have spaces in it.
.DEFAULT_GOAL := build
.PHONY: build deps run test torture faults bench soak install clean slow-clients fuzz schemathesis tsan tidy valgrind docs help upgrade-test

DESTDIR ?=
prefix ?= /usr/local
FUZZ_SECONDS ?= 60

build: ## build build/outcomed
	@scripts/install-packages.sh --check build
	@test -f build/build.ninja || meson setup build
	@ninja -C build

deps: ## install the Debian packages that building, running and testing need
	@scripts/install-packages.sh test

run: ## build, start on 127.0.0.1:5000 with SQLite, show one recorded call
	@scripts/install-packages.sh run
	@$(MAKE) --no-print-directory build
	@scripts/run.sh

test: ## build with sanitizers and run every test
	@scripts/test.sh

torture: ## kill -9 TORTURE_KILLS (1000) times under load on each store
	@scripts/torture.sh

faults: build ## take PostgreSQL away for FAULTS_SECONDS (60) under FAULTS_RATE (500) webhooks/s; FAULTS_EVENTS (100000) at two nodes
	@scripts/faults.sh

upgrade-test: ## two versions on one database while it is upgraded
	@scripts/install-packages.sh test
	@scripts/upgrade.sh

bench: ## measure against nginx and pgbench
	@scripts/install-packages.sh bench
	@bench/run.sh

soak: ## half of the full speed for SOAK_SECONDS (1800) on each store: memory, descriptors, nothing lost
	@scripts/install-packages.sh bench
	@bench/soak.sh

install: build ## install binary, unit files and manual page (DESTDIR, prefix)
	@meson configure build -Dprefix="$(prefix)" >build/configure.txt
	@ninja -C build
	@DESTDIR="$(DESTDIR)" meson install -C build --no-rebuild

slow-clients: build ## idle, dripping and greedy clients beside good traffic, and too little memory: a table
	@scripts/install-packages.sh test
	@.venv/bin/python tests/support/slow_clients.py $(SLOW_ARGS)

fuzz: ## run the fuzzers for FUZZ_SECONDS (60) each, FUZZ_JOBS at once; FUZZ_TARGETS names some
	@scripts/install-packages.sh dev
	@FUZZ_SECONDS="$(FUZZ_SECONDS)" FUZZ_TARGETS="$(FUZZ_TARGETS)" FUZZ_JOBS="$(FUZZ_JOBS)" scripts/fuzz.py

schemathesis: ## requests made from /openapi.json, SCHEMATHESIS_EXAMPLES (300) for each operation and phase
	@SCHEMATHESIS_EXAMPLES="$${SCHEMATHESIS_EXAMPLES:-300}" scripts/test.sh tests/wire/test_openapi.py -k generated

tsan: ## the system, wire and fault tests under the thread sanitizer
	@scripts/tsan.sh

tidy: ## clang-tidy over src/
	@scripts/install-packages.sh dev
	@scripts/tidy.sh

valgrind: ## unit and property tests under valgrind
	@scripts/install-packages.sh dev
	@scripts/valgrind.sh

docs: build ## write the generated parts of the documents anew
	@scripts/docs.sh

clean: ## remove what was built
	@rm -rf build build-test build-bench build-fuzz build-tsan build-valgrind build-tidy build-faults

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
