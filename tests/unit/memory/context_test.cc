// SPDX-License-Identifier: MIT
// The front door: options, the environment, containers on managed memory, and two contexts at once.
#include "godwit/context.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <numeric>
#include <span>
#include <thread>
#include <vector>

#include "godwit/allocator.h"

namespace godwit {
namespace {

ContextOptions small() {
  ContextOptions options;
  options.device = "soft";
  options.vram_bytes = std::uint64_t{16} << 20;
  options.arena_bytes = std::size_t{256} << 20;
  options.pool_bytes = std::size_t{8} << 20;
  return options;
}

class ContextTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto context = Context::create(small());
    if (!context) GTEST_SKIP() << "lacks userfaultfd: " << context.error().to_string();
    context_ = std::move(*context);
  }
  std::unique_ptr<Context> context_;
};

TEST_F(ContextTest, VectorsOnManagedMemoryMigrate) {
  std::vector<double, Allocator<double>> values(100'000, Allocator<double>(*context_));
  std::iota(values.begin(), values.end(), 0.0);
  auto moved = context_->prefetch(values.data(), values.size() * sizeof(double), Place::kDevice);
  ASSERT_TRUE(moved) << moved.error().to_string();
  EXPECT_GT(moved->moved, 0U);
  EXPECT_EQ(std::accumulate(values.begin(), values.end(), 0.0), 100'000.0 * 99'999.0 / 2);
  values.resize(200'000, 1.0);
  EXPECT_EQ(values[150'000], 1.0);
  EXPECT_EQ(values[99'999], 99'999.0);
}

TEST_F(ContextTest, PmrContainersTakeTheirMemoryFromTheContext) {
  MemoryResource resource(*context_);
  {
    std::pmr::vector<int> numbers(1000, 7, &resource);
    EXPECT_TRUE(context_->manages(numbers.data()));
    EXPECT_GT(context_->statistics().managed_bytes, 0U);
  }
  EXPECT_EQ(context_->statistics().managed_bytes, 0U);
  EXPECT_TRUE(resource == MemoryResource(*context_));
}

struct Node {
  Node* next;
  std::uint64_t value;
};
std::atomic<const volatile Node*> looked_at{nullptr};
std::atomic<int> looks{0};

void look(int /*signal*/) {
  (void)looked_at.load()->value;
  ++looks;
}

// The walk's memory is the device's meanwhile, and the thread that waits for the device is the one
// that the signal interrupts.
TEST_F(ContextTest, ASignalHandlerMayTouchWhatItsThreadWalks) {
  constexpr std::size_t kNodes = 20'000;
  std::vector<Node, Allocator<Node>> nodes(kNodes, {nullptr, 1}, Allocator<Node>(*context_));
  for (std::size_t i = 1; i < kNodes; ++i) nodes[i - 1].next = &nodes[i];
  const std::span<std::byte> memory = std::as_writable_bytes(std::span(nodes));
  looked_at = nodes.data();
  struct sigaction action = {};
  struct sigaction before = {};
  action.sa_handler = look;
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  std::atomic<bool> over{false};
  std::promise<void> ended;
  std::thread walker([&] {
    WalkRequest request;
    request.memory = {&memory, 1};
    request.head = nodes.data();
    request.links = {offsetof(Node, next), 0};
    request.value = offsetof(Node, value);
    request.stride = sizeof(Node);
    request.limit = kNodes;
    for (int round = 0; round < 100; ++round) {
      auto walked = context_->walk(request);
      EXPECT_TRUE(walked) << walked.error().to_string();
      if (walked) {
        EXPECT_EQ(walked->nodes, kNodes);
      }
    }
    ended.set_value();
    while (!over) std::this_thread::yield();
  });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  auto end = ended.get_future();
  while (end.wait_for(std::chrono::microseconds(100)) != std::future_status::ready) {
    if (std::chrono::steady_clock::now() > deadline) {
      (void)std::fprintf(stderr, "hangs: a handler waits for the walk of its own thread\n");
      std::abort();
    }
    (void)::pthread_kill(walker.native_handle(), SIGUSR1);
  }
  over = true;
  walker.join();
  EXPECT_GT(looks, 0);
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
}

TEST_F(ContextTest, TwoContextsDoNotKnowOfEachOther) {
  auto other = Context::create(small());
  ASSERT_TRUE(other) << other.error().to_string();
  auto mine = context_->allocate(1 << 20);
  auto theirs = (*other)->allocate(1 << 20);
  ASSERT_TRUE(mine && theirs);
  EXPECT_FALSE(context_->manages(*theirs));
  EXPECT_FALSE(context_->prefetch(*theirs, 4096, Place::kDevice));
  EXPECT_FALSE(context_->free(*theirs));
  EXPECT_TRUE((*other)->free(*theirs));
}

TEST_F(ContextTest, RegionsAreWalkedInOrderOfAddress) {
  auto first = context_->allocate(1 << 20);
  auto second = context_->allocate(3 << 20);
  ASSERT_TRUE(first && second);
  std::size_t bytes = 0;
  for (auto region = context_->next_region(context_->bounds().data()); !region.empty();
       region = context_->next_region(region.data() + region.size())) {
    bytes += region.size();
  }
  EXPECT_EQ(bytes, std::size_t{4} << 20);
}

TEST(ContextOptionsTest, UnknownNamesAreRefusedWithWhatThereIs) {
  const auto refused = [](const ContextOptions& options, const char* remedy) {
    auto context = Context::create(options);
    ASSERT_FALSE(context);
    EXPECT_EQ(context.error().code, Code::kInvalidArgument);
    EXPECT_NE(context.error().message.find("nonsense"), std::string::npos);
    EXPECT_NE(context.error().message.find(remedy), std::string::npos);
  };
  ContextOptions options = small();
  options.engine = "nonsense";
  refused(options, "auto, user, kernel");
  options = small();
  options.device = "nonsense";
  refused(options, "auto, soft, vulkan");
  options = small();
  options.level = "nonsense";
  refused(options, "auto, full and resident");
}

TEST(ContextOptionsTest, TheKernelEngineIsUnavailableAndSaysWhatToDo) {
  ContextOptions options = small();
  options.engine = "kernel";
  auto context = Context::create(options);
  ASSERT_FALSE(context);
  EXPECT_EQ(context.error().code, Code::kUnavailable);
  EXPECT_NE(context.error().message.find("load the module"), std::string::npos);
}

TEST(ContextOptionsTest, TheEnvironmentIsReadAndItsMistakesAreNamed) {
  ::setenv("GODWIT_VRAM", "64M", 1);
  ::setenv("GODWIT_THREADS", "3", 1);
  auto options = ContextOptions::from_environment();
  ASSERT_TRUE(options);
  EXPECT_EQ(options->vram_bytes, std::uint64_t{64} << 20);
  EXPECT_EQ(options->threads, 3U);
  ::setenv("GODWIT_VRAM", "lots", 1);
  options = ContextOptions::from_environment();
  ASSERT_FALSE(options);
  EXPECT_NE(options.error().message.find("GODWIT_VRAM: \"lots\""), std::string::npos);
  ::unsetenv("GODWIT_VRAM");
  ::setenv("GODWIT_THREADS", "-1", 1);
  options = ContextOptions::from_environment();
  ASSERT_FALSE(options);
  EXPECT_NE(options.error().message.find("GODWIT_THREADS"), std::string::npos);
  ::unsetenv("GODWIT_THREADS");
}

}  // namespace
}  // namespace godwit
