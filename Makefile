# The words that a newcomer needs. `make` alone lists them.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down dev dev-down history rollback recover drift dns tunnel test test-fast test-host test-plugin lint bench docs lock

SETUP := ops/setup/start
RUN := $(SETUP) run
# Further words for pytest: make test PYTEST='tests/unit -k release'
PYTEST ?=
WHICH = --stack '$(or $(STACK),$(error say which stack, such as STACK=prod))'
# Further words for the benchmark: make bench BENCH=--bare
BENCH ?=

help: ## say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -e 's/:.*## /\t/' | expand -t 14

demo: ## deploy the bundled application to a server in a container; VERSION=v1.1.0 deploys that version
	@$(SETUP) containers
	@$(RUN) python -m ops.demo up $(if $(VERSION),--version '$(VERSION)')

demo-down: ## remove everything that the demo made
	@$(RUN) python -m ops.demo down

dev: ## run the bundled application in development mode, and bring each saved file; APP=../myapp takes your folder
	@$(SETUP) containers
	@$(RUN) python -m ops.development up $(if $(STACK),--stack '$(STACK)') $(if $(APP),--folder '$(APP)')

dev-down: ## remove everything that `make dev` made
	@$(RUN) python -m ops.development down $(if $(STACK),--stack '$(STACK)')

history: ## tell what was deployed, by whom, and what it changed: STACK=prod
	@$(RUN) python -m ops history $(WHICH)

rollback: ## go back to the last good configuration: STACK=prod; TO=v1.0.0 or TO=3 names another one
	@$(RUN) python -m ops rollback $(WHICH) $(if $(TO),--to '$(TO)')

recover: ## clear what a killed `up` has left, where that is safe: STACK=prod
	@$(RUN) python -m ops recover $(WHICH)

drift: ## tell what was changed by hand on the hosts of a stack: STACK=prod
	@$(RUN) python -m ops drift $(WHICH)

dns: ## tell whether the names of a site on AWS lead to it: STACK=prod
	@$(RUN) python -m ops dns $(WHICH)

tunnel: ## hold the way to machines on AWS through Systems Manager, beside `./pulumi up`: STACK=prod
	@$(RUN) python -m ops tunnel $(WHICH)

# Two files at once on any machine: a test mostly waits for its server, and a file shares one among its tests. In the
# order of their names: the longest ones have few tests, and would come last.
test: ## run every test, with a real engine and real servers
	@$(SETUP) containers
	@$(RUN) python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

# Two at once, since they keep a core busy each; neighbours stay together, as they share what was made.
test-fast: ## run the tests of the pure code and of the components, in half a minute
	@$(RUN) python -m pytest -n 2 --dist worksteal -m 'not e2e and not slow' $(or $(PYTEST),tests/unit tests/components)

# Four at once on any machine: they mostly wait for programs.
test-host: ## run the tests of what acts on a server, in a scratch folder with stand-ins for its programs, in a minute
	@$(RUN) python -m pytest -n 4 tests/host $(PYTEST)

test-plugin: ## compare a command plugin with what the project needs of it: PLUGIN=path; without it, the stand-in
	@$(SETUP) all
	@$(RUN) python -m pytest tests/plugins $(PYTEST)

lint: ## check the code: ruff, mypy, shellcheck, actionlint, zizmor, and what host/ may use
	@$(SETUP) lint

bench: ## measure first deploy, no-op, release and rollback, many in a row, and beside other tools; BENCH=own is a part
	@$(SETUP) containers
	@PYTHONPATH=host $(RUN) python -m bench $(BENCH)

docs: ## write docs/configuration.md anew from the settings
	@$(RUN) python -m ops.reference

lock: ## write requirements.txt anew from pyproject.toml
	@$(SETUP) lock
