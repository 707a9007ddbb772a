// SPDX-License-Identifier: MIT
// The resident level: VRAM holds copies, the kernel tells afterwards what was written. Whoever
// wrote, through whatever call, the next command on the device sees it.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = std::size_t{6} << 20;
constexpr std::size_t kPages = kBytes / kPageBytes;

std::vector<Setup> resident_setups() {
  std::vector<Setup> setups;
  for (const Setup& setup : both_level_setups()) {
    if (setup.level == HostLevel::kResident) setups.push_back(setup);
  }
  return setups;
}

class Resident : public OsContract {
 protected:
  /// A region with a copy in VRAM; `write` stores pattern 2 in all of it; the device must see that.
  void expect_seen(const std::function<void(std::byte*, std::span<const std::byte>)>& write) {
    std::byte* base = in_vram(kBytes, 1);
    auto before = device_sum(base, kBytes);
    ASSERT_TRUE(before) << before.error().to_string();
    EXPECT_EQ(*before, expected_sum(kBytes, 1));
    const std::vector<std::byte> data = pattern_bytes(kBytes, 2);
    write(base, data);
    auto after = device_sum(base, kBytes);
    ASSERT_TRUE(after) << after.error().to_string();
    EXPECT_EQ(*after, expected_sum(kBytes, 2));
    EXPECT_EQ(check(base, kBytes, 2), "");
  }
};

TEST_P(Resident, PagesNeverLeaveRam) {
  std::byte* base = in_vram(kBytes, 1);
  EXPECT_EQ(count(base, kBytes, Residency::kBoth), kPages);
  std::vector<unsigned char> present(kPages);
  ASSERT_EQ(::mincore(base, kBytes, present.data()), 0);
  EXPECT_EQ(std::count(present.begin(), present.end(), 1), static_cast<std::ptrdiff_t>(kPages));
  EXPECT_EQ(threads_named("godwit-fault"), 0U);
}

TEST_P(Resident, WhatReadStoresReachesTheDevice) {
  expect_seen([](std::byte* base, std::span<const std::byte> data) {
    const TempFile file;
    file.put(data);
    ASSERT_EQ(::pread(file.fd(), base, kBytes, 0), static_cast<ssize_t>(kBytes));
  });
}

TEST_P(Resident, WhatADirectReadStoresReachesTheDevice) {
  const TempFile file;
  const int direct = file.reopen(O_RDONLY | O_DIRECT);
  if (direct < 0) GTEST_SKIP() << "lacks O_DIRECT on the file system of the temporary folder";
  expect_seen([&](std::byte* base, std::span<const std::byte> data) {
    file.put(data);
    ASSERT_EQ(::pread(direct, base, kBytes, 0), static_cast<ssize_t>(kBytes));
  });
  ::close(direct);
}

TEST_P(Resident, WhatAnotherProcessStoresReachesTheDevice) {
  expect_seen([this](std::byte* base, std::span<const std::byte> data) {
    const pid_t parent = ::getpid();
    const pid_t child = fork_with(engine());
    if (child == 0) {
      const iovec local{const_cast<std::byte*>(data.data()), kBytes};
      const iovec remote{base, kBytes};
      ::_exit(::process_vm_writev(parent, &local, 1, &remote, 1, 0) == static_cast<ssize_t>(kBytes)
                  ? 0
                  : 1);
    }
    ASSERT_EQ(reap(child), "");
  });
}

TEST_P(Resident, WhatIsStoredThroughProcSelfMemReachesTheDevice) {
  expect_seen([](std::byte* base, std::span<const std::byte> data) {
    const int memory = ::open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    ASSERT_EQ(::pwrite(memory, data.data(), kBytes,
                       static_cast<off_t>(reinterpret_cast<std::uintptr_t>(base))),
              static_cast<ssize_t>(kBytes));
    ::close(memory);
  });
}

TEST_P(Resident, StoresAfterAForkReachTheDevice) {
  expect_seen([this](std::byte* base, std::span<const std::byte> data) {
    const Turn to_child;
    const pid_t child = fork_with(engine());
    if (child == 0) {
      EXPECT_TRUE(to_child.take());
      EXPECT_EQ(check(base, kBytes, 1), "");
      leave_child();
    }
    std::memcpy(base, data.data(), kBytes);  // each page is copied on write
    to_child.give();
    EXPECT_EQ(reap(child), "");
  });
}

TEST_P(Resident, StoresOfManyThreadsReachTheDevice) {
  expect_seen([](std::byte* base, std::span<const std::byte> data) {
    std::vector<std::thread> threads;
    for (std::size_t index = 0; index < 4; ++index) {
      threads.emplace_back([=] {
        for (std::size_t page = index; page < kPages; page += 4) {
          std::memcpy(base + page * kPageBytes, data.data() + page * kPageBytes, kPageBytes);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
}

TEST_P(Resident, DroppedPagesAreZeroOnTheDeviceToo) {
  std::byte* base = in_vram(kBytes, 3);
  ASSERT_EQ(::madvise(base + kBlockBytes, kBlockBytes, MADV_DONTNEED), 0);
  auto sum = device_sum(base + kBlockBytes, kBlockBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, 0U);
  EXPECT_EQ(check_zero(base + kBlockBytes, kBlockBytes), "");
}

TEST_P(Resident, NoStoreIsLostWhileCopiesAreMade) {
  constexpr std::uint32_t kRounds = 300;
  std::byte* base = region(kBlockBytes);
  std::thread storer([&] {
    for (std::uint32_t round = 1; round <= kRounds; ++round) {
      for (std::size_t at = 0; at < kBlockBytes; at += kPageBytes) {
        *reinterpret_cast<volatile std::uint32_t*>(base + at) = round;
      }
    }
  });
  for (std::uint32_t round = 0; round < kRounds; ++round) {
    auto sum = device_sum(base, kBlockBytes);
    ASSERT_TRUE(sum) << sum.error().to_string();
  }
  storer.join();
  auto sum = device_sum(base, kBlockBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, std::uint64_t{kRounds} * kPagesPerBlock);
}

INSTANTIATE_TEST_SUITE_P(Engines, Resident, ::testing::ValuesIn(resident_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
