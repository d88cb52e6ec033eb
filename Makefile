# SPDX-License-Identifier: MIT
# The front door. On a fresh Debian 12 each of these installs what is missing (tests/setup) and goes
# on; everything they do is a CMake preset, for those who want to use CMake themselves.
PREFIX ?= /usr/local

all: configure
	cmake --build --preset default

configure:
	tests/setup build
	cmake --preset default -DCMAKE_INSTALL_PREFIX=$(PREFIX)

demo: configure
	cmake --build --preset default --target kmem_demo
	@tests/demo/demo build/default

# clang: builds without a warning. asan: builds and runs under AddressSanitizer, LeakSanitizer and
# UBSan. default: the release build, every test and every lint.
test:
	tests/setup test
	cmake --workflow --preset clang
	cmake --workflow --preset asan
	cmake --workflow --preset default

lint: all
	tests/setup test
	ctest --preset default -L lint

# Some eight minutes: 10,000 client kills, 3,750 server kills, every store of 10,000 states.
torture: all
	tests/setup test
	tests/system/torture build/default

# Some five minutes. What it compares with is what is there; `tests/setup bench` installs it all.
bench: all
	cmake --build --preset default --target bench

install: all
	cmake --install build/default
	test -n "$(DESTDIR)" || ldconfig

clean:
	rm -rf build

.PHONY: all configure demo test lint torture bench install clean
