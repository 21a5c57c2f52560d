# Two commands do everything: `make up` and `make test`. Needs Rust (cargo) and
# Debian's build-essential; the rest is installed by `make setup`, which both
# call, and which says each thing that it installs.

CARGO   ?= cargo
BIN     := target/x86_64-unknown-linux-gnu/debug
LOCAL   := $(BIN)/etcd-local
AGENTS  ?= 3
OPTIONS ?=

.PHONY: help setup build up down status test lint deny release bench

help:
	@echo 'make up [OPTIONS=options.json] [AGENTS=3]   a real Mesos and a three-member etcd on this machine'
	@echo 'make status                                 pods, members, leader, plan'
	@echo 'make down [CLEAN=1]                         stops it; with CLEAN=1 removes everything that it made'
	@echo 'make test                                   all tests'
	@echo 'make setup | build | lint | deny | release | bench'

# etcd-local can be built on a bare machine; what the other parts need to be
# built (protoc) is among what it installs.
$(LOCAL): FORCE
	@$(CARGO) build $(QUIET) -p etcd-local
.PHONY: FORCE
FORCE:

setup: $(LOCAL)
	@$(LOCAL) setup

build: setup
	@$(CARGO) build --workspace

up: build
	@$(LOCAL) up --agents $(AGENTS) $(if $(OPTIONS),--options $(OPTIONS))

# By then it is built, and Cargo has nothing to say that anybody waits for.
down status: QUIET := --quiet

down: $(LOCAL)
	@$(LOCAL) down $(if $(CLEAN),--clean)

status: $(LOCAL)
	@$(LOCAL) status

# Everything is built before, since tests start the programs of other parts; with
# the tests, since Cargo builds the libraries below anew for another set of targets.
test: setup
	@$(CARGO) build --workspace --all-targets
	etcd="$$($(LOCAL) setup --print-etcd-dir)" && \
	ETCD_TEST_BIN_DIR="$$etcd" $(CARGO) test --workspace --no-fail-fast

lint:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# Needs `cargo install --locked cargo-deny`; what is refused stands in deny.toml.
deny:
	$(CARGO) deny check

release: setup
	$(CARGO) build --release -p etcd-scheduler -p etcd-executor -p dcos-etcd

bench: build
	$(CARGO) bench --quiet --workspace --bench offers --profile dev
	$(CARGO) run --quiet -p etcd-tests --bin etcd-bench
