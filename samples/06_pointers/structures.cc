// SPDX-License-Identifier: MIT
#include "samples/06_pointers/structures.h"

#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <utility>

namespace pointers {
namespace {

constexpr std::uintptr_t kPage = 4096;

std::uint64_t mixed(std::uint64_t value) { return value * 0x9e3779b97f4a7c15u >> 40; }

void insert(Tree** at, std::uint64_t key) {
  while (*at != nullptr) at = key < (*at)->key ? &(*at)->left : &(*at)->right;
  *at = new Tree{nullptr, nullptr, key};
}

std::uint64_t sum_of(const Tree* tree) {
  return tree == nullptr ? 0 : tree->key + sum_of(tree->left) + sum_of(tree->right);
}

void change(Tree* tree) {
  if (tree == nullptr) return;
  tree->key += 1;
  std::swap(tree->left, tree->right);
  change(tree->left);
  change(tree->right);
}

using Pages = std::set<std::uintptr_t>;

void note(const void* from, std::size_t bytes, Pages* pages) {
  const auto start = reinterpret_cast<std::uintptr_t>(from);
  for (std::uintptr_t page = start / kPage; page <= (start + bytes - 1) / kPage; ++page) {
    pages->insert(page);
  }
}

void note(const Tree* tree, Pages* pages) {
  if (tree == nullptr) return;
  note(tree, sizeof(*tree), pages);
  note(tree->left, pages);
  note(tree->right, pages);
}

}  // namespace

World* build() {
  auto* world = new World;
  for (std::uint64_t i = 0; i < kNodes; ++i) world->list = new Node{world->list, mixed(i)};
  for (std::uint64_t i = 0; i < kKeys; ++i) insert(&world->tree, mixed(i + 7));
  for (std::size_t row = 0; row < kRows; ++row) world->table.emplace_back(row * 10, mixed(row));
  world->table.emplace_back(kLongRow, 1);
  return world;
}

Sums sums_of(const World& world) {
  Sums sums;
  for (const Node* node = world.list; node != nullptr; node = node->next) sums.list += node->value;
  sums.tree = sum_of(world.tree);
  for (const auto& row : world.table) {
    for (const std::uint64_t value : row) sums.table += value;
  }
  return sums;
}

void change(World& world) {
  Node* turned = nullptr;
  while (world.list != nullptr) {
    Node* node = world.list;
    world.list = node->next;
    node->next = turned;
    node->value += 1;
    turned = node;
  }
  world.list = turned;
  change(world.tree);
  for (auto& row : world.table) {
    for (std::uint64_t& value : row) value += 1;
  }
}

Ends ends_of(const World& world) {
  Ends ends{world.list, world.list, world.tree, world.tree};
  while (ends.last->next != nullptr) ends.last = ends.last->next;
  while (ends.leftmost->left != nullptr) ends.leftmost = ends.leftmost->left;
  while (ends.rightmost->right != nullptr) ends.rightmost = ends.rightmost->right;
  return ends;
}

Ends turned(const Ends& ends) { return {ends.last, ends.first, ends.rightmost, ends.leftmost}; }

Sums changed(Sums sums) {
  return {sums.list + kNodes, sums.tree + kKeys,
          sums.table + kRows * (kRows - 1) / 2 * 10 + kLongRow};
}

std::vector<Area> areas_of(const World& world, std::size_t most) {
  Pages pages;
  note(&world, sizeof(world), &pages);
  for (const Node* node = world.list; node != nullptr; node = node->next) {
    note(node, sizeof(*node), &pages);
  }
  note(world.tree, &pages);
  note(world.table.data(), world.table.size() * sizeof(decltype(world.table)::value_type), &pages);
  for (const auto& row : world.table) {
    if (!row.empty()) note(row.data(), row.size() * sizeof(row[0]), &pages);
  }
  // Between two mappings there may be nothing, so no area reaches from one into another.
  std::vector<Area> areas;
  std::multimap<std::uintptr_t, std::uintptr_t>
      gaps;  // pages without a part of the world: size, page behind
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    Area mapping;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR, &mapping.start, &mapping.end) != 2) {
      continue;
    }
    const auto first = pages.lower_bound(mapping.start / kPage);
    const auto behind = pages.lower_bound(mapping.end / kPage);
    if (first == behind) continue;
    areas.push_back({*first * kPage, (*std::prev(behind) + 1) * kPage});
    for (auto page = std::next(first); page != behind; ++page) {
      const std::uintptr_t gap = *page - *std::prev(page) - 1;
      if (gap != 0) gaps.emplace(gap, *page);
    }
  }
  for (auto gap = gaps.rbegin(); gap != gaps.rend() && areas.size() < most; ++gap) {
    const std::uintptr_t cut = gap->second * kPage;
    for (Area& area : areas) {
      if (cut <= area.start || cut >= area.end) continue;
      const Area upper{cut, area.end};
      area.end = cut - gap->first * kPage;
      areas.push_back(upper);
      break;
    }
  }
  return areas;
}

}  // namespace pointers
