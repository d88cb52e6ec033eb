# SPDX-License-Identifier: MIT
# What tests inherit: where programs and room for files are, who runs them, and what sanitizers and
# the tests themselves are told. All else belongs to the shell, make, git hook or service that has
# started them: a test that obeys it fails on one machine and not on another. ctest includes this
# before it runs any test (TEST_INCLUDE_FILES); lint.environment looks.
cmake_policy(PUSH)
cmake_policy(SET CMP0057 NEW) # IN_LIST
set(inherited PATH PKG_CONFIG_PATH HOME TMPDIR USER LOGNAME
    ASAN_OPTIONS LSAN_OPTIONS TSAN_OPTIONS UBSAN_OPTIONS
    KMEM_TEST_LAUNCHER KMEM_TEST_STRIDE KMEM_CRASHES KMEM_GOLDEN_WRITE KMEM_HANDLES_SEED
    KMEM_MODEL_SEED KMEM_MODEL_STEPS KMEM_BOOT_SECONDS)
execute_process(COMMAND env OUTPUT_VARIABLE environment)
string(REGEX MATCHALL "[A-Za-z_][A-Za-z0-9_%()]*=" names "${environment}")
foreach(name IN LISTS names)
    string(REPLACE "=" "" name "${name}")
    if(NOT name IN_LIST inherited)
        unset(ENV{${name}})
    endif()
endforeach()
set(ENV{LC_ALL} C.UTF-8)
# Sockets are made there, whose paths have 107 bytes.
string(LENGTH "$ENV{TMPDIR}" length)
if(length GREATER 40 OR NOT "$ENV{TMPDIR}" MATCHES "^/[A-Za-z0-9_./-]*$")
    unset(ENV{TMPDIR})
endif()
cmake_policy(POP)
