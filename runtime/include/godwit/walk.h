// SPDX-License-Identifier: MIT
// Data structures with pointers, followed and changed on the device by the pointers that the
// program stored. Nothing is copied and no pointer is rewritten: a device that has the memory at
// other addresses than the program translates each pointer as it follows it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace godwit {

enum class WalkShape : std::uint8_t {
  kList,  // links[0]: where a node has its pointer to the next one
  kTree,  // links: where a node has its pointers to two others, which come after it, in this order.
          // While 64 second links wait to be followed, one more ends the walk
  kRows,  // an array of `limit` rows, `stride` bytes each; links: where a row has its pointers to
          // its first value and behind its last one. A std::vector has them at 0 and 8
};

/// Visits what `head` leads to, and adds `add` to every 64-bit value there.
///
/// Nodes are visited one after the other, until none is left, or a pointer is no multiple of 8 or
/// leads out of `memory`, or `limit` nodes were visited: `limit` also ends a walk in a circle. Rows
/// are visited in any order, and none twice; a row whose pointers lead out, or that has more than
/// 2^20 values, is passed over.
struct WalkRequest {
  /// Where nodes, rows and values lie: 1 to 8 ranges that the device may read and write. What else
  /// is in them stays as it is.
  std::span<const std::span<std::byte>> memory;
  WalkShape shape = WalkShape::kList;
  /// Changes pointers, too: a list is turned around, of a tree's nodes the two links are exchanged.
  /// What the walk did not come to is left as it is, and `stopped` leads there. Not for rows.
  bool turn = false;
  void* head = nullptr;                  // null: there is nothing
  std::array<std::uint32_t, 2> links{};  // offsets in a node or row: bytes, multiples of 8
  std::uint32_t value = 8;               // of a node's value, likewise
  std::uint32_t stride = 24;             // likewise; a row's links lie within
  std::uint32_t limit = 0;               // 2^20 nodes, 2^16 rows at most
  std::uint32_t add = 0;
};

struct WalkResult {
  std::uint64_t nodes = 0;    // that were visited; of rows: their values
  std::uint64_t sum = 0;      // of their values as the walk left them, modulo 2^64
  std::uint64_t stopped = 0;  // the first pointer that was not followed; 0: everything was visited
  std::uint64_t last = 0;     // the node visited last: of a list that was turned, its new head
};

}  // namespace godwit
