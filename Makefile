# Every target sets up what it needs: `make demo` and `make test` work on a fresh checkout.
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-full demo-robot pictures test test-all check docs format app clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORLDEVAL := $(BIN)/worldeval
DEMO := runs/demo
FULL := runs/full
ROBOT := runs/robot

help: ## Show the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything in it; quick when it is there already.

$(READY): pyproject.toml constraints.txt .ci/setup
	@PYTHON="$(PYTHON)" .ci/setup $(VENV)
	@touch $@

demo: setup ## Rank the shipped checkpoints in the world model, beside the simulator's truth.
	$(WORLDEVAL) rank metaworld --out $(DEMO) --truth
	$(WORLDEVAL) report $(DEMO)
	$(WORLDEVAL) export $(DEMO) --select "success and probability > 0.8" --out $(DEMO)/dataset

demo-full: setup ## The same from nothing: collect, train everything, rank (about 80 minutes on 2 cores).
	$(WORLDEVAL) data collect metaworld --out $(FULL)/data
	$(WORLDEVAL) policy train policies-weak --data $(FULL)/data --out $(FULL)/weak-policies --jobs 2
	$(WORLDEVAL) data collect metaworld-weak --set policies=[$(FULL)/weak-policies] --out $(FULL)/weak
	$(WORLDEVAL) train --model latent --data $(FULL)/data --weak $(FULL)/weak --out $(FULL)/world
	$(WORLDEVAL) judge train --world $(FULL)/world --data $(FULL)/data --weak $(FULL)/weak \
		--set horizon=30 --out $(FULL)/judge-trained
	$(WORLDEVAL) policy train policies-dev --data $(FULL)/data --out $(FULL)/dev-policies --jobs 2
	$(WORLDEVAL) rank metaworld-dev --world $(FULL)/world --judge $(FULL)/judge-trained \
		--policies $(FULL)/dev-policies --truth --films 0 --out $(FULL)/dev
	$(WORLDEVAL) judge calibrate $(FULL)/dev --judge $(FULL)/judge-trained --out $(FULL)/judge
	$(WORLDEVAL) policy train policies-test --data $(FULL)/data --out $(FULL)/policies --jobs 2
	$(WORLDEVAL) rank metaworld --world $(FULL)/world --judge $(FULL)/judge \
		--policies $(FULL)/policies --truth --out $(FULL)/rank
	$(WORLDEVAL) report $(FULL)/rank
	$(WORLDEVAL) export $(FULL)/rank --select "success and probability > 0.8" --out $(FULL)/rank/dataset

demo-robot: $(ROBOT)/demos $(ROBOT)/hasty ## Another robot from nothing: record PushT, learn, and rank beside its simulator.
	$(BIN)/python benchmarks/robots.py pusht --demos $(ROBOT)/demos --also $(ROBOT)/hasty \
		--out $(ROBOT) --look --results $(ROBOT)/robots.json --jobs 2
	$(WORLDEVAL) report $(ROBOT)/rank

# Recordings appear as a whole; an interrupted one continues.
$(ROBOT)/demos: | $(VENV)/.pusht
	$(BIN)/python benchmarks/pusht.py --episodes 100 --out $@

$(ROBOT)/hasty: | $(VENV)/.pusht
	$(BIN)/python benchmarks/pusht.py --episodes 40 --tries 12 --first-seed 5000 --out $@

$(VENV)/.pusht: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[pusht]'
	@touch $@

test: setup ## Run the tests, without those marked slow.
	$(BIN)/pytest -q -m "not slow" -n 2 --dist loadfile

test-all: setup ## Run every test.
	$(BIN)/pytest -q -n 2 --dist loadfile

check: setup ## Lint, formatting and types.
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

docs: setup ## Write the documentation as a site to build/site; broken links are refused.
	$(BIN)/zensical build --strict

format: setup ## Let ruff put the code in order.
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

app: setup ## Open the viewer in a browser.
	@mkdir -p runs
	$(WORLDEVAL) view runs

pictures: setup ## Remake the pictures of docs/ from runs/demo (after `make demo`; needs Chromium).
	$(WORLDEVAL) film $(DEMO) --real $(addsuffix /door-open-v3-500000/500000,bc-all/step-250 bc-all/step-2400)
	$(WORLDEVAL) report $(DEMO) --picture docs/demo.png --animation docs/demo.webp --json \
		> benchmarks/results/demo.json
	$(BIN)/python .ci/screenshots.py $(dir $(DEMO)) docs/viewer --run $(notdir $(DEMO)) \
		--report $(DEMO)/report/index.html

clean: ## Remove .venv and caches; runs/ stays.
	rm -rf $(VENV) .pytest_cache .ruff_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
