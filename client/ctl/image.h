/* SPDX-License-Identifier: MIT */
/*
 * image.h - an executable file, as far as it says what can be loaded into it
 */
#ifndef CTL_IMAGE_H
#define CTL_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

/**
 * image_find() - the file that execvp() would execute
 * @path:  receives its name
 * Return: whether there is one.
 */
bool image_find(const char *program, char *path, size_t capacity_bytes);

/**
 * image_find_beside() - a file that is named from the directory that kmemctl itself is in
 * @access_mode:  what this process wants to do with it, as access() takes it
 * @path:         receives its name
 * Return: whether there is one.
 */
bool image_find_beside(const char *name, int access_mode, char *path, size_t capacity_bytes);

/**
 * image_refusal() - why no malloc() of another's can be loaded into a program
 * @path:  its file; of a script, the interpreter that it names is looked at
 *
 * Return: what follows "the program ..." in a sentence; NULL if nothing speaks against it, or if
 * the file can not be read.
 */
const char *image_refusal(const char *path);

#endif
