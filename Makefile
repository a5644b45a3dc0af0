# The daily verbs. Each calls a script, so that it can also be run without make.
.DEFAULT_GOAL := help
.PHONY: help up test check unit e2e update fuzz bench cost clean

help: ## this list
	@sed -n 's/^\([a-z0-9]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk '{ verb = $$1; sub(/:$$/, "", verb); $$1 = ""; printf "make %-7s%s\n", verb, $$0 }'

up: ## install what is missing, build, run (PROFILE=dev builds faster; Ctrl-C stops)
	@scripts/up.sh

test: ## everything: check, unit, e2e
	@scripts/test.sh

check: ## formatting, clippy, tidy, generated files are fresh
	@scripts/check.sh

unit: ## unit tests natively, on both databases, and of the pure crates on wasm32
	@scripts/setup.sh test
	@scripts/unit.sh

e2e: ## end-to-end tests with the real Envoy (FILTER=<pytest -k expression>)
	@scripts/setup.sh test
	@scripts/e2e.sh "$(FILTER)"

update: ## write the generated files anew
	@cargo xtask gen-proto
	@UPDATE_OPENAPI=1 cargo test --quiet --package reeve-control-plane --lib openapi

fuzz: ## fuzz one parser (NAME=json_request SECONDS=60)
	@scripts/fuzz.sh "$(NAME)" "$(SECONDS)"

bench: ## measure the ledger, kills of the control plane, a cold start, many providers (WHAT=ledger|kills|cold-start|providers)
	@scripts/setup.sh test
	@scripts/bench.sh $(WHAT)

cost: ## count the instructions of what the filter does for a request (needs valgrind; FILTER=<part of a name>)
	@scripts/instructions.sh "$(FILTER)"

clean: ## remove what was built; the tools that setup.sh fetched stay
	@cargo clean
	@rm -rf .tools tests/.artifacts
