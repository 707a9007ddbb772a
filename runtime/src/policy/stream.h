// SPDX-License-Identifier: MIT
// What to bring ahead of a CPU that walks through memory: its faults follow each other without a gap.
// For engines whose faults somebody else serves, and that hear of them afterwards.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "godwit/units.h"

namespace godwit {

struct AheadRange {
  std::uintptr_t address = 0;
  std::size_t bytes = 0;  // 0: nothing
};

/// Remembers the last kStreams places where faults were served. Not thread-safe.
class FaultStreams {
 public:
  static constexpr std::size_t kStreams = 8;
  /// Two neighbours may be chance; from the second one on, as much as was served is brought ahead, and
  /// twice as much every time, up to a block.
  static constexpr unsigned kTelling = 2;
  static constexpr std::size_t kMost = kBlockBytes;

  /// Pages [address, address + bytes) came home by a fault of the CPU: what should follow.
  [[nodiscard]] AheadRange served(std::uintptr_t address, std::size_t bytes) {
    ++clock_;
    for (Stream& stream : streams_) {
      if (stream.next == 0 || address != stream.next) continue;
      stream.used = clock_;
      ++stream.length;
      stream.next = address + bytes;
      if (stream.length < kTelling) return {};
      stream.ahead = std::min(std::max(stream.ahead * 2, bytes), kMost);
      const AheadRange range{stream.next, stream.ahead};
      stream.next += stream.ahead;
      return range;
    }
    Stream& oldest = *std::min_element(
        streams_.begin(), streams_.end(),
        [](const Stream& a, const Stream& b) { return a.used < b.used; });
    oldest = {address + bytes, 0, 0, clock_};
    return {};
  }

  /// Pages [address, address + bytes) went to VRAM by accesses of the device. A walk whose pages the device
  /// takes back as they are brought is left to its faults: bringing more would only be pulling.
  void taken(std::uintptr_t address, std::size_t bytes) {
    for (Stream& stream : streams_) {
      if (stream.ahead != 0 && address < stream.next && stream.next - stream.ahead < address + bytes) {
        stream = {};
      }
    }
  }

 private:
  struct Stream {
    std::uintptr_t next = 0;  // the address that would go on with it; 0: free
    std::size_t ahead = 0;    // bytes brought ahead the last time
    unsigned length = 0;      // neighbours so far
    std::uint64_t used = 0;
  };
  std::array<Stream, kStreams> streams_{};
  std::uint64_t clock_ = 0;
};

}  // namespace godwit
