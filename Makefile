# `make demo` and `make test` set up everything they need in .venv.

PYTHON ?= python3
VENV := .venv
PARITY := .venv-parity
TPU := .venv-tpu
TUNIX := .venv-tunix
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: demo test parity tpu bench lint format record clean

demo: $(VENV)/ready
	$(BIN)/python -m launch.demo --config=configs/demo.py --workdir=runs/demo

test: $(VENV)/ready
	$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadfile

# Live, against transformers and PyTorch, in an environment of its own.
parity: $(PARITY)/ready
	$(PARITY)/bin/python -m pytest tests/parity

# Compiles training steps for TPUs, which needs their compiler (Linux on x86-64) and no TPU.
tpu: $(TPU)/ready
	PYTHONPATH=$(TPU) JAX_PLATFORMS=cpu $(BIN)/python -m pytest tests/tpu

# How fast it is, beside transformers. For `launch.bench train --full` there is $(TUNIX)/ready too.
bench: $(VENV)/ready $(PARITY)/ready
	$(BIN)/python -m launch.bench train
	$(BIN)/python -m launch.bench data

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Records transformers' outputs again, for `make test` to compare with.
record: $(PARITY)/ready
	$(PARITY)/bin/python -m tests.parity.record

$(VENV)/ready: requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "vcjax needs Python >= 3.11"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

$(PARITY)/ready: requirements.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 accelerate==1.15.0 peft==0.21.2
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(PARITY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	touch $@

# The compiler that jax[tpu] pins, in a folder of its own: JAX looks for a TPU wherever it finds it.
$(TPU)/ready: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
		--target $(TPU) libtpu==0.0.42.1
	touch $@

$(TUNIX)/ready:
	$(PYTHON) -m venv $(TUNIX)
	$(TUNIX)/bin/python -m pip install --quiet --disable-pip-version-check google-tunix==0.1.7
	touch $@

clean:
	rm -rf $(VENV) $(PARITY) $(TPU) $(TUNIX) .pytest_cache .ruff_cache build dist *.egg-info
