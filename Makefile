# `make demo` and `make test` set up everything they need in .venv.

PYTHON ?= python3
VENV := .venv
PARITY := .venv-parity
TPU := .venv-tpu
TUNIX := .venv-tunix
BIN := $(VENV)/bin
WORKERS ?= 2
INSTALL := -m pip install --quiet --disable-pip-version-check
PINS := requirements

.PHONY: demo test external slow parity tpu bench lint format record clean

demo: $(VENV)/run
	$(BIN)/python -m launch.demo --config=configs/demo.py --workdir=runs/demo

# Tests of outside data run where VCJAX_TEST_DATA names it (tests/external/outside.py).
test: $(VENV)/test
	$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadfile

# Those alone.
external: $(VENV)/test
	$(BIN)/python -m pytest tests/external

# What takes longer or needs system packages: chromium, debootstrap; each test says which.
slow: $(VENV)/test
	$(BIN)/python -m pytest tests/slow -o faulthandler_timeout=1200

# Live, against transformers and PyTorch, in an environment of its own.
parity: $(PARITY)/ready
	$(PARITY)/bin/python -m tests.parity.artefacts
	$(PARITY)/bin/python -m pytest tests/parity

# Compiles training steps for TPUs, which needs their compiler (Linux on x86-64) and no TPU.
tpu: $(TPU)/ready
	PYTHONPATH=$(TPU) JAX_PLATFORMS=cpu $(BIN)/python -m pytest tests/tpu

# How fast it is, beside transformers. For `launch.bench train --full` there is $(TUNIX)/ready too.
bench: $(VENV)/run $(PARITY)/ready
	$(BIN)/python -m launch.bench train
	$(BIN)/python -m launch.bench data

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(VENV)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Records transformers' outputs again, for `make test` to compare with.
record: $(PARITY)/ready
	$(PARITY)/bin/python -m tests.parity.record

# Each purpose installs what it adds to the one before.
$(VENV)/run: $(PINS)/run.txt setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "vcjax needs Python >= 3.11"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) -r $(PINS)/run.txt
	$(BIN)/python $(INSTALL) --no-deps -e .
	touch $@

$(VENV)/test: $(VENV)/run $(PINS)/eval.txt $(PINS)/test.txt
	$(BIN)/python $(INSTALL) -r $(PINS)/eval.txt -r $(PINS)/test.txt
	touch $@

# The type checker reads what the other purposes install.
$(VENV)/lint: $(VENV)/test $(PINS)/lint.txt
	$(BIN)/python $(INSTALL) -r $(PINS)/lint.txt
	touch $@

$(PARITY)/ready: $(wildcard $(PINS)/*.txt) setup.cfg pyproject.toml
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python $(INSTALL) torch==2.13.0 accelerate==1.15.0 peft==0.21.2
	$(PARITY)/bin/python $(INSTALL) -r $(PINS)/run.txt -r $(PINS)/eval.txt -r $(PINS)/test.txt
	$(PARITY)/bin/python $(INSTALL) --no-deps -e .
	touch $@

# The compiler that jax[tpu] pins, in a folder of its own: JAX looks for a TPU wherever it finds it.
$(TPU)/ready: $(VENV)/test
	$(BIN)/python $(INSTALL) --no-deps --upgrade --target $(TPU) libtpu==0.0.42.1
	touch $@

$(TUNIX)/ready:
	$(PYTHON) -m venv $(TUNIX)
	$(TUNIX)/bin/python $(INSTALL) google-tunix==0.1.7
	touch $@

clean:
	rm -rf $(VENV) $(PARITY) $(TPU) $(TUNIX) .pytest_cache .ruff_cache build dist *.egg-info
