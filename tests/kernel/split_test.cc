// SPDX-License-Identifier: MIT
// Huge pages that have to move one page at a time, because nowhere there is a huge one to go to: alone, and shared with a child.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <functional>
#include <initializer_list>
#include <list>
#include <thread>

#include "tests/kernel/jobs.h"
#include "tests/kernel/proc.h"
#include "tests/kernel/settings.h"

namespace godwit::guest {
namespace {

// 128 MiB of RAM of which no huge pages can be made: what is next to each page that is free is in a pipe, and stays there. The kernel
// keeps a part of it to itself, and would keep more, the more pieces there are.
class SmallRam {
 public:
  SmallRam() {
    const std::array<char, kPage> page = {};
    const Pipes go;
    for (size_t i = 0; i < go.size(); ++i) {
      for (size_t at = 0; at < Pipe::kBytes; at += kPage) {
        stay_[i].put(page);
        go[i].put(page);
      }
    }
  }

 private:
  struct Pipe {
    static constexpr size_t kBytes = size_t{2} << 20;
    Pipe() {
      EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
      EXPECT_EQ(fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kBytes)), static_cast<int>(kBytes));
    }
    ~Pipe() {
      for (const int end : ends) close(end);
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    void put(const std::array<char, kPage>& page) const { EXPECT_EQ(write(ends[1], page.data(), page.size()), ssize_t{kPage}); }
    int ends[2] = {-1, -1};
  };
  using Pipes = std::array<Pipe, 64>;
  const Settings settings_{{"/proc/sys/vm/watermark_boost_factor", "0"}};
  Pipes stay_;
};

// As long as it lives there is RAM, but no 2 MiB of it in one piece.
class NoHugeRam {
 public:
  NoHugeRam() : ready_(read_file(kReady)), reserved_(read_file(kReserved)) {
    EXPECT_EQ(write_file(kReady, "0"), 0);
    EXPECT_EQ(write_file(kReserved, "1000000"), 0);
    // What the kernel keeps for others of its zones than those that hugetlb may have.
    do {
      left_.emplace_back(kHuge, Memory::kHugePages);
      left_.back().data()[0] = 1;
    } while (huge_kib(left_.back().data()) != 0);
  }
  ~NoHugeRam() {
    EXPECT_EQ(write_file(kReserved, reserved_), 0);
    EXPECT_EQ(write_file(kReady, ready_), 0);
  }
  NoHugeRam(const NoHugeRam&) = delete;
  NoHugeRam& operator=(const NoHugeRam&) = delete;

 private:
  static constexpr char kReady[] = "/sys/module/godwit/parameters/ready";
  static constexpr char kReserved[] = "/proc/sys/vm/nr_hugepages";
  // What comes home needs room.
  const SmallRam small_;
  std::string ready_, reserved_;
  std::list<Memory> left_;
};

// As long as it lives there is VRAM, but no block of which all frames are free.
class NoFreeBlock {
 public:
  explicit NoFreeBlock(const Device& gpu) : small_(gpu.info().vram_total) {
    fill(small_.data(), small_.size(), kSeed);
    EXPECT_EQ(gpu.to_vram(small_.data(), small_.size()).moved, small_.size() / kPage);
    for (size_t at = 0; at < small_.size(); at += kHuge) gpu.to_ram(small_.data() + at + kPage, kHuge / 2);
  }
  ~NoFreeBlock() { EXPECT_BYTES(small_.data(), small_.size(), kSeed); }
  NoFreeBlock(const NoFreeBlock&) = delete;
  NoFreeBlock& operator=(const NoFreeBlock&) = delete;

 private:
  static constexpr uint64_t kSeed = 5;
  Memory small_;
};

// A huge page; true is one that a child has as well, which compares what it has when `what` is done.
class Split : public DeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  static constexpr uint64_t kSeed = 6;

  void SetUp() override {
    DeviceTest::SetUp();
    if (gpu_.info().huge_page_size == 0) GTEST_SKIP() << "the device has one page size";
    fill(memory_.data(), memory_.size(), kSeed);
    ASSERT_EQ(huge_kib(memory_.data()), kHuge / 1024);
  }

  void go_to_vram() {
    ASSERT_EQ(gpu_.to_vram(memory_.data(), memory_.size()).moved_huge, kHuge / kPage);
  }

  void with_child(const std::function<void()>& what) {
    if (GetParam()) {
      std::array<int, 2> done = {};
      ASSERT_EQ(pipe(done.data()), 0);
      const pid_t child = fork();
      if (child == 0) {
        char byte = 0;
        close(done[1]);
        _exit(read(done[0], &byte, 1) == 0 && differs(memory_.data(), memory_.size(), kSeed) == -1 ? 0 : 1);
      }
      ASSERT_GT(child, 0);
      what();
      close(done[0]);
      close(done[1]);
      int status = -1;
      EXPECT_EQ(waitpid(child, &status, 0), child);
      EXPECT_TRUE(exited_well(status)) << "the child had other bytes";
    } else {
      what();
    }
    EXPECT_BYTES(memory_.data(), memory_.size(), kSeed);
  }

  const Memory memory_{kHuge, Memory::kHugePages};
};

TEST_P(Split, ToVramWithoutAFreeBlock) {
  const NoFreeBlock none(gpu_);
  with_child([this] {
    const auto answer = gpu_.to_vram(memory_.data(), memory_.size(), GODWIT_MIGRATE_NO_EVICT);
    EXPECT_EQ(answer.moved, kHuge / kPage);
    EXPECT_EQ(answer.moved_huge, 0u);
  });
  EXPECT_GE(gpu_.stat(GODWIT_STAT_HUGE_SPLIT), 1u);
}

TEST_P(Split, ToVramForAJobWithoutAFreeBlock) {
  const NoFreeBlock none(gpu_);
  with_child([this] {
    const Done done = execute(gpu_, {op::checksum(memory_.data(), memory_.size())});
    ASSERT_TRUE(done.ok()) << done.error << ", status " << done.status;
    EXPECT_EQ(done.results[0].value, fnv(memory_.data(), memory_.size()));
  });
}

TEST_P(Split, HomeWithoutHugeRam) {
  go_to_vram();
  const NoHugeRam none;
  with_child([this] {
    const auto answer = gpu_.to_ram(memory_.data(), memory_.size());
    EXPECT_EQ(answer.moved, kHuge / kPage);
    EXPECT_EQ(answer.moved_huge, 0u);
  });
  EXPECT_GE(gpu_.stat(GODWIT_STAT_HUGE_SPLIT, true), 1u);
}

TEST_P(Split, HomeForATouchWithoutHugeRam) {
  go_to_vram();
  const NoHugeRam none;
  with_child([this] {
    EXPECT_EQ(signal_of([this] { static_cast<void>(*const_cast<volatile uint8_t*>(memory_.page(7))); }), 0);
    EXPECT_LT(gpu_.in_vram(memory_.data(), memory_.size()), kHuge / kPage);
  });
}

INSTANTIATE_TEST_SUITE_P(Page, Split, ::testing::Bool(),
                         [](const auto& suite) { return suite.param ? "Shared" : "Alone"; });

// What is dropped and made anew while it moves, which needs no lock that a migration has.
class Dropped : public DeviceTest {
 protected:
  static constexpr uint64_t kRounds = 6;
  static inline const Settings::Setting kSlowCopies{"/sys/module/godwit_soft/parameters/slow_copies", "20000"};

  void SetUp() override {
    DeviceTest::SetUp();
    if (gpu_.info().huge_page_size == 0) GTEST_SKIP() << "the device has one page size";
  }

  int migrate(const Memory& memory, uint32_t to) const {
    drm_godwit_migrate args = {};
    args.addr = address(memory.data());
    args.length = kHuge;
    args.to = to;
    args.flags = to == GODWIT_PLACE_VRAM ? uint32_t{GODWIT_MIGRATE_NO_EVICT} : 0;
    return gpu_.call(DRM_IOCTL_GODWIT_MIGRATE, &args);
  }

  // Another thread moves the first 2 MiB to each of the places, and tells when that is over.
  void once(const Memory& memory, std::initializer_list<uint32_t> places,
            const std::function<void(const std::atomic<bool>&)>& meanwhile) const {
    std::atomic<bool> over{false};
    std::thread mover([&] {
      for (const uint32_t place : places) EXPECT_EQ(migrate(memory, place), 0);
      over = true;
    });
    meanwhile(over);
    mover.join();
  }

  // Until the page is on its way. For a moment the kernel has nothing there, and who drops the memory then drops nothing
  // (docs/locking.md).
  static void until_it_leaves(const uint8_t* page, uint64_t entry, const std::atomic<bool>& over) {
    // Bit 63: RAM, bit 62: anything else.
    for (uint64_t now = entry; !over && (now == entry || now >> 62 == 0);) now = entry_of(page);
  }
};

TEST_F(Dropped, AHugePageThatFindsNoBlock) {
  const NoFreeBlock none(gpu_);
  const Settings slow({kSlowCopies});
  const Memory memory(kHuge, Memory::kHugePages);
  for (uint64_t round = 1; round <= kRounds; ++round) {
    fill(memory.data(), memory.size(), round);
    const uint64_t entry = entry_of(memory.data());
    once(memory, {GODWIT_PLACE_VRAM, GODWIT_PLACE_SYSTEM}, [&](const std::atomic<bool>& over) {
      until_it_leaves(memory.data(), entry, over);
      ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_DONTNEED), 0);
      fill(memory.data(), memory.size(), round + kRounds);
    });
    EXPECT_BYTES(memory.data(), memory.size(), round + kRounds);
  }
}

TEST_F(Dropped, APartOfAHugePageThatComesHomeWithoutHugeRam) {
  const size_t free = gpu_.info().vram_free;
  {
    std::list<Memory> all;
    for (uint64_t round = 1; round <= kRounds; ++round) {
      all.emplace_back(kHuge, Memory::kHugePages);
      fill(all.back().data(), kHuge, round);
      ASSERT_EQ(gpu_.to_vram(all.back().data(), kHuge).moved_huge, kHuge / kPage);
    }
    const NoHugeRam none;
    const Settings slow({kSlowCopies});
    uint64_t round = 0;
    for (const Memory& memory : all) {
      const uint64_t entry = entry_of(memory.data());
      once(memory, {GODWIT_PLACE_SYSTEM}, [&](const std::atomic<bool>& over) {
        until_it_leaves(memory.data(), entry, over);
        ASSERT_EQ(madvise(memory.page(3), kPage, MADV_DONTNEED), 0);
      });
      EXPECT_TRUE(all_zero(memory.page(3), kPage));
      EXPECT_BYTES(memory.data(), 3 * kPage, ++round);
    }
  }
  EXPECT_EQ(wait_for_free(gpu_, free), free);
}

// Folios of 64 KiB: the kernel splits one after the other, without the lock of their page table, and where that table goes
// meanwhile stores more than there are pages. Arrays that are too small for it are a matter for KASAN; here it is put back.
TEST_F(Dropped, ATableOfWhichFoliosAreBeingSplit) {
  constexpr size_t kFolio = 16 * kPage;
  const Settings settings({{"/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled", "always"},
                           {"/sys/kernel/mm/transparent_hugepage/enabled", "never"}});
  const Memory memory(kHuge, Memory::kHugePages);
  for (uint64_t round = 0; round < 1500 && !HasFailure(); ++round) {
    for (size_t at = 0; at < kHuge; at += kFolio) memory.data()[at] = 7;
    const uint64_t entry = entry_of(memory.data());
    once(memory, {GODWIT_PLACE_VRAM}, [&](const std::atomic<bool>& over) {
      // The first folio is on its way: the next one is being split.
      until_it_leaves(memory.data(), entry, over);
      ASSERT_EQ(madvise(memory.data(), kHuge, MADV_DONTNEED), 0);
    });
    // Nothing is left of it, wherever it was put.
    for (size_t at = 0; at < kHuge; at += kFolio) ASSERT_EQ(memory.data()[at], 0) << at << ", round " << round;
    ASSERT_EQ(madvise(memory.data(), kHuge, MADV_DONTNEED), 0);
  }
}

}  // namespace
}  // namespace godwit::guest
