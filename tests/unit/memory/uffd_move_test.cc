// SPDX-License-Identifier: MIT
// UFFDIO_MOVE's count, while something else holds references to the pages and changes their entries.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

#include "godwit/units.h"
#include "runtime/src/host/user/uffd.h"
#include "runtime/src/host/user/uffd_abi.h"

namespace godwit {
namespace {

/// One block, aligned, of huge pages where the system has them.
class Memory {
 public:
  Memory()
      : map_(::mmap(nullptr, 2 * kBlockBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                    -1, 0)) {
    const auto address = reinterpret_cast<std::uintptr_t>(map_);
    base_ = reinterpret_cast<std::byte*>(align_up(address, kBlockBytes));
    (void)::madvise(base_, kBlockBytes, MADV_HUGEPAGE);
  }
  ~Memory() { ::munmap(map_, 2 * kBlockBytes); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  [[nodiscard]] std::byte* at(std::size_t page) const { return base_ + page * kPageBytes; }

 private:
  void* map_;
  std::byte* base_;
};

/// A child that shares all pages with this process for as long as it lives.
class Child {
 public:
  Child() {
    if (::pipe2(pipe_.data(), O_CLOEXEC) != 0) return;
    pid_ = ::fork();
    if (pid_ != 0) return;
    ::close(pipe_[1]);
    char end = 0;
    (void)!::read(pipe_[0], &end, 1);
    ::_exit(0);
  }
  ~Child() {
    ::close(pipe_[1]);
    ::close(pipe_[0]);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

 private:
  std::array<int, 2> pipe_{-1, -1};
  pid_t pid_ = -1;
};

std::size_t present(Uffd& uffd, std::byte* base, std::size_t pages) {
  std::vector<std::uint8_t> flags(pages);
  if (uffd.scan(base, flags, abi::kPagePresent | abi::kPageSwapped, false) != 0) {
    return ~std::size_t{0};
  }
  std::size_t count = 0;
  for (const std::uint8_t flag : flags) count += flag;
  return count;
}

TEST(UffdMove, CountsEveryPageThatMoved) {
  auto uffd = Uffd::open(HostLevelWish::kFull);
  if (!uffd) GTEST_SKIP() << uffd.error().to_string();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  std::size_t all = 0;
  for (std::size_t round = 0; std::chrono::steady_clock::now() < end; ++round) {
    const Memory home;
    const Memory slot;
    for (std::size_t page = 0; page < kPagesPerBlock; ++page) {
      std::memset(home.at(page), static_cast<int>(page % 255 + 1), kPageBytes);
    }
    const Child child;
    ASSERT_EQ(uffd->add_range(home.at(0), kBlockBytes, true), 0);
    ASSERT_EQ(uffd->add_range(slot.at(0), kBlockBytes, true), 0);
    // Makes the pages this process's own, one after the other, while they are being moved. Where it
    // comes too late it waits for a page until the range is given up.
    std::thread owner([&] { (void)::madvise(home.at(0), kBlockBytes, MADV_POPULATE_WRITE); });
    const auto disown = [&] {
      EXPECT_EQ(uffd->remove_range(home.at(0), kBlockBytes), 0);
      EXPECT_EQ(uffd->remove_range(slot.at(0), kBlockBytes), 0);
      owner.join();
    };
    std::size_t total = 0;
    std::size_t wrong = 0;
    for (int tries = 0; total < kPagesPerBlock && tries < 2000 && wrong == 0; ++tries) {
      std::size_t bytes = 0;
      const int error = uffd->move(slot.at(total), home.at(total),
                                   (kPagesPerBlock - total) * kPageBytes, &bytes);
      total += bytes / kPageBytes;
      wrong += present(*uffd, slot.at(0), kPagesPerBlock) != total;
      wrong += present(*uffd, home.at(0), kPagesPerBlock) != kPagesPerBlock - total;
      wrong += error != 0 && error != -EAGAIN && error != -EBUSY;
      EXPECT_EQ(wrong, 0U) << "round " << round << ": " << total << " pages counted, then "
                           << std::strerror(-error);
    }
    for (std::size_t page = 0; page < total; ++page) {
      wrong += *slot.at(page) != static_cast<std::byte>(page % 255 + 1);
    }
    EXPECT_EQ(wrong, 0U);
    disown();
    if (wrong != 0) return;
    all += total;
  }
  EXPECT_NE(all, 0U) << "no page moved in any round";
}

}  // namespace
}  // namespace godwit
