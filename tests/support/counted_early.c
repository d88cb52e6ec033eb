/* SPDX-License-Identifier: MIT */
/*
 * Where branches are counted, a library's counters are mapped when the last of its constructors
 * runs, and only the first process of all keeps what was counted before. This one is the first: so
 * what other constructors do is counted, and that of a process that they end.
 */
extern void __llvm_profile_initialize(void);

/* 101: the first that is not the compiler's own. */
__attribute__((constructor(101))) static void map_counters(void)
{
    __llvm_profile_initialize();
}
