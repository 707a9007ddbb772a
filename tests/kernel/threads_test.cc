// SPDX-License-Identifier: MIT
// Threads of one process that do everything at once, each to memory of its own, which lie within the 32 MiB of one notifier, on a
// device with less VRAM than they have memory. No call and no job may fail for what the others do, and each byte is compared.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "tests/kernel/jobs.h"
#include "tests/kernel/khugepaged.h"

namespace godwit::guest {
namespace {

constexpr size_t kWords = kHuge / sizeof(uint64_t);
constexpr size_t kWordsPerPage = kPage / sizeof(uint64_t);

// 2 MiB of a thread, and a copy that never migrates.
class Owner {
 public:
  Owner(const Device& gpu, uint64_t* memory, uint64_t seed) : gpu_(gpu), memory_(memory), copy_(kWords), random_(seed) {}

  void work(unsigned operations) {
    store(0, kWords);
    for (unsigned done = 0; done < operations && !::testing::Test::HasFailure(); ++done) step();
    compare(0, kWords, "at the end");
  }

 private:
  uint64_t draw(uint64_t below) { return random_() % below; }

  void step() {
    // Whole pages, a few or many.
    const size_t pages = draw(2) ? 1 + draw(16) : 1 + draw(kHuge / kPage);
    const size_t page = draw(kHuge / kPage + 1 - pages);
    const size_t first = page * kWordsPerPage, count = pages * kWordsPerPage;
    uint64_t* const at = memory_ + first;
    const size_t bytes = count * sizeof(uint64_t);
    switch (draw(16)) {
      case 0:
      case 1: return store(first, count);
      case 2:
      case 3: return compare(first, count, "when it was read");
      case 4:
      case 5:
      case 6: return move(at, bytes, GODWIT_PLACE_VRAM);
      case 7:
      case 8: return move(at, bytes, GODWIT_PLACE_SYSTEM);
      case 9: return move(memory_, kHuge, GODWIT_PLACE_VRAM);
      case 10: return add(first, count);
      case 11: return checksum(first, count);
      case 12: return drop(first, count);
      case 13: return protect(at, bytes);
      case 14: EXPECT_LE(gpu_.in_vram(at, bytes), pages); return;
      default: return draw(8) ? compare(first, count, "when it was read") : fork_and_compare();
    }
  }

  void store(size_t first, size_t count) {
    const uint64_t value = random_();
    for (size_t word = first; word < first + count; ++word) memory_[word] = copy_[word] = value + word;
  }
  void compare(size_t first, size_t count, const char* when) const {
    const auto differs = std::mismatch(memory_ + first, memory_ + first + count, copy_.begin() + static_cast<ptrdiff_t>(first));
    EXPECT_EQ(differs.first, memory_ + first + count) << "differs at word " << differs.first - memory_ << " " << when;
  }
  void add(size_t first, size_t count) {
    const uint64_t value = random_();
    const Done done = execute(gpu_, {op::add(memory_ + first, count * sizeof(uint64_t), value, in_place())});
    EXPECT_TRUE(done.ok()) << done.error << ", status " << done.status;
    for (size_t word = first; word < first + count; ++word) copy_[word] += value;
  }
  void checksum(size_t first, size_t count) {
    const Done done = execute(gpu_, {op::checksum(memory_ + first, count * sizeof(uint64_t), in_place())});
    ASSERT_TRUE(done.ok()) << done.error << ", status " << done.status;
    EXPECT_EQ(done.results[0].value, fnv(copy_.data() + first, count * sizeof(uint64_t)));
  }
  // What there is no room for, or was dropped, stays.
  void move(uint64_t* at, size_t bytes, uint32_t to) const {
    drm_godwit_migrate args = {};
    args.addr = address(at);
    args.length = bytes;
    args.to = to;
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_MIGRATE, &args), 0);
  }
  uint32_t in_place() { return draw(2) ? GODWIT_COMMAND_IN_PLACE : 0; }
  void drop(size_t first, size_t count) {
    EXPECT_EQ(madvise(memory_ + first, count * sizeof(uint64_t), MADV_DONTNEED), 0);
    std::fill_n(copy_.begin() + static_cast<ptrdiff_t>(first), count, 0);
  }
  // Splits the mapping, and has it put together again.
  static void protect(uint64_t* at, size_t bytes) {
    EXPECT_EQ(mprotect(at, bytes, PROT_READ), 0);
    EXPECT_EQ(mprotect(at, bytes, PROT_READ | PROT_WRITE), 0);
  }
  // The child allocates nothing: another thread may have held a lock of the library.
  void fork_and_compare() const {
    const pid_t child = fork();
    if (child == 0) _exit(memcmp(memory_, copy_.data(), kHuge) != 0);
    ASSERT_GT(child, 0);
    int status = -1;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(exited_well(status)) << "a child had other bytes";
  }

  const Device& gpu_;
  uint64_t* const memory_;
  std::vector<uint64_t> copy_;
  std::mt19937_64 random_;
};

enum class Pages { kSmall, kHuge, kCollapsed };

class Threads : public ::testing::TestWithParam<Pages> {};

TEST_P(Threads, EachDoesEverythingToItsOwnAndNoByteIsLost) {
  constexpr size_t kThreads = 8;
  SoftDevice device("private:10M");
  const Device gpu(device.index());
  const Memory memory(kThreads * kHuge, GetParam() == Pages::kSmall ? Memory::kAnonymous : Memory::kHugePages);
  std::optional<Khugepaged> khugepaged;
  if (GetParam() == Pages::kCollapsed) khugepaged.emplace();
  const unsigned long collapsed = Khugepaged::collapsed();
  // khugepaged, whose priority is the lowest, may need more of it to find 2 MiB of which nothing is in VRAM.
  const auto enough = [&] { return !khugepaged || Khugepaged::collapsed() > collapsed || HasFailure(); };
  for (size_t times = 0; times == 0 || (times < 20 && !enough()); ++times) {
    std::vector<std::thread> threads;
    for (size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&gpu, &memory, seed = times * kThreads + thread + 1, thread] {
        Owner(gpu, reinterpret_cast<uint64_t*>(memory.data() + thread * kHuge), seed).work(rounds(200));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(gpu.stat(GODWIT_STAT_TIMEOUTS), 0u);
  if (khugepaged) {
    EXPECT_GT(Khugepaged::collapsed(), collapsed);
  }
}

INSTANTIATE_TEST_SUITE_P(PageSize, Threads, ::testing::Values(Pages::kSmall, Pages::kHuge, Pages::kCollapsed),
                         [](const auto& suite) {
                           return suite.param == Pages::kSmall ? "Small" : suite.param == Pages::kHuge ? "Huge" : "Collapsed";
                         });

}  // namespace
}  // namespace godwit::guest
