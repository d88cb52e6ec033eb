# SPDX-License-Identifier: MIT
# The front door. On a fresh Debian 12 each of these installs what is missing (tests/setup) and goes
# on; everything they do is a CMake preset, for those who want to use CMake themselves.
#
# make builds what is installed, and nothing else: programs, library, no test. Whoever installs into
# a directory of their own needs no root: make install PREFIX=$HOME/.local
PREFIX ?= /usr/local
DESTDIR ?=
PRODUCT ?= build/product
LDCONFIG ?= ldconfig

all:
	tests/setup build
	cmake --preset product -B "$(PRODUCT)" -DCMAKE_INSTALL_PREFIX="$(PREFIX)"
	cmake --build "$(PRODUCT)"

install: all
	DESTDIR="$(DESTDIR)" cmake --install "$(PRODUCT)"
	@test -n "$(DESTDIR)" || client/tell_loader "$(PRODUCT)" "$(LDCONFIG)"

# What the last `make install` of this tree has installed; directories that others use stay.
uninstall:
	client/uninstall "$(PRODUCT)" "$(DESTDIR)"
	@test -n "$(DESTDIR)" || $(LDCONFIG) 2>/dev/null || true

# The packages for Debian, into build/deb: from a copy of what is in the tree, so that nothing is
# written into it. No network is needed where tests/setup has nothing to install, and no root.
deb:
	tests/setup deb
	debian/package build/deb

demo:
	tests/setup demo
	cmake --preset default
	cmake --build --preset default --target kmem_demo
	@tests/demo/demo build/default

# Unit and system tests on the release build: before each commit. Less than four minutes on two
# cores.
check:
	tests/setup check
	cmake --workflow --preset check

# clang: builds what is installed without a warning; what clang says of tests lint.tidy says. asan:
# builds and runs under AddressSanitizer, LeakSanitizer and UBSan. tsan: what has more than one
# thread, under ThreadSanitizer. default: the release build, every test and every lint.
test:
	tests/setup test
	cmake --workflow --preset clang
	cmake --workflow --preset asan
	cmake --workflow --preset tsan
	cmake --workflow --preset default

# The whole tree, tests and benchmarks included.
tree:
	tests/setup check
	cmake --preset default
	cmake --build --preset default

lint: tree
	tests/setup test
	ctest --preset default -L lint

# Some three quarters of an hour: clang-tidy with three times the states; five million steps of the
# core beside its model; every store of 4,000 states; three million steps of sharing, with half a
# million servers killed in them; 22,000 clients and 2,950 servers killed; 4,000 clients that share,
# 1,000 servers and 50 keepers; what it costs to kill a server every 50 ms for a minute; a million
# blocks, a third of them large; every system call of kmemd and of its clients fails for good.
torture: tree
	tests/setup test
	tests/lint/tidy . build/default 30000
	KMEM_MODEL_STEPS=1000000 build/default/tests/unit/test_core_model
	build/default/tests/crash/crash_every_store 4000
	build/default/tests/crash/crash_sharing_steps 3000000 1
	KMEM_CRASHES=10000 build/default/tests/system/system_death test_crash_loop_leaves_nothing
	build/default/tests/torture/torture --clients 12000 --servers 1750 --hangs
	build/default/tests/torture/torture --sharing --clients 4000 --servers 1000
	build/default/tests/torture/torture --churn 60 --without-rest --strict
	KMEM_TEST_STRIDE=1 build/default/tests/system/system_blocks \
	    test_a_million_random_blocks_are_zero_aligned_inside_and_apart
	KMEM_TEST_STRIDE=1 build/default/tests/system/system_exhaustion
	KMEM_TEST_STRIDE=1 build/default/tests/system/system_client_exhaustion

# Some three minutes: the system tests, with every kmemd in the sandbox of its unit. It needs root.
test-hardened: tree
	tests/setup test
	tests/hardened/run build/default

# Twenty minutes: a client killed a second, and nothing grows.
torture-soak: tree
	build/default/tests/torture/torture --soak 1200

# The packages in a bare Debian that is booted for them: installed as README.md says, used by root and two
# users, upgraded with clients at work, purged. As root; the first time needs a network, for debootstrap.
test-boot:
	tests/setup boot
	$(MAKE) deb
	tests/packaging/bare build/deb build/boot

# Some five minutes, in which nothing else should run. Then `cmake --build --preset default --target
# bench_docs` puts figures and plot where the README shows them.
bench:
	tests/setup bench
	$(MAKE) tree
	cmake --build --preset default --target bench

# Some ten minutes: how full a segment can be, and at what price. `cmake --build --preset default
# --target bench_fragmentation_docs` puts figures and pictures where docs/design.md shows them; ten
# million operations each take `build/default/tests/bench/bench_fragmentation --ops 10000000`.
bench-fragmentation:
	tests/setup bench
	$(MAKE) tree
	cmake --build --preset default --target bench-fragmentation

# Fuzzers (clang, libFuzzer, AddressSanitizer, UBSan): a minute each; or each for so long as SECONDS
# says, TARGET alone. What fails is kept in build/fuzz/findings.
SECONDS ?= 600
TARGET ?=
fuzzers:
	tests/setup fuzz
	cmake --preset fuzz
	cmake --build --preset fuzz

fuzz-short: fuzzers
	tests/fuzz/fuzz build/fuzz 60 $(TARGET)

fuzz: fuzzers
	tests/fuzz/fuzz build/fuzz $(SECONDS) $(TARGET)

# The corpus anew: conversations are recorded, and what fuzzers have found since is merged into it.
fuzz-seeds: fuzzers
	cmake --preset default
	cmake --build --preset default --target kmemd --target kmemctl --target fuzz_recorder \
	    --target fuzz_speaker
	tests/fuzz/seeds build/default build/fuzz

# Which branches the tests take, for each directory. Then `cmake --build --preset coverage --target
# coverage_docs` puts the table where docs/design.md shows it.
coverage:
	tests/setup coverage
	cmake --preset coverage
	cmake --build --preset coverage
	tests/coverage build/coverage

clean:
	rm -rf build

.PHONY: all install uninstall deb demo check test tree lint torture torture-soak test-boot test-hardened bench \
	bench-fragmentation fuzzers fuzz-short fuzz fuzz-seeds coverage clean
