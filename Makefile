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
# UBSan. tsan: what has more than one thread, under ThreadSanitizer. default: the release build,
# every test and every lint.
test:
	tests/setup test
	cmake --workflow --preset clang
	cmake --workflow --preset asan
	cmake --workflow --preset tsan
	cmake --workflow --preset default

lint: all
	tests/setup test
	ctest --preset default -L lint

# Less than thirty minutes: every store of 4,000 states; 22,000 clients and 2,950 servers killed;
# what it costs to kill a server every 50 ms for a minute; every system call of kmemd fails for good.
torture: all
	tests/setup test
	tests/system/torture build/default
	build/default/tests/torture/torture --clients 10000 --servers 1000 --hangs
	build/default/tests/torture/torture --churn 60 --without-rest --strict
	KMEM_TEST_STRIDE=1 build/default/tests/system/system_exhaustion

# Twenty minutes: a client killed a second, and nothing grows.
torture-soak: all
	tests/setup test
	build/default/tests/torture/torture --soak 1200

# Some five minutes, in which nothing else should run. Then `cmake --build --preset default --target
# bench_docs` puts figures and plot where the README shows them.
bench:
	tests/setup bench
	$(MAKE) all
	cmake --build --preset default --target bench

install: all
	cmake --install build/default
	test -n "$(DESTDIR)" || ldconfig

clean:
	rm -rf build

.PHONY: all configure demo test lint torture torture-soak bench install clean
