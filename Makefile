# `make demo` and `make test` set up everything they need in .venv.

PYTHON ?= python3
VENV := .venv
PARITY := .venv-parity
TPU := .venv-tpu
DOCS := .venv-docs
TUNIX := .venv-tunix
DATATROVE := .venv-datatrove
LLAMA := .venv-llama
CLIENTS := .venv-clients
BIN := $(VENV)/bin
WORKERS ?= 2
INSTALL := -m pip install --quiet --disable-pip-version-check
PINS := requirements
# Else the pip of Python 3.11 warns of a package that has no pyproject.toml.
export PIP_USE_PEP517 := 1

.PHONY: demo test external slow parity tpu bench docs lint format record clean

demo: $(VENV)/run
	$(BIN)/python -m launch.demo --config=configs/demo.py --workdir=runs/demo
	@echo 'once in each shell, before such commands: source $(VENV)/bin/activate'

# Tests on third-party data run if VCJAX_TEST_DATA names its folder (tests/external/outside.py).
test: $(VENV)/test
	$(BIN)/python -m pytest tests -n $(WORKERS) --dist loadfile

# The tests on third-party data alone.
external: $(VENV)/test
	$(BIN)/python -m pytest tests/external

# Tests that take longer or need system packages (chromium, debootstrap), which each test names.
slow: $(VENV)/slow
	$(BIN)/python -m pytest tests/slow -n $(WORKERS) --dist loadfile -o faulthandler_timeout=1200

# Compares live with transformers and PyTorch, in a separate environment, and has PyRIT, Inspect and
# lm-eval ask the server.
parity: $(PARITY)/ready $(CLIENTS)/ready
	$(PARITY)/bin/python -m tests.parity.artefacts
	$(PARITY)/bin/python -m pytest tests/parity

# Compiles training steps for TPUs. That needs the TPU compiler (Linux on x86-64), but no TPU.
tpu: $(TPU)/ready
	PYTHONPATH=$(TPU) JAX_PLATFORMS=cpu $(BIN)/python -m pytest tests/tpu

# Measures speed beside transformers. `launch.bench train --full` also needs $(TUNIX)/ready.
bench: $(VENV)/run $(PARITY)/ready
	$(BIN)/python -m launch.bench train
	$(BIN)/python -m launch.bench data

# The site, into build/site; a warning is an error. Then the links of its pages are followed.
docs: $(DOCS)/ready $(VENV)/test
	PYTHONPATH=$(DOCS) JAX_PLATFORMS=cpu $(BIN)/python -m sphinx -W --keep-going -q -E docs build/site
	SITE=build/site $(BIN)/python -m pytest tests/site

lint: $(VENV)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright
	$(BIN)/shellcheck --external-sources launch/*.sh .ci/run

format: $(VENV)/lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Records transformers' outputs again, for `make test` to compare with.
record: $(PARITY)/ready
	$(PARITY)/bin/python -m tests.parity.record

# Each environment installs what it adds to the one before.
$(VENV)/run: $(PINS)/run.txt setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "vcjax needs Python >= 3.11"'
	$(PYTHON) -m venv $(VENV)
	@echo 'installs the packages of $(PINS)/run.txt into $(VENV): 1.3 GB, some minutes'
	$(BIN)/python $(INSTALL) -r $(PINS)/run.txt
	$(BIN)/python $(INSTALL) --no-deps -e .
	touch $@

$(VENV)/test: $(VENV)/run $(PINS)/eval.txt $(PINS)/test.txt
	$(BIN)/python $(INSTALL) -r $(PINS)/eval.txt -r $(PINS)/test.txt
	touch $@

$(VENV)/slow: $(VENV)/test $(PINS)/slow.txt
	$(BIN)/python $(INSTALL) -r $(PINS)/slow.txt
	touch $@

# The type checker reads the packages that the other environments install, Ray of slow.txt as well.
$(VENV)/lint: $(VENV)/slow $(PINS)/lint.txt
	$(BIN)/python $(INSTALL) -r $(PINS)/lint.txt
	touch $@

$(PARITY)/ready: $(PINS)/run.txt $(PINS)/eval.txt $(PINS)/test.txt setup.cfg pyproject.toml
	$(PYTHON) -m venv $(PARITY)
	$(PARITY)/bin/python $(INSTALL) torch==2.13.0 accelerate==1.15.0 peft==0.21.2
	$(PARITY)/bin/python $(INSTALL) -r $(PINS)/run.txt -r $(PINS)/eval.txt -r $(PINS)/test.txt
	$(PARITY)/bin/python $(INSTALL) --no-deps -e .
	touch $@

$(CLIENTS)/ready: $(PINS)/clients.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python $(INSTALL) --no-deps -r $(PINS)/clients.txt
	touch $@

# The compiler that jax[tpu] pins, in a separate folder, because JAX looks for a TPU where it finds it.
$(TPU)/ready: $(VENV)/test
	$(BIN)/python $(INSTALL) --no-deps --upgrade --target $(TPU) libtpu==0.0.42.1
	touch $@

# Sphinx, in a separate folder beside the packages that the reference is read from.
$(DOCS)/ready: $(VENV)/run $(PINS)/docs.txt
	$(BIN)/python $(INSTALL) --no-deps --upgrade --target $(DOCS) -r $(PINS)/docs.txt
	touch $@

$(TUNIX)/ready:
	$(PYTHON) -m venv $(TUNIX)
	$(TUNIX)/bin/python $(INSTALL) google-tunix==0.1.7
	touch $@

# What `launch.bench prepare` compares its steps with.
$(DATATROVE)/ready:
	$(PYTHON) -m venv $(DATATROVE)
	$(DATATROVE)/bin/python $(INSTALL) datatrove==0.10.1 spacy==3.8.18 jieba==0.42.1 \
		ftfy==6.3.1 nltk==3.10.4 tokenizers==0.23.3 orjson==3.13.0 'xxhash<4'
	touch $@

# llama.cpp, built from source (5 minutes of one core; needs a C++ compiler), for `launch.bench generate`.
$(LLAMA)/ready:
	$(PYTHON) -m venv $(LLAMA)
	$(LLAMA)/bin/python $(INSTALL) llama-cpp-python==0.3.36
	touch $@

clean:
	rm -rf $(VENV) $(PARITY) $(TPU) $(DOCS) $(TUNIX) $(DATATROVE) $(LLAMA) $(CLIENTS) .pytest_cache .ruff_cache build dist *.egg-info
