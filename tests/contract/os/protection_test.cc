// SPDX-License-Identifier: MIT
// What a program does to managed memory behind the runtime's back: mprotect, mlock, madvise,
// mremap, and a userfaultfd of its own on the same range.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "tests/contract/os/support.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = 3 * kBlockBytes;
constexpr std::size_t kPages = kBytes / kPageBytes;

using Protection = OsContract;

TEST_P(Protection, AReadOnlyRegionInVramLoadsAndRefusesStores) {
  const Watchdog watchdog("PROT_READ");
  std::byte* base = in_vram(kBytes, 1);
  ASSERT_EQ(::mprotect(base, kBytes, PROT_READ), 0);
  for (const std::size_t page : {std::size_t{0}, std::size_t{700}, kPages - 1}) {
    EXPECT_EQ(signal_of(base + page * kPageBytes, Touch::kStore), SIGSEGV) << page;
    EXPECT_EQ(signal_of(base + page * kPageBytes, Touch::kLoad), 0) << page;
    EXPECT_EQ(signal_of(base + page * kPageBytes, Touch::kStore), SIGSEGV) << page;
  }
  EXPECT_EQ(check(base, kBytes, 1), "");
  ASSERT_EQ(::mprotect(base, kBytes, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(check(base, kBytes, 1), "");
  fill(base, kBytes, 2);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 2), "");
}

TEST_P(Protection, AStoreToAReadOnlyRegionInVramEndsTheProgram) {
  std::byte* base = in_vram(kBlockBytes, 3);
  ASSERT_EQ(::mprotect(base, kBlockBytes, PROT_READ), 0);
  EXPECT_EXIT(
      {
        ::signal(SIGSEGV, SIG_DFL);  // a sanitizer has its own
        *reinterpret_cast<volatile unsigned char*>(base) = 1;
      },
      ::testing::KilledBySignal(SIGSEGV), "");
  ASSERT_EQ(::mprotect(base, kBlockBytes, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(check(base, kBlockBytes, 3), "");
}

TEST_P(Protection, AnInaccessibleRegionInVramRefusesEverythingAndKeepsItsBytes) {
  const Watchdog watchdog("PROT_NONE");
  std::byte* base = in_vram(kBytes, 4);
  ASSERT_EQ(::mprotect(base, kBytes, PROT_NONE), 0);
  EXPECT_EQ(signal_of(base + kBlockBytes, Touch::kLoad), SIGSEGV);
  EXPECT_EQ(signal_of(base + kBlockBytes, Touch::kStore), SIGSEGV);
  EXPECT_EQ(to_host(base, kBlockBytes).stayed, 0U);
  ASSERT_EQ(::mprotect(base, kBytes, PROT_READ | PROT_WRITE), 0);
  EXPECT_EQ(check(base, kBytes, 4), "");
  fill(base, kBytes, 5);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 5), "");
}

TEST_P(Protection, ProtectedPagesAmongOthersStayAndTheOthersMove) {
  std::byte* base = region(kBytes);
  fill(base, kBytes, 6);
  constexpr std::size_t kFirst = 100;
  constexpr std::size_t kCount = 50;
  ASSERT_EQ(::mprotect(base + kFirst * kPageBytes, kCount * kPageBytes, PROT_READ), 0);
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(report.stayed, kCount);
  EXPECT_EQ(stayed(report, StayReason::kLocked), kCount);
  EXPECT_EQ(report.moved, kPages - kCount);
  EXPECT_EQ(check(base, kBytes, 6), "");
  EXPECT_EQ(signal_of(base + kFirst * kPageBytes, Touch::kStore), SIGSEGV);
  ASSERT_EQ(::mprotect(base + kFirst * kPageBytes, kCount * kPageBytes, PROT_READ | PROT_WRITE), 0);
  fill(base, kBytes, 7);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 7), "");
}

TEST_P(Protection, LockingPagesBringsThemHomeAndTheyStay) {
  const Watchdog watchdog("mlock");
  std::byte* base = in_vram(kBytes, 8);
  constexpr std::size_t kFirst = kPagesPerBlock + 64;
  constexpr std::size_t kCount = 32;
  // Not through the C library: AddressSanitizer makes its mlock do nothing.
  if (::syscall(SYS_mlock, base + kFirst * kPageBytes, kCount * kPageBytes) != 0) {
    GTEST_SKIP() << "lacks a limit on locked memory (ulimit -l) of 128 KiB";
  }
  EXPECT_EQ(count(base + kFirst * kPageBytes, kCount * kPageBytes, Residency::kDevice), 0U);
  const MoveReport report = to_device(base, kBytes);
  EXPECT_LE(report.stayed, kCount);
  EXPECT_EQ(report.stayed, stayed(report, StayReason::kLocked));
  EXPECT_EQ(report.moved + report.already + report.stayed, kPages);
  EXPECT_EQ(check(base, kBytes, 8), "");
  ASSERT_EQ(::syscall(SYS_munlock, base + kFirst * kPageBytes, kCount * kPageBytes), 0);
  fill(base, kBytes, 9);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 9), "");
}

TEST_P(Protection, PagesDroppedBehindOurBackReadZero) {
  const Watchdog watchdog("MADV_DONTNEED");
  std::byte* base = in_vram(kBytes, 10);
  fill(base, kBytes, 10);  // in RAM, in armed blocks
  ASSERT_EQ(count(base, kBytes, Residency::kHost), kPages);
  constexpr std::size_t kFirst = 30;
  constexpr std::size_t kCount = 700;  // over a block's end
  ASSERT_EQ(::syscall(SYS_madvise, base + kFirst * kPageBytes, kCount * kPageBytes, MADV_DONTNEED),
            0);
  EXPECT_EQ(check_zero(base + kFirst * kPageBytes, kCount * kPageBytes), "");
  std::vector<std::byte> wanted = pattern_bytes(kBytes, 10);
  std::memset(wanted.data() + kFirst * kPageBytes, 0, kCount * kPageBytes);
  EXPECT_EQ(difference({base, kBytes}, wanted), "");
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(difference({base, kBytes}, wanted), "");
}

TEST_P(Protection, ADemotionOfDroppedPagesFindsZeros) {
  std::byte* base = in_vram(kBytes, 11);
  fill(base, kBytes, 11);
  ASSERT_EQ(::madvise(base + kBlockBytes, kBlockBytes, MADV_DONTNEED), 0);
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(report.stayed, 0U);
  EXPECT_EQ(report.moved + report.already, kPages);
  EXPECT_EQ(check_zero(base + kBlockBytes, kBlockBytes), "");
  EXPECT_EQ(check(base, kBlockBytes, 11), "");
}

TEST_P(Protection, CleanCopiesThatAreDroppedBehindOurBackReadZero) {
  const Watchdog watchdog("MADV_DONTNEED on clean copies");
  std::byte* base = in_vram(kBytes, 12);
  EXPECT_EQ(check(base, kBytes, 12), "");  // loads: RAM and VRAM hold it now
  ASSERT_EQ(::madvise(base, kBlockBytes, MADV_DONTNEED), 0);
  EXPECT_EQ(check_zero(base, kBlockBytes), "");
  ASSERT_EQ(::madvise(base + kBlockBytes, kBlockBytes, MADV_DONTNEED), 0);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check_zero(base + kBlockBytes, kBlockBytes), "");
  std::vector<std::byte> wanted = pattern_bytes(kBytes, 12);
  EXPECT_EQ(
      difference({base + 2 * kBlockBytes, kBlockBytes}, std::span(wanted).subspan(2 * kBlockBytes)),
      "");
}

TEST_P(Protection, PagesInVramThatAreDroppedBehindOurBackReadZero) {
  const Watchdog watchdog("MADV_DONTNEED on pages in VRAM");
  std::byte* base = in_vram(kBytes, 13);
  ASSERT_EQ(::madvise(base, kBytes, MADV_DONTNEED), 0);
  if (check(base, kBytes, 13).empty()) {
    GTEST_SKIP() << "lacks UFFD_FEATURE_EVENT_REMOVE: madvise(MADV_DONTNEED) on pages in VRAM "
                    "keeps their bytes; godwit's discard() gives them up";
  }
  EXPECT_EQ(check_zero(base, kBytes), "");
}

TEST_P(Protection, PartsThatAreRemappedKeepTheirBytes) {
  const Watchdog watchdog("mremap");
  std::byte* base = in_vram(kBytes, 14);
  constexpr std::size_t kMoved = 300 * kPageBytes;
  std::byte* part = base + kBlockBytes - 100 * kPageBytes;
  EXPECT_EQ(to_host(base, kBytes).stayed, 0U);
  void* moved = ::mremap(part, kMoved, kMoved, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr);
  ASSERT_NE(moved, MAP_FAILED) << std::strerror(errno);
  const std::vector<std::byte> before = pattern_bytes(kBytes, 14);
  const auto offset = static_cast<std::size_t>(part - base);
  const std::span<const std::byte> wanted = std::span(before).subspan(offset, kMoved);
  EXPECT_EQ(difference({static_cast<std::byte*>(moved), kMoved}, wanted), "");
  EXPECT_EQ(check_zero(part, kMoved), "");  // DONTUNMAP leaves fresh memory
  fill(part, kMoved, 15);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(part, kMoved, 15), "");
  EXPECT_EQ(difference({static_cast<std::byte*>(moved), kMoved}, wanted), "");
  std::memset(moved, 1, kMoved);
  EXPECT_EQ(check(part, kMoved, 15), "");
  ::munmap(moved, kMoved);
}

TEST_P(Protection, AHoleThatARemapLeftIsFilledBeforeItIsUsedAgain) {
  std::byte* base = in_vram(kBytes, 16);
  EXPECT_EQ(to_host(base, kBytes).stayed, 0U);
  void* moved =
      ::mremap(base + kBlockBytes, kBlockBytes, kBlockBytes, MREMAP_MAYMOVE | MREMAP_FIXED,
               ::mmap(nullptr, kBlockBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(moved, MAP_FAILED) << std::strerror(errno);
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(report.moved + report.already + report.stayed, kPages);
  EXPECT_EQ(check(base, kBlockBytes, 16), "");
  ASSERT_TRUE(engine().free(base));
  std::byte* again = region(kBytes);
  ASSERT_EQ(again, base);
  ASSERT_EQ(signal_of(again + kBlockBytes, Touch::kStore), 0);
  fill(again, kBytes, 17);
  EXPECT_EQ(check(again, kBytes, 17), "");
  ::munmap(moved, kBlockBytes);
}

TEST_P(Protection, ARangeWithAnotherUserfaultfdStaysAndSaysSo) {
  const Watchdog watchdog("two userfaultfds");
  std::byte* base = region(kBytes);
  fill(base, kBytes, 18);
  const int other = static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (other < 0) GTEST_SKIP() << "lacks a second userfaultfd: " << std::strerror(errno);
  uffdio_api api{.api = UFFD_API, .features = 0, .ioctls = 0};
  ASSERT_EQ(::ioctl(other, UFFDIO_API, &api), 0);
  uffdio_register request{};
  request.range = {reinterpret_cast<std::uintptr_t>(base + kBlockBytes + 16 * kPageBytes),
                   16 * kPageBytes};
  request.mode = UFFDIO_REGISTER_MODE_MISSING;
  ASSERT_EQ(::ioctl(other, UFFDIO_REGISTER, &request), 0) << std::strerror(errno);
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(report.moved, kPages - kPagesPerBlock);  // a block is armed as a whole
  EXPECT_EQ(report.stayed, kPagesPerBlock);
  EXPECT_EQ(stayed(report, StayReason::kPinned) + stayed(report, StayReason::kLocked),
            kPagesPerBlock);
  ASSERT_EQ(report.stays.size(), 1U);
  EXPECT_EQ(report.stays[0].address, base + kBlockBytes);
  EXPECT_EQ(check(base, kBytes, 18), "");
  auto sum = device_sum(base, kBlockBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  auto refused = device_sum(base + kBlockBytes, kBlockBytes);
  EXPECT_FALSE(refused);
  ::close(other);
  EXPECT_EQ(to_device(base, kBytes).stayed, 0U);
  EXPECT_EQ(check(base, kBytes, 18), "");
}

INSTANTIATE_TEST_SUITE_P(Engines, Protection, ::testing::ValuesIn(user_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
