// SPDX-License-Identifier: MIT
// Keeps pthread_cancel() off a thread while it works for its program: what malloc() and matrix
// products do on the way (files, locks, lines on stderr) are points of cancellation, which those
// two must not be, and unwinding from there would end the process. The request stays pending.
#pragma once

#include <pthread.h>

namespace godwit {

/// Nests. Cheap: two stores to the thread's own state, or none inside another.
class CancelScope {
 public:
  CancelScope() noexcept { ::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before_); }
  ~CancelScope() { ::pthread_setcancelstate(before_, nullptr); }
  CancelScope(const CancelScope&) = delete;
  CancelScope& operator=(const CancelScope&) = delete;

 private:
  int before_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace godwit
