// SPDX-License-Identifier: MIT
// The one Godwit context of the process, made at the first large request.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "godwit.h"
#include "runtime/src/base/cancel.h"

namespace godwit::preload {

/// Bounds of the context's address space, written once before the context is published. A thread
/// that holds a managed address got it after that, so relaxed loads see them.
struct ManagedBounds {
  std::atomic<uintptr_t> base{0};
  std::atomic<size_t> bytes{0};
};
extern constinit ManagedBounds managed_bounds;

[[nodiscard]] inline bool is_managed(const void* address) noexcept {
  return reinterpret_cast<uintptr_t>(address) -
             managed_bounds.base.load(std::memory_order_relaxed) <
         managed_bounds.bytes.load(std::memory_order_relaxed);
}

/// While one lives, this thread gets no managed memory: it is making the context, or forking.
class BusyScope {
 public:
  BusyScope() noexcept;
  ~BusyScope();
  BusyScope(const BusyScope&) = delete;
  BusyScope& operator=(const BusyScope&) = delete;

 private:
  CancelScope uncancelled_;
};

/// True when this thread must not enter libgodwit: it is busy as above, or inside it.
[[nodiscard]] bool thread_is_inside() noexcept;

/// From the library's constructor: libgodwit.so is initialised, a context may be made.
void process_context_start(bool chaos) noexcept;

/// The context, or null: there is none (create is false), it is being made by another thread, it
/// could not be made, or this is a forked child.
[[nodiscard]] godwit_context* process_context_get(bool create) noexcept;

/// The same with create true, but waits while another thread makes it. Not for malloc(): that
/// thread may need what the caller of malloc() holds.
[[nodiscard]] godwit_context* process_context_wait() noexcept;

/// Null when managed memory is not to be had here and now; the small heap serves then. `kept` (may
/// be null) becomes true where the block holds the bytes of an earlier one, not zeros.
[[nodiscard]] void* managed_allocate(size_t bytes, size_t alignment,
                                     bool* kept = nullptr) noexcept;
/// The same, with zeros in the first `bytes` bytes.
[[nodiscard]] void* managed_allocate_zeroed(size_t bytes) noexcept;
/// Gives back what was kept for later requests; false where that was nothing.
bool managed_trim() noexcept;
/// Bytes from a managed block's start to its end; 0 when none starts there.
[[nodiscard]] size_t managed_size(const void* block) noexcept;
/// Frees a managed block; where this thread may not, the next one that may does.
void managed_free(void* block) noexcept;
/// Frees what was left by threads that may not.
void managed_free_deferred() noexcept;

/// The pages of a managed range read as zeros afterwards. 0 or an errno.
[[nodiscard]] int managed_discard(void* base, size_t bytes) noexcept;

}  // namespace godwit::preload
