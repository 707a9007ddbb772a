// SPDX-License-Identifier: MIT
// Lists, trees and rows of a program, whose pointers a device follows. Included by device_suite.h.
#pragma once

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "tests/unit/device/device_fixture.h"

namespace godwit {

using Shape = WalkCommand::Shape;

/// Memory of a program: its bytes, where it has them, and the frames in which the device does.
struct ProgramMemory {
  std::uint64_t base = 0;
  std::vector<std::uint64_t> table;
  std::vector<std::byte> bytes;  // from the first frame on
  std::uint64_t offset = 0;      // of the first byte in it

  ProgramMemory(std::uint64_t at, std::vector<std::uint64_t> frames, std::uint64_t behind = 0)
      : base(at), table(std::move(frames)), bytes(table.size() * kChunkBytes), offset(behind) {}

  [[nodiscard]] std::uint64_t size() const { return bytes.size() - offset; }
  [[nodiscard]] WalkMemory memory() const { return {{table, offset, size()}, base}; }
  [[nodiscard]] bool has(std::uint64_t pointer) const { return pointer - base < size(); }
  std::uint64_t get(std::uint64_t pointer) const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + offset + (pointer - base), sizeof value);
    return value;
  }
  void put(std::uint64_t pointer, std::uint64_t value) {
    std::memcpy(bytes.data() + offset + (pointer - base), &value, sizeof value);
  }
};

/// Nodes {value, next} every `stride` bytes, each of which points to the one before it. Returns the
/// pointer to the first.
inline std::uint64_t make_list(ProgramMemory& memory, std::uint64_t stride, std::uint64_t nodes) {
  std::uint64_t head = 0;
  for (std::uint64_t i = 0; i < nodes; ++i) {
    const std::uint64_t at = memory.base + i * stride;
    memory.put(at, i * i);
    memory.put(at + 8, std::exchange(head, at));
  }
  return head;
}

TEST_P(DeviceTest, WalksFollowTheProgramsPointersAcrossFrames) {
  constexpr std::uint64_t kNodes = 3000;
  // The memory begins 8 bytes behind the start of a frame, for the device as for the program.
  ProgramMemory memory(0x7f12'3456'7008, take_frames(9), 8);
  const std::uint64_t head = make_list(memory, 168, kNodes);
  transfer(Direction::kToDevice, memory.table, memory.bytes);
  std::uint64_t expected = 0;
  for (std::uint64_t i = 0; i < kNodes; ++i) expected += i * i + 3;
  const WalkMemory place = memory.memory();
  WalkResult result;
  WalkCommand walk{.memory = {&place, 1},
                   .head = head,
                   .links = {8, 0},
                   .value = 0,
                   .limit = 10'000,
                   .add = 3,
                   .result = &result};
  ASSERT_EQ(run(walk), 0);
  EXPECT_EQ(result.nodes, kNodes);
  EXPECT_EQ(result.sum, expected);
  EXPECT_EQ(result.stopped, 0U);
  EXPECT_EQ(result.last, memory.base);
  walk.limit = 10;
  walk.add = 0;
  ASSERT_EQ(run(walk), 0);
  EXPECT_EQ(result.nodes, 10U);
  EXPECT_EQ(result.stopped, memory.base + (kNodes - 11) * 168) << "the next one, not visited";
}

TEST_P(DeviceTest, WalksStopAtPointersThatLeadOut) {
  constexpr std::uint64_t kBase = 0x10'0000;
  ProgramMemory memory(kBase, take_frames(1));
  for (const std::uint64_t wild :
       {std::uint64_t{8}, kBase + std::uint64_t{16} * 1024 + 4, kBase + kChunkBytes,
        kBase + kChunkBytes - 8, ~std::uint64_t{7}}) {
    const std::uint64_t head = make_list(memory, 16, 5);
    memory.put(kBase + 8, wild);  // of the last node
    transfer(Direction::kToDevice, memory.table, memory.bytes);
    const WalkMemory place = memory.memory();
    WalkResult result;
    ASSERT_EQ(run(WalkCommand{.memory = {&place, 1},
                              .head = head,
                              .links = {8, 0},
                              .value = 0,
                              .limit = 100,
                              .result = &result}),
              0);
    EXPECT_EQ(result.nodes, 5U);
    EXPECT_EQ(result.stopped, wild);
  }
}

TEST_P(DeviceTest, AListThatIsTurnedAroundLeadsBackWhateverTheWalkReached) {
  constexpr std::uint64_t kNodes = 20;
  ProgramMemory memory(0x5000'0000, take_frames(1));
  const std::uint64_t head = make_list(memory, 32, kNodes);
  transfer(Direction::kToDevice, memory.table, memory.bytes);
  const WalkMemory place = memory.memory();
  WalkResult result;
  ASSERT_EQ(run(WalkCommand{.memory = {&place, 1},
                            .turn = true,
                            .head = head,
                            .links = {8, 0},
                            .value = 0,
                            .limit = 12,
                            .result = &result}),
            0);
  transfer(Direction::kToHost, memory.table, memory.bytes);
  std::uint64_t nodes = 0;
  std::uint64_t first = 0;
  for (std::uint64_t at = result.last; at != 0; at = memory.get(at + 8), ++nodes) first = at;
  EXPECT_EQ(nodes, 12U);
  EXPECT_EQ(first, head) << "the old first node is the last one now";
  for (std::uint64_t at = result.stopped; at != 0; at = memory.get(at + 8)) ++nodes;
  EXPECT_EQ(nodes, kNodes) << "and none is lost";
}

TEST_P(DeviceTest, AWalkIsAsLongAsItsList) {
  constexpr std::uint64_t kNodes = 70'000;  // more rounds than llvmpipe lets a loop make
  ProgramMemory memory(0x7000'0000, take_frames(18));
  const std::uint64_t head = make_list(memory, 16, kNodes);
  transfer(Direction::kToDevice, memory.table, memory.bytes);
  const WalkMemory place = memory.memory();
  WalkResult result;
  ASSERT_EQ(run(WalkCommand{.memory = {&place, 1},
                            .head = head,
                            .links = {8, 0},
                            .value = 0,
                            .limit = kNodes,
                            .add = 1,
                            .result = &result}),
            0);
  EXPECT_EQ(result.nodes, kNodes);
  EXPECT_EQ(result.stopped, 0U);
}

/// A search tree of nodes {left, right, key}, every second one in another memory.
class ProgramTree {
 public:
  ProgramTree(std::vector<std::uint64_t> one, std::vector<std::uint64_t> other)
      : memories_{ProgramMemory(0x5555'0000'0000, std::move(one)),
                  ProgramMemory(0x7fff'0000'0000, std::move(other))} {}

  void insert(std::uint64_t key) {
    const std::uint64_t node = memories_[nodes_ % 2].base + nodes_ / 2 * 24;
    ++nodes_;
    place(node, 0, 0, key);
    if (root_ == 0) {
      root_ = node;
      return;
    }
    for (std::uint64_t at = root_;;) {
      const std::uint64_t link = key < key_of(at) ? at : at + 8;
      const std::uint64_t next = of(link).get(link);
      if (next == 0) {
        of(link).put(link, node);
        return;
      }
      at = next;
    }
  }
  void place(std::uint64_t node, std::uint64_t left, std::uint64_t right, std::uint64_t key) {
    of(node).put(node, left);
    of(node).put(node + 8, right);
    of(node).put(node + 16, key);
  }
  ProgramMemory& of(std::uint64_t pointer) { return memories_[memories_[0].has(pointer) ? 0 : 1]; }
  std::uint64_t key_of(std::uint64_t node) { return of(node).get(node + 16); }
  /// The keys in the order of the links.
  void keys(std::uint64_t node, std::vector<std::uint64_t>* into) {
    if (node == 0) return;
    keys(of(node).get(node), into);
    into->push_back(key_of(node));
    keys(of(node).get(node + 8), into);
  }
  std::array<ProgramMemory, 2>& memories() { return memories_; }
  [[nodiscard]] std::uint64_t root() const { return root_; }
  [[nodiscard]] std::uint64_t nodes() const { return nodes_; }

 private:
  std::array<ProgramMemory, 2> memories_;
  std::uint64_t root_ = 0;
  std::uint64_t nodes_ = 0;
};

TEST_P(DeviceTest, ATreeInTwoMemoriesIsWalkedChangedAndMirrored) {
  ProgramTree tree(take_frames(2), take_frames(2));
  for (std::uint64_t i = 0; i < 4000; ++i) tree.insert(i * 0x9e3779b97f4a7c15U >> 40);
  std::vector<std::uint64_t> before;
  tree.keys(tree.root(), &before);
  for (ProgramMemory& memory : tree.memories()) {
    transfer(Direction::kToDevice, memory.table, memory.bytes);
  }
  const std::array<WalkMemory, 2> places = {tree.memories()[0].memory(),
                                            tree.memories()[1].memory()};
  WalkResult result;
  ASSERT_EQ(run(WalkCommand{.memory = places,
                            .shape = Shape::kTree,
                            .turn = true,
                            .head = tree.root(),
                            .links = {0, 8},
                            .value = 16,
                            .limit = 10'000,
                            .add = 7,
                            .result = &result}),
            0);
  EXPECT_EQ(result.nodes, tree.nodes());
  EXPECT_EQ(result.stopped, 0U);
  EXPECT_EQ(result.sum, std::accumulate(before.begin(), before.end(), 7 * tree.nodes()));
  for (ProgramMemory& memory : tree.memories()) {
    transfer(Direction::kToHost, memory.table, memory.bytes);
  }
  std::vector<std::uint64_t> after;
  tree.keys(tree.root(), &after);
  std::reverse(after.begin(), after.end());
  for (std::uint64_t& key : before) key += 7;
  EXPECT_EQ(after, before);
}

TEST_P(DeviceTest, ATreeThatKeepsTooMuchWaitingEndsTheWalkAndSaysWhere) {
  // Each node on the way down has a leaf on the other side.
  for (const std::uint64_t depth : {WalkCommand::kMostPending, WalkCommand::kMostPending + 1}) {
    ProgramTree tree(take_frames(1), take_frames(1));
    const std::uint64_t base = tree.memories()[0].base;
    for (std::uint64_t i = 0; i < depth; ++i) {
      tree.place(base + i * 48, base + (i + 1) * 48, base + i * 48 + 24, 1);
      tree.place(base + i * 48 + 24, 0, 0, 1);
    }
    tree.place(base + depth * 48, 0, 0, 1);
    transfer(Direction::kToDevice, tree.memories()[0].table, tree.memories()[0].bytes);
    const WalkMemory place = tree.memories()[0].memory();
    WalkResult result;
    ASSERT_EQ(run(WalkCommand{.memory = {&place, 1},
                              .shape = Shape::kTree,
                              .head = base,
                              .links = {0, 8},
                              .value = 16,
                              .limit = 1000,
                              .result = &result}),
              0);
    const bool fits = depth == WalkCommand::kMostPending;
    EXPECT_EQ(result.nodes, fits ? 2 * depth + 1 : depth);
    EXPECT_EQ(result.stopped, fits ? 0 : base + (depth - 1) * 48 + 24);
    give_frames(tree.memories()[0].table);
    give_frames(tree.memories()[1].table);
  }
}

/// Rows {begin, end, capacity} as std::vector has them, with `lengths` values each.
inline std::uint64_t make_rows(ProgramMemory& rows, ProgramMemory& values,
                               const std::vector<std::uint64_t>& lengths) {
  std::uint64_t at = values.base;
  std::uint64_t sum = 0;
  for (std::size_t row = 0; row < lengths.size(); ++row) {
    const std::uint64_t header = rows.base + row * 24;
    rows.put(header, lengths[row] == 0 ? 0 : at);
    for (std::uint64_t i = 0; i < lengths[row]; ++i, at += 8) {
      values.put(at, row * 1000 + i);
      sum += row * 1000 + i;
    }
    rows.put(header + 8, lengths[row] == 0 ? 0 : at);
  }
  return sum;
}

TEST_P(DeviceTest, AVectorOfVectorsIsChangedRowByRow) {
  ProgramMemory rows(0x1000'0000, take_frames(1));
  ProgramMemory values(0x7f00'0000'1000, take_frames(16), 4096);
  std::vector<std::uint64_t> lengths = {0, 1, 63, 64, 65, 70'000};
  for (std::uint64_t i = 0; i < 150; ++i) lengths.push_back(i * 2);
  const std::uint64_t sum = make_rows(rows, values, lengths);
  const std::uint64_t count = std::accumulate(lengths.begin(), lengths.end(), std::uint64_t{0});
  transfer(Direction::kToDevice, rows.table, rows.bytes);
  transfer(Direction::kToDevice, values.table, values.bytes);
  const std::array<WalkMemory, 2> places = {rows.memory(), values.memory()};
  WalkResult result;
  for (std::uint64_t round = 1; round <= 2; ++round) {
    ASSERT_EQ(run(WalkCommand{.memory = places,
                              .shape = Shape::kRows,
                              .head = rows.base,
                              .links = {0, 8},
                              .stride = 24,
                              .limit = static_cast<std::uint32_t>(lengths.size()),
                              .add = 5,
                              .result = &result}),
              0);
    EXPECT_EQ(result.nodes, count);
    EXPECT_EQ(result.sum, sum + round * 5 * count);
    EXPECT_EQ(result.stopped, 0U);
  }
  const std::vector<std::byte> before = values.bytes;
  transfer(Direction::kToHost, values.table, values.bytes);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::uint64_t was = 0;
    std::memcpy(&was, before.data() + values.offset + i * 8, sizeof was);
    ASSERT_EQ(values.get(values.base + i * 8), was + 10) << i;
  }
}

TEST_P(DeviceTest, RowsThatLeadOutArePassedOverAndTheFirstIsNamed) {
  ProgramMemory rows(0x1000'0000, take_frames(1));
  ProgramMemory values(0x2000'0000, take_frames(130));
  std::vector<std::uint64_t> lengths(200, 3);
  const std::uint64_t sum = make_rows(rows, values, lengths);
  const auto row = [&](std::uint64_t index) { return rows.base + index * 24; };
  rows.put(row(190), 0x3000'0000);  // nowhere
  rows.put(row(190) + 8, 0x3000'0008);
  rows.put(row(70) + 8, rows.get(row(70)) + 12);  // half a value
  rows.put(row(71), rows.get(row(71) + 8) + 8);   // ends before it begins
  rows.put(row(72), values.base);                 // longer than is followed
  rows.put(row(72) + 8, values.base + 8 * (std::uint64_t{WalkCommand::kMostRowValues} + 1));
  transfer(Direction::kToDevice, rows.table, rows.bytes);
  transfer(Direction::kToDevice, values.table, values.bytes);
  std::uint64_t left_out = 0;
  for (const std::uint64_t index : {70, 71, 72, 190}) left_out += index * 3000 + 3;
  const std::array<WalkMemory, 2> places = {rows.memory(), values.memory()};
  WalkResult result;
  ASSERT_EQ(run(WalkCommand{.memory = places,
                            .shape = Shape::kRows,
                            .head = rows.base,
                            .links = {0, 8},
                            .limit = 200,
                            .result = &result}),
            0);
  EXPECT_EQ(result.nodes, 196U * 3);
  EXPECT_EQ(result.sum, sum - left_out);
  EXPECT_EQ(result.stopped, rows.get(row(70)));
}

TEST_P(DeviceTest, WrongWalksAreRefused) {
  const std::vector<std::uint64_t> table = take_frames(1);
  WalkMemory place{{table, 0, kChunkBytes}, 0x10000};
  WalkResult result;
  const WalkCommand good{
      .memory = {&place, 1}, .links = {8, 0}, .value = 0, .limit = 1, .result = &result};
  EXPECT_EQ(run(good), 0);
  const auto refused = [&](auto change) {
    WalkCommand bad = good;
    change(bad);
    return run(bad) == -EINVAL;
  };
  EXPECT_TRUE(refused([](WalkCommand& bad) { bad.result = nullptr; }));
  EXPECT_TRUE(refused([](WalkCommand& bad) { bad.links[0] = 4; }));
  EXPECT_TRUE(refused([](WalkCommand& bad) { bad.links[1] = 12; }));
  EXPECT_TRUE(refused([](WalkCommand& bad) { bad.value = 1; }));
  EXPECT_TRUE(refused([](WalkCommand& bad) { bad.memory = {}; }));
  EXPECT_TRUE(refused([](WalkCommand& bad) { bad.limit = WalkCommand::kMostNodes + 1; }));
  const std::vector<WalkMemory> many(WalkCommand::kMostMemories + 1, place);
  EXPECT_TRUE(refused([&](WalkCommand& bad) { bad.memory = many; }));
  EXPECT_TRUE(refused([](WalkCommand& bad) {
    bad.shape = Shape::kRows;
    bad.turn = true;
  }));
  EXPECT_TRUE(refused([](WalkCommand& bad) {
    bad.shape = Shape::kRows;
    bad.links = {0, 24};  // behind the row
  }));
  EXPECT_TRUE(refused([](WalkCommand& bad) {
    bad.shape = Shape::kRows;
    bad.limit = WalkCommand::kMostRows + 1;
  }));
  place.base = 0x10004;
  EXPECT_EQ(run(good), -EINVAL);
  place = {{table, 0, 2 * kChunkBytes}, 0x10000};
  EXPECT_EQ(run(good), -EINVAL);
}

}  // namespace godwit
