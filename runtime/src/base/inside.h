// SPDX-License-Identifier: MIT
// Marks threads that work inside the library. What such a thread allocates must never be managed
// memory: a fault on it could wait for the very thread. A malloc replacement asks before it serves.
#pragma once

namespace godwit {

/// How many InsideScopes the calling thread is in.
[[nodiscard]] int inside_depth() noexcept;
void inside_enter() noexcept;
void inside_leave() noexcept;

class InsideScope {
 public:
  InsideScope() noexcept { inside_enter(); }
  ~InsideScope() { inside_leave(); }
  InsideScope(const InsideScope&) = delete;
  InsideScope& operator=(const InsideScope&) = delete;
};

}  // namespace godwit
