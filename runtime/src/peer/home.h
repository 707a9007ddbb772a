// SPDX-License-Identifier: MIT
// What a mapping needs of the engine whose memory it is about.
#pragma once

#include <algorithm>
#include <cstdint>

#include "godwit/result.h"

namespace godwit::peer {

/// Addresses [first, end), whole pages.
struct Span {
  std::uintptr_t first = 0;
  std::uintptr_t end = 0;
  [[nodiscard]] bool overlaps(const Span& other) const noexcept {
    return first < other.end && other.first < end;
  }
  [[nodiscard]] Span common(const Span& other) const noexcept {
    return {std::max(first, other.first), std::min(end, other.end)};
  }
};

/// Of an engine, about one mapping.
struct Place {
  std::uint32_t word = kNone;  // that counts changes behind the runtime's back
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
};

/// What keeps the pages of a mapping where they are, between on_remap and on_invalidate.
struct Grip {
  std::uint32_t handle = 0;
  std::uint64_t seen = 0;  // the word when it took hold
};

/// Thread-safe. Called without the registry's lock, but for dismiss(), release(), intact() and
/// count(), which wait for nobody.
class Home {
 public:
  virtual ~Home() = default;
  /// A mapping of the range is made. From then on movers ask the registry about it. `standing`: the
  /// range may be anything.
  [[nodiscard]] virtual Result<Place> admit(Span range, bool standing) = 0;
  virtual void dismiss(Span range, bool standing, const Place& place) noexcept = 0;
  /// Brings the pages to RAM, present, and private to the process where they are to be written.
  /// The registry sees to it that no mover takes them away meanwhile.
  [[nodiscard]] virtual Result<Grip> grip(Span range, bool write, const Place& place) = 0;
  virtual void release(const Grip& /*grip*/) noexcept {}
  /// False: the pages can be elsewhere, by other hands than the runtime's.
  [[nodiscard]] virtual bool intact(const Grip& /*grip*/, const Place& /*place*/) const noexcept {
    return true;
  }
  /// How often the range changed behind the runtime's back.
  [[nodiscard]] virtual std::uint64_t count(const Place& /*place*/) const noexcept { return 0; }
  /// True in a forked child.
  [[nodiscard]] virtual bool detached() const noexcept = 0;
};

}  // namespace godwit::peer
