# Every command a contributor needs. `make` alone lists them.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run tour pictures tools test test-quick test-postgres check fmt fmt-check clippy layers docs deny bench soak setup clean

# rustup's folder, for shells that have not read its profile yet.
export PATH := $(PATH):$(HOME)/.cargo/bin

# In CI the lock file must already be right; at a desk cargo may bring it up to date.
LOCKED := $(if $(CI),--locked)

# A machine without network may hold the right compiler under the name `stable` only.
# scripts/setup refuses one that is too old.
ifneq ($(shell rustc --version >/dev/null 2>&1 && echo ok),ok)
ifeq ($(shell RUSTUP_TOOLCHAIN=stable rustc --version >/dev/null 2>&1 && echo ok),ok)
export RUSTUP_TOOLCHAIN := stable
endif
endif

# The store's own tests stand on both engines in one run; those above it choose one.
POSTGRES_PASS := COMITY_TEST_STORE=postgres cargo test $(LOCKED) -p comity-app -p comity-api -p comity-console --test it

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: setup ## build and start a demo with sample data
	cargo run $(LOCKED) --release -- demo

tour: setup ## run the README's tour as a test
	cargo test $(LOCKED) -p comity --test it tour

pictures: tools ## take the pictures of the README from a demo, anew
	cargo test $(LOCKED) -p comity --test it -- --ignored --exact --nocapture browser::pictures_of_the_main_pages

DOCUMENT ?= openapi.json
clients: tools ## write the wire types of the clients from the server's own document
	COMITY_BLESS=1 cargo test $(LOCKED) -p comity --test it -- the_wire_types_of_the_clients

test: check tools ## everything that must be green before a merge
	cargo test $(LOCKED) --workspace
	$(POSTGRES_PASS)

test-quick: tools ## the tests alone, on files
	cargo test $(LOCKED) --workspace

test-postgres: ## the tests of app and doors once more, on PostgreSQL
	$(POSTGRES_PASS)

check: setup fmt-check clippy layers docs deny ## all but the tests: format, lints, layers, docs, licences

fmt: ## format the code
	cargo fmt --all

fmt-check:
	cargo fmt --all --check

clippy: ## lints, warnings are errors
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings

layers: ## prove who imports whom, and the budget of dependencies
	python3 scripts/check-layers --self-test >/dev/null || { python3 scripts/check-layers --self-test; exit 1; }
	python3 scripts/check-layers

docs: ## links in Markdown, and rustdoc without warnings
	python3 scripts/check-docs
	python3 docs/reference/check_vectors.py
	python3 docs/reference/verify_export.py docs/reference/sample-export.jsonl
	python3 docs/reference/verify_export.py --self-test docs/reference/sample-export.jsonl
	RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --quiet --workspace --no-deps --document-private-items

deny: ## licences, advisories and sources (only if cargo-deny is installed)
	@if cargo deny --version >/dev/null 2>&1; \
	then cargo deny check; \
	else echo "cargo-deny is not installed: skipped"; fi

bench: setup ## benchmarks; compare figures of one run only
	cargo bench $(LOCKED) --workspace

SOAK ?= 10
soak: setup ## the faults again and again, SOAK=10 times as often as in CI, and the track record
	COMITY_SOAK=$(SOAK) cargo test $(LOCKED) -p comity-store --test it -- server_faults
	COMITY_SOAK=$(SOAK) cargo test $(LOCKED) -p comity-app --test it -- disk_faults clock_steps nodes
	COMITY_SOAK=$(SOAK) cargo test $(LOCKED) -p comity --test it -- kill
	cargo test $(LOCKED) -p comity-api --test it -- --ignored --test-threads=1 timing
	python3 scripts/track-record

tools: setup ## install the foreign programs that the tests use, into target/tools
	@sh scripts/tools

setup: ## install what is missing, or say what is
	@sh scripts/setup

clean: ## remove what was built
	cargo clean
