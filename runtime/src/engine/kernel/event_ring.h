// SPDX-License-Identifier: MIT
// The ring that the kernel writes events into, and the generation words behind it, mapped.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "runtime/src/engine/kernel/driver.h"

namespace godwit::kernel {

/// One reader takes events; words may be read by any thread.
class EventRing {
 public:
  /// `capacity`: a power of two; `types`: bit n for event type n. Errors: kUnavailable.
  [[nodiscard]] static Result<std::unique_ptr<EventRing>> create(const Driver& driver,
                                                                 std::uint32_t capacity,
                                                                 std::uint64_t types);
  ~EventRing();
  EventRing(const EventRing&) = delete;
  EventRing& operator=(const EventRing&) = delete;

  struct Taken {
    std::size_t events = 0;   // appended
    std::uint64_t lost = 0;   // between them and those that were taken before: ask the kernel again
  };
  /// Appends what has been stored since the last call.
  [[nodiscard]] Taken take(std::vector<drm_godwit_event>* events);

  /// A word that changes before a byte of the page range can be elsewhere. Negative errno: none.
  [[nodiscard]] int watch(std::uintptr_t addr, std::size_t bytes) const noexcept;
  void unwatch(std::uint32_t word) const noexcept;
  [[nodiscard]] std::uint64_t generation(std::uint32_t word) const noexcept;

 private:
  EventRing(const Driver& driver, drm_godwit_ring* header, std::size_t bytes);

  const Driver& driver_;
  drm_godwit_ring* header_;
  std::size_t bytes_;
  // As they were when it was mapped: the program can overwrite the mapping.
  std::uint32_t capacity_;
  drm_godwit_event* records_;
  std::uint64_t* words_;
  std::uint32_t word_count_;
  std::uint64_t last_sequence_ = 0;
};

}  // namespace godwit::kernel
