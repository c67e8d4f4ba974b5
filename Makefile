# Two commands for a fresh machine (Debian 12, root, Python 3.11):  make demo  and  make test
HOSTS ?= 0
PYTEST = .venv/bin/python -m pytest

.PHONY: help demo demo-down test lint unit engine sandbox soak labs bench fresh wheel clean
help:
	@echo "make demo [HOSTS=3]   a whole course on this machine (on 3 pretend hosts over SSH)"
	@echo "make demo-down        remove it; the machine is as it was found"
	@echo "make test             everything: lint, types, import rules, unit, engine, sandbox"
	@echo "make lint unit engine sandbox      one part of it"
	@echo "make soak             the long ones that make test leaves out"
	@echo "make labs             every lab as large as in a class; writes docs/labs"
	@echo "make bench            speed and size, as ratios to what runs beside it"
	@echo "make fresh            both commands inside a bare Debian 12"
	@echo "make wheel            dist/occamctl-*.whl"

.venv/.has-occamctl: pyproject.toml tests/venv.sh
	@tests/venv.sh
.venv/.has-dev: pyproject.toml tests/venv.sh
	@tests/venv.sh dev

demo: .venv/.has-occamctl
	@.venv/bin/occamctl demo --hosts $(HOSTS)
demo-down: .venv/.has-occamctl
	@.venv/bin/occamctl demo --down

test: .venv/.has-dev
	@.venv/bin/python tests/engine_here.py
	@$(PYTEST) -n 3
lint: .venv/.has-dev
	@$(PYTEST) tests/rules
unit: .venv/.has-dev
	@$(PYTEST) tests/rules tests/unit
engine sandbox: .venv/.has-dev
	@.venv/bin/python tests/engine_here.py
	@$(PYTEST) tests/$@
soak: .venv/.has-dev
	@.venv/bin/python tests/engine_here.py
	@$(PYTEST) -m soak
labs: .venv/.has-dev
	@.venv/bin/python tests/engine_here.py
	@$(PYTEST) tests/sandbox/test_labs.py -m labs

bench: .venv/.has-dev
	@.venv/bin/python bench/run.py
fresh: .venv/.has-dev
	@.venv/bin/python tests/engine_here.py
	@tests/fresh.sh
wheel: .venv/.has-dev
	@.venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
clean:
	rm -rf dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
