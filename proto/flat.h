/* SPDX-License-Identifier: MIT */
/*
 * flat.h - messages of a few numbers, flags and byte strings: those that are sent most
 */
#ifndef PROTO_FLAT_H
#define PROTO_FLAT_H

#include <stdbool.h>
#include <stddef.h>

#include <protobuf-c/protobuf-c.h>

#include "proto/attributes.h"

/**
 * flat_bytes() - how long a message is when it is packed
 * Return: false: it has other fields, or unknown ones; nothing is written.
 */
KMEM_MUST_USE bool flat_bytes(const ProtobufCMessage *message, size_t *ret_n_bytes);

/** flat_pack() - write a message that is flat. Return: how many bytes. */
size_t flat_pack(const ProtobufCMessage *message, unsigned char *to);

/**
 * flat_unpack() - decode into memory of descriptor->sizeof_message bytes
 * Return: false: it has other fields, or there is no memory: protobuf-c may make something of it.
 */
KMEM_MUST_USE bool flat_unpack(const ProtobufCMessageDescriptor *descriptor,
                               const unsigned char *from, size_t n_bytes,
                               ProtobufCAllocator *allocator, ProtobufCMessage *ret_message);

#endif
