// SPDX-License-Identifier: MIT
// Data structures of plain C++ on the heap, walked and changed in turns by the CPU and by a device,
// in the VM: the soft device's threads, and a shader, which translates each pointer to where the
// driver has mapped the views.
#include <gtest/gtest.h>

#include <string>
#include <thread>

#include "godwit/context.h"
#include "samples/06_pointers/structures.h"
#include "samples/06_pointers/walks.h"

namespace pointers {

void PrintTo(const Sums& sums, std::ostream* out);
void PrintTo(const Sums& sums, std::ostream* out) {
  *out << sums.list << " " << sums.tree << " " << sums.table;
}

}  // namespace pointers

namespace godwit {
namespace {

using pointers::Sums;
using pointers::World;

class Pointers : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    ContextOptions options;
    options.engine = "kernel";
    options.device = GetParam();
    auto context = Context::create(options);
    ASSERT_TRUE(context) << context.error().to_string();
    context_ = std::move(*context);
  }
  Sums walk(World& world, bool changes) {
    std::string problem;
    const Sums sums = pointers::on_walks(*context_, world, changes, &problem);
    EXPECT_EQ(problem, "");
    return sums;
  }
  std::unique_ptr<Context> context_;
};

TEST_P(Pointers, AListATreeAndAVectorOfVectorsAreChangedInTurns) {
  World& world = *pointers::build();
  Sums expected = pointers::sums_of(world);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(walk(world, false), expected);
    const pointers::Ends ends = pointers::ends_of(world);
    expected = pointers::changed(expected);
    EXPECT_EQ(walk(world, true), expected);
    EXPECT_EQ(pointers::sums_of(world), expected) << "the CPU sees what the device left";
    EXPECT_TRUE(pointers::ends_of(world) == pointers::turned(ends)) << "in the other order";
    pointers::change(world);
    expected = pointers::changed(expected);
  }
  EXPECT_EQ(walk(world, false), expected) << "and the device what the CPU left";
}

TEST_P(Pointers, PagesThatMoveHomeMeanwhileCostNothingButTime) {
  World& world = *pointers::build();
  Sums expected = pointers::sums_of(world);
  std::thread puller([&, areas = pointers::areas_of(world)] {
    for (int pull = 0; pull < 20; ++pull) {
      for (const auto& area : areas) {
        (void)context_->prefetch(reinterpret_cast<void*>(area.start), area.end - area.start,
                                 Place::kHost);
      }
    }
  });
  for (int round = 0; round < 3; ++round) {
    expected = pointers::changed(expected);
    EXPECT_EQ(walk(world, true), expected);
  }
  puller.join();
  EXPECT_EQ(pointers::sums_of(world), expected);
}

TEST_P(Pointers, ARingEndsAtItsLimitAndAWildPointerIsNamed) {
  struct Node {
    Node* next;
    std::uint64_t value;
  };
  static Node ring[64];
  for (std::size_t i = 0; i < 64; ++i) ring[i] = {&ring[(i + 1) % 64], 1};
  const std::span<std::byte> memory = std::as_writable_bytes(std::span(ring));
  WalkRequest request;
  request.memory = {&memory, 1};
  request.head = ring;
  request.links = {offsetof(Node, next), 0};
  request.value = offsetof(Node, value);
  request.limit = 1000;
  auto walked = context_->walk(request);
  ASSERT_TRUE(walked) << walked.error().to_string();
  EXPECT_EQ(walked->nodes, 1000U);
  EXPECT_EQ(walked->stopped, reinterpret_cast<std::uintptr_t>(&ring[1000 % 64]));
  int elsewhere = 0;
  ring[9].next = reinterpret_cast<Node*>(&elsewhere);
  walked = context_->walk(request);
  ASSERT_TRUE(walked) << walked.error().to_string();
  EXPECT_EQ(walked->nodes, 10U);
  EXPECT_EQ(walked->stopped, reinterpret_cast<std::uintptr_t>(&elsewhere));
  request.links[0] = 4;
  walked = context_->walk(request);
  ASSERT_FALSE(walked);
  EXPECT_EQ(walked.error().code, Code::kInvalidArgument) << walked.error().to_string();
}

INSTANTIATE_TEST_SUITE_P(Devices, Pointers, ::testing::Values("soft", "vulkan"),
                         [](const auto& each) { return std::string(each.param); });

}  // namespace
}  // namespace godwit
