# make demo: install and run the AVGN notebook. make test: install and run the tests. Both on a bare machine.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PYTHONUNBUFFERED := 1
export JUPYTER_PLATFORM_DIRS := 1
# Threads that wait for each other sleep soon: where other processes are busy, spinning takes what they wait for.
export GOMP_SPINCOUNT ?= 3000

# make alone installs, and does nothing else.
.DEFAULT_GOAL := install

.PHONY: install demo ear test rehearsal smoke smoke-lowest lock notebooks notebook prose pictures colab seeds ablations site lint format bench gpu fuzz clean

$(BIN)/uv:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"avnb needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet 'uv<1'

# The versions that were tested, by name: requirements.lock. The ranges of pyproject.toml are for those who install avnb
# beside other things.
# avnb_threads.pth: what avnb/__init__.py says of OpenMP's threads, for processes that load torch before avnb (notebooks).
$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "avnb_threads.pth").write_text("import os; \"OMP_WAIT_POLICY\" in os.environ or os.environ.setdefault(\"GOMP_SPINCOUNT\", \"3000\")\n")'
	touch $@

install: $(VENV)/.installed

# The newest of everything that pyproject.toml allows, for every Python and system in one file.
lock: | $(BIN)/uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra notebooks --extra test --custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

# Tests start many processes. Where Python is told not to keep its byte code, each of them would compile torch anew.
$(VENV)/.compiled: $(VENV)/.installed
	$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true  # some packages carry files of another Python
	touch $@

demo: $(VENV)/.installed
	$(BIN)/papermill notebooks/04_avgn.ipynb outputs/04_avgn.ipynb -p dataset music --execution-timeout 1800

# A trained ear for the quick preset, audio_encoder = "aisfx": its weights (23 MB, CC BY 4.0) without what it depends on.
ear: $(VENV)/.installed
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps aisfx==0.1.2

# Two processes of one thread each take half the time of one process of two; a file's tests share what they train, and
# tests/conftest.py begins with the slowest files.
test: $(VENV)/.compiled
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadscope --no-loadscope-reorder

# From what users hold of every benchmark, in miniature, through every notebook to the papers' tables: an hour of a core.
# make test runs a diagonal of this grid, each benchmark and each notebook at least twice; REHEARSAL=none leaves it out.
REHEARSAL ?= full
rehearsal: $(VENV)/.compiled
	REHEARSAL=$(REHEARSAL) $(BIN)/python -m pytest tests/rehearsal

# What a fresh installation must be able to do, in a few minutes; the second time with the lowest versions allowed.
smoke: $(VENV)/.compiled
	$(BIN)/python -m pytest -m smoke

smoke-lowest: | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-lowest
	$(BIN)/uv pip install --quiet --python $(VENV)-lowest/bin/python --resolution lowest-direct --editable '.[notebooks,test]'
	$(VENV)-lowest/bin/python -m pytest -m smoke
	rm -rf $(VENV)-lowest

# Every notebook is run on the stand-in and saved as it ran: what a reader sees in git.
notebooks: $(VENV)/.installed
	$(BIN)/python tools/save_notebooks.py

# The skeleton of a method's notebook, or its parameters cell brought up to date: make notebook METHOD=avgn
notebook: $(VENV)/.installed
	$(BIN)/python -m avnb.notebook $(METHOD)

# Decimals in the notebooks' prose that no saved output shows.
prose: $(VENV)/.installed
	$(BIN)/python tools/check_prose.py

# README's two pictures, from AVGN's finished run on the stand-in.
pictures: $(VENV)/.installed
	$(BIN)/python tools/readme_pictures.py

# "Open in Colab" in every notebook, from the address in pyproject.toml: make colab REPOSITORY=https://github.com/you/avnb
colab: $(VENV)/.installed
	$(BIN)/python tools/colab_badges.py $(REPOSITORY)

# What every method reaches with three seeds: docs/results/seeds.json and README's table. An hour on two cores.
seeds: $(VENV)/.installed
	$(BIN)/python tools/seeds.py

# What the rows of the papers' ablations reach: docs/results/ablations.json. It goes on where it was stopped; some rows
# or fewer seeds alone: make ablations ROWS="--seeds 1 avgn dsol:table7"
ablations: $(VENV)/.installed
	$(BIN)/python tools/ablations.py $(ROWS)

# A site of README, docs/ and the notebooks as they are saved, in outputs/site; a link that leads nowhere stops it.
site: | $(BIN)/uv
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)-site
	$(BIN)/uv pip install --quiet --python $(VENV)-site/bin/python --group site
	$(VENV)-site/bin/python -m sphinx --quiet --fail-on-warning --keep-going -c docs/site . outputs/site
	rm -rf $(VENV)-site
	@echo "outputs/site/index.html"

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed
	$(BIN)/python -m pytest tests/benchmarks -o addopts= -o python_files='bench_*.py' --benchmark-sort=name

# What only a GPU can tell: right, fast, repeatable. Eight minutes of an H100; without a GPU the same lines run dry.
gpu: $(VENV)/.installed
	CUBLAS_WORKSPACE_CONFIG=:4096:8 AVNB_GPU_REPORT=docs/results/gpu.json \
	$(BIN)/python -m pytest tests/gpu -o addopts= -o pythonpath= --confcutdir=tests/gpu -s

# Damaged and hostile inputs by the thousand: make fuzz N=5000; the printed SEED repeats them.
N ?= 1000
fuzz: $(VENV)/.installed
	$(BIN)/python tools/fuzz.py $(N) $(if $(SEED),--seed $(SEED))

clean:
	rm -rf $(VENV) $(VENV)-* build *.egg-info .pytest_cache .ruff_cache
