# make tour   set up, then call a library through every target this machine can host
# make test   set up, then every test
# make check  set up, then the linters and type checks
# make bench  set up, then measure beside the others
# make soak   set up, then an hour of faults (FERRY_SOAK_SECONDS), fuzzers and random functions
# make reliability   set up, then measure what faults cost, for docs/reliability.md
#
# "Set up" is: on Debian as root, the system packages that foreign workers need
# (elsewhere they are named); a virtual environment in .venv; libferry in it, editable.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ROOT_ON_DEBIAN := $(shell [ "$$(id -u)" = 0 ] && [ -f /etc/debian_version ] && echo yes)

.PHONY: tour test check bench soak reliability setup system native sanitized msl-loadlib wheels popular clean

tour: setup
	$(BIN)/libferry tour

test: setup sanitized msl-loadlib wheels
	$(BIN)/python -m pytest tests $(PYTEST_OPTIONS)
	tests/with-sanitizers $(BIN)/python

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python -m pip install -q --group bench
	$(BIN)/python -m bench --write

soak: setup sanitized wheels popular
	$(BIN)/python -m bench.soak
	FERRY_CASES=1000000 FERRY_FUZZ_SECONDS=300 $(BIN)/python -m pytest tests/fuzz
	FERRY_CASES=1000000 FERRY_FUZZ_SECONDS=300 tests/with-sanitizers $(BIN)/python -k attack
	FERRY_CASES=20000 $(BIN)/python -m pytest tests/differential
	FERRY_CASES=2000 $(BIN)/python -m pytest tests/loader/random
	$(BIN)/python -m pytest tests/audit/test_wheels_agree.py tests/loader/dyld/test_delocate_agrees.py
	FERRY_CASES=1 FERRY_FUZZ_SECONDS=600 $(BIN)/python -m pytest tests/binary/test_fuzzed.py \
		tests/binary/test_elf_facts_agree.py

reliability: setup
	$(BIN)/python -m bench.reliability --write

setup: system $(VENV)/installed native

system:
ifeq ($(ROOT_ON_DEBIAN),yes)
	tools/setup-debian
else
	tools/setup-debian --check
endif

# again when what it installs changes
$(VENV)/installed: pyproject.toml native/hatch_build.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -q --group dev
	$(BIN)/python -m pip install -q --no-build-isolation --editable '.[build]'
	touch $@

# zig's own cache makes this quick when nothing has changed
native: $(VENV)/installed
	$(BIN)/python native/build.py

sanitized: $(VENV)/installed
	$(BIN)/python native/build.py --sanitize

# the example libraries in msl-loadlib's wheels for other systems than this one
msl-loadlib: build/msl-loadlib/windows build/msl-loadlib/linux-arm64

build/msl-loadlib/windows: PLATFORM := win_amd64
build/msl-loadlib/linux-arm64: PLATFORM := manylinux_2_17_aarch64
build/msl-loadlib/%: $(VENV)/installed
	rm -rf $@ $@.part
	$(BIN)/python -m pip install -q --no-deps --only-binary=:all: --platform $(PLATFORM) \
		--target $@.part "$$($(BIN)/python -m pip freeze | grep '^msl-loadlib==')"
	mv $@.part $@
	touch $@

# what others built for other systems, to read and to resolve (tests/wheels.py)
wheels: build/wheels/macos-arm64 build/wheels/macos-x86_64
wheels: build/wheels/windows-x64 build/wheels/windows-x86 build/wheels/windows-arm64
wheels: build/wheels/linux-x64

popular: build/wheels/popular-linux-x64 build/wheels/popular-windows-x64
popular: build/wheels/popular-macos-arm64

# pip takes no other platform than those that are named, not even an older one
build/wheels/linux-x64: PLATFORM := manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64
build/wheels/linux-x64: PACKAGES := numpy==2.4.6 cffi==2.1.1 pydantic-core==2.50.4 lief==1.0.0
build/wheels/macos-arm64: PLATFORM := macosx_14_0_arm64
build/wheels/macos-arm64: PACKAGES := numpy==2.5.5 pillow==13.0.0 lxml==6.1.3 \
	cryptography==50.0.2 grpcio==1.85.1 pyzmq==27.3.0 orjson==3.13.0 markupsafe==3.0.4
build/wheels/macos-x86_64: PLATFORM := macosx_11_0_x86_64
build/wheels/macos-x86_64: PACKAGES := numpy==2.5.5 pillow==13.0.0 psutil==7.2.2
build/wheels/windows-x64: PLATFORM := win_amd64
build/wheels/windows-x64: PACKAGES := numpy==2.5.5 pyzmq==27.3.0 grpcio==1.85.1
build/wheels/windows-x86: PLATFORM := win32
build/wheels/windows-x86: PACKAGES := pywin32==312 cffi==2.1.1
build/wheels/windows-arm64: PLATFORM := win_arm64
build/wheels/windows-arm64: PACKAGES := cffi==2.1.1 msgpack==1.2.4 numpy==2.5.5
build/wheels/popular-linux-x64: PLATFORM := manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64
build/wheels/popular-windows-x64: PLATFORM := win_amd64
build/wheels/popular-macos-arm64: PLATFORM := macosx_14_0_arm64
build/wheels/popular-%: PACKAGES := --requirement tests/popular-wheels.txt
build/wheels/%: $(VENV)/installed
	rm -rf $@ $@.part
	$(BIN)/python -m pip download -q --no-deps --only-binary=:all: --platform $(PLATFORM) \
		--python-version 3.12 --dest $@.part $(PACKAGES)
	mv $@.part $@
	touch $@

clean:
	rm -rf $(VENV) build dist src/libferry/_core*.so src/libferry/runtime/workers
