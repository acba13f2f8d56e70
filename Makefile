# Two commands set everything up on a fresh Debian 12: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
OUT ?= demo-out
JOBS ?= 2
BIN := $(VENV)/bin
SUDO := $(shell test "$$(id -u)" = 0 || command -v sudo)
# apt only where it can work: as root, or with a sudo that does not ask.
APT = command -v apt-get >/dev/null && { test "$$(id -u)" = 0 || sudo -n true 2>/dev/null; } && \
	$(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq

.PHONY: demo test install lint check clean
demo: $(BIN)/.base nasm
	$(BIN)/mrdo build x265
	$(BIN)/mrdo demo -o $(OUT)

# Tests hold real processes to deadlines, which they miss where the machine stalls under the others.
test: $(BIN)/.full nasm chromium
	$(BIN)/mrdo build x265
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder || \
	{ test $$? = 1 && echo "what failed is run once more, with nothing beside it" >&2 && \
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none; }

install: $(BIN)/.base

lint: $(BIN)/.full
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict

check: lint test

.PHONY: nasm
nasm:
	@command -v nasm >/dev/null || { echo "nasm is missing: installing it with apt" >&2; $(APT) nasm; } || \
	{ echo "error: nasm is missing and could not be installed here; run: sudo apt-get install nasm" >&2; exit 1; }

# The tests of the report look at it in a browser; without one they are skipped.
.PHONY: chromium
chromium:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
	{ echo "chromium is missing: installing it with apt" >&2; $(APT) chromium chromium-driver; } || \
	echo "warning: chromium could not be installed here: tests of the report's page will be skipped" >&2

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: python3.11 is missing; run: sudo apt-get install python3.11 python3.11-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(APT) python3-venv; } || \
	{ echo "error: $(PYTHON) cannot make a virtual environment; run: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(BIN)/.base: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --progress-bar on -e .
	touch $@

$(BIN)/.full: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --progress-bar on -e '.[exact,train,iqa,objects,cluster,query,dev]'
	touch $@ $(BIN)/.base

clean:
	rm -rf $(VENV) $(OUT) build dist *.egg-info
