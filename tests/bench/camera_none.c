/* SPDX-License-Identifier: MIT */
/* camera_none.c - what is not installed */
#include "tests/bench/camera.h"

#ifdef CAMERA_NO_BOOST
const struct camera camera_boost;
#endif
#ifdef CAMERA_NO_ICEORYX
const struct camera camera_iceoryx;
#endif
