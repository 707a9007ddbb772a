// SPDX-License-Identifier: MIT
// The data structures of this sample: a list, a tree and a vector of vectors, of plain C++. Nothing
// in them knows of a device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace pointers {

struct Node {
  Node* next;
  std::uint64_t value;
};

struct Tree {
  Tree* left;
  Tree* right;
  std::uint64_t key;
};

using Table = std::vector<std::vector<std::uint64_t>>;

struct World {
  Node* list = nullptr;
  Tree* tree = nullptr;
  Table table;
};

constexpr std::uint32_t kNodes = 500;
constexpr std::uint32_t kKeys = 2'000;
constexpr std::size_t kRows = 100;
constexpr std::size_t kLongRow = 40'000;  // which malloc maps by itself

/// On the heap, and never freed.
World* build();

struct Sums {
  std::uint64_t list = 0, tree = 0, table = 0;
  bool operator==(const Sums&) const = default;
};
Sums sums_of(const World& world);

/// Adds 1 to everything, turns the list around, and mirrors the tree.
void change(World& world);
/// What that does to the sums.
Sums changed(Sums sums);

/// Where list and tree begin and end, by their links: sums do not show in which order they come.
struct Ends {
  const Node* first = nullptr;
  const Node* last = nullptr;
  const Tree* leftmost = nullptr;
  const Tree* rightmost = nullptr;
  bool operator==(const Ends&) const = default;
};
Ends ends_of(const World& world);
/// What the change does to them.
Ends turned(const Ends& ends);

/// Page ranges that hold the world: as few bytes as `most` ranges can have, and one a mapping at
/// least.
struct Area {
  std::uintptr_t start = 0, end = 0;
};
std::vector<Area> areas_of(const World& world, std::size_t most = 8);

}  // namespace pointers
