# What one does with this project. A Rust toolchain and a C compiler are all that `demo`, `test` and `bench` need.
# Everything is built with the release profile, so that each target finds what another has compiled.

CARGO ?= cargo
ONLY ?=

.PHONY: help demo test bench peers soak verify fix

help: ## Say what there is.
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/^([a-z]+):.*## */  make \1\t/' | expand -t 16

demo: ## Train and serve a small digit recogniser, in one program.
	$(CARGO) run --release --example digits

test: ## Every test, every example once, every bench once in its short form.
	@CARGO="$(CARGO)" scripts/test.sh

bench: ## The bench table; ONLY=pattern picks rows, ALLOCATOR=system leaves mimalloc out.
	ONLY="$(ONLY)" $(CARGO) run --release -p actinic-bench $(if $(filter system,$(ALLOCATOR)),--no-default-features)

peers: ## Side by side with Ray on this machine; installs it in a folder of its own (see benches/peers/README.md).
	ONLY="$(ONLY)" benches/peers/run.sh

soak: ## Everything at once for ten minutes; FOR=seconds for another time.
	ACTINIC_SOAK_SECONDS=$(or $(FOR),600) $(CARGO) test --release --test soak -- --nocapture

verify: ## All that a change must pass; changes nothing.
	@CARGO="$(CARGO)" scripts/verify.sh

fix: ## Format, and let clippy mend what it can.
	$(CARGO) fmt --all
	$(CARGO) clippy --fix --allow-dirty --allow-staged --release --workspace --all-targets
