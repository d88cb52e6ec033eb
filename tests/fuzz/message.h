/* SPDX-License-Identifier: MIT */
/*
 * message.h - any protobuf message by the choices of a fuzzer
 *
 * Made from the message's descriptor, so that a field that is new is chosen without a word here.
 * Texts are such as a hostile peer would send.
 */
#ifndef TESTS_FUZZ_MESSAGE_H
#define TESTS_FUZZ_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "proto/frame.h"
#include "tests/fuzz/fuzz.h"

/** message_choose() - Return: a message in the arena; NULL: there is no room for it. */
ProtobufCMessage *message_choose(struct choices *choices, struct arena *arena,
                                 const ProtobufCMessageDescriptor *descriptor);

#endif
