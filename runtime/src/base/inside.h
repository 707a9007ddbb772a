// SPDX-License-Identifier: MIT
// Marks threads that work inside the library. What such a thread allocates must never be managed
// memory: a fault on it could wait for the very thread. A malloc replacement asks before it serves.
#pragma once

#include <signal.h>

#include "runtime/src/base/cancel.h"

namespace godwit {

/// How many InsideScopes the calling thread is in.
[[nodiscard]] int inside_depth() noexcept;
void inside_enter() noexcept;
void inside_leave() noexcept;

/// Not for threads that stay inside to their end: those of a driver may be cancelled by it.
class InsideScope {
 public:
  InsideScope() noexcept { inside_enter(); }
  ~InsideScope() { inside_leave(); }
  InsideScope(const InsideScope&) = delete;
  InsideScope& operator=(const InsideScope&) = delete;

 private:
  CancelScope uncancelled_;
};

/// Keeps the program's signals off this thread while it holds what a fault could wait for: a signal
/// handler that touched managed memory then would wait for the thread that it interrupted. Signals
/// that report a fault of the thread itself stay open.
class SignalScope {
 public:
  SignalScope() noexcept;
  ~SignalScope();
  SignalScope(const SignalScope&) = delete;
  SignalScope& operator=(const SignalScope&) = delete;

 private:
  sigset_t before_;
};

}  // namespace godwit
