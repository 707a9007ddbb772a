// SPDX-License-Identifier: MIT
#pragma once

#include <pthread.h>

namespace godwit::preload {

/// The pthread_create() behind ours; for threads of this library.
int next_pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*run)(void*),
                        void* argument) noexcept;

}  // namespace godwit::preload
