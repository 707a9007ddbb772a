// SPDX-License-Identifier: MIT
// A file as managed memory: its bytes come to the side that touches them, and go back.
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>

#include "tests/contract/fixture.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = std::size_t{5} << 20;
constexpr std::size_t kPages = kBytes / kPageBytes;
constexpr std::size_t kFileBytes = kBytes + 1000;  // ends in the middle of a page

class File : public Contract {
 protected:
  void SetUp() override {
    Contract::SetUp();
    const char* folder = std::getenv("TEST_TMPDIR");
    path_ = std::string(folder == nullptr ? "/tmp" : folder) + "/godwit-file-XXXXXX";
    const int fd = ::mkstemp(path_.data());
    ASSERT_GE(fd, 0);
    ::close(fd);
    write(words(kFileBytes, 1));
  }
  void TearDown() override {
    Contract::TearDown();
    (void)std::remove(path_.c_str());
  }

  [[nodiscard]] static std::vector<std::uint32_t> words(std::size_t bytes, std::uint32_t seed) {
    std::vector<std::uint32_t> result(bytes / 4);
    for (std::size_t word = 0; word < result.size(); ++word) result[word] = pattern(word, seed);
    return result;
  }
  void write(const std::vector<std::uint32_t>& content) const {
    std::ofstream out(path_, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(content.data()),
              static_cast<std::streamsize>(content.size() * 4));
    ASSERT_TRUE(out.good());
  }
  [[nodiscard]] std::vector<std::uint32_t> content() const {
    std::ifstream in(path_, std::ios::binary);
    std::vector<std::uint32_t> result(kFileBytes / 4 + 1);
    in.read(reinterpret_cast<char*>(result.data()), static_cast<std::streamsize>(kFileBytes + 4));
    result.resize(static_cast<std::size_t>(in.gcount()) / 4);
    return result;
  }
  [[nodiscard]] std::byte* map(Sharing sharing, std::uint64_t offset = 0, std::size_t bytes = 0) {
    auto mapped = engine().map(path_, {.offset = offset, .bytes = bytes, .sharing = sharing});
    EXPECT_TRUE(mapped) << mapped.error().to_string();
    return mapped ? static_cast<std::byte*>(*mapped) : nullptr;
  }

  std::string path_;
};

TEST_P(File, TheCpuReadsTheFilesBytesAndZerosBehindThem) {
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  EXPECT_EQ(check(base, kBytes, 1), "");
  std::vector<std::uint32_t> tail(kPageBytes / 4);
  load(tail.data(), base + kBytes, kPageBytes);
  for (std::size_t word = 0; word < tail.size(); ++word) {
    EXPECT_EQ(tail[word], word < 250 ? pattern(kBytes / 4 + word, 1) : 0) << word;
  }
  const std::size_t behind = kBytes + kPageBytes;
  EXPECT_EQ(check_zero(base + behind, engine().size_of(base) - behind), "");
  EXPECT_GE(statistics().file_pages_read, kPages);
}

TEST_P(File, OnlyWhatIsTouchedIsRead) {
  if (kernel()) GTEST_SKIP() << "the kernel engine reads a file at once";
  if (!full()) GTEST_SKIP() << "at the resident level a file is read at once";
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  EXPECT_EQ(statistics().file_pages_read, 0U);
  std::uint32_t word = 0;
  load(&word, base + 100 * kPageBytes, sizeof(word));
  EXPECT_EQ(word, pattern(100 * kPageBytes / 4, 1));
  EXPECT_GE(statistics().file_pages_read, 1U);
  EXPECT_LE(statistics().file_pages_read, kPagesPerBlock);
}

TEST_P(File, ADeviceGetsPagesThatTheCpuNeverHad) {
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 1));
  if (full()) {
    EXPECT_EQ(count(base, kBytes, Residency::kDevice), kPages);
    EXPECT_EQ(statistics().faults_read, 0U);
  }
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(File, APrefetchBringsItToVram) {
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  const MoveReport report = to_device(base, kBytes);
  EXPECT_EQ(report.moved, kPages) << describe(report);
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(File, ReadMostlyGivesTheDeviceTheBytesToo) {
  if (kernel()) GTEST_SKIP() << "the module has no advice read mostly";
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  ASSERT_TRUE(engine().advise(base, kBytes, Advice::kReadMostly));
  auto sum = device_sum(base, kBytes);
  ASSERT_TRUE(sum) << sum.error().to_string();
  EXPECT_EQ(*sum, expected_sum(kBytes, 1));
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(File, APartBeginsAtItsOffset) {
  std::byte* base = map(Sharing::kPrivate, 12'340, 100'000);
  ASSERT_NE(base, nullptr);
  for (const std::size_t at : {std::size_t{0}, std::size_t{50'000}, std::size_t{99'996}}) {
    std::uint32_t word = 0;
    load(&word, base + at, sizeof(word));
    EXPECT_EQ(word, pattern((12'340 + at) / 4, 1)) << at;
  }
  EXPECT_EQ(check_zero(base + 100'000, 4), "");
}

TEST_P(File, StoresToAPrivateMappingNeverReachTheFile) {
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  fill(base, kBytes, 2);
  auto synced = engine().sync(base, kBytes);
  ASSERT_TRUE(synced);
  EXPECT_EQ(*synced, 0U);
  ASSERT_TRUE(engine().free(base));
  EXPECT_EQ(content(), words(kFileBytes, 1));
}

TEST_P(File, SyncWritesThePagesThatDifferFromBothSides) {
  std::byte* base = map(Sharing::kShared);
  ASSERT_NE(base, nullptr);
  std::vector<std::uint32_t> expected = words(kFileBytes, 1);
  const std::uint32_t value = 77;
  store(base + 5 * kPageBytes, &value, sizeof(value));
  expected[5 * kPageBytes / 4] = value;
  std::size_t pages = 1;
  if (full()) {
    ASSERT_TRUE(device_add(base + 700 * kPageBytes, 4, 9));
    expected[700 * kPageBytes / 4] += 9;
    ++pages;
    EXPECT_EQ(where(base + 700 * kPageBytes), Residency::kDevice);
  }
  auto synced = engine().sync(base, kBytes);
  ASSERT_TRUE(synced) << synced.error().to_string();
  EXPECT_EQ(*synced, pages);
  EXPECT_EQ(content(), expected);
  synced = engine().sync(base, kBytes);
  ASSERT_TRUE(synced);
  EXPECT_EQ(*synced, 0U);
  if (full()) {
    EXPECT_EQ(where(base + 700 * kPageBytes), Residency::kDevice);
  }
}

TEST_P(File, TheEndOfASharedMappingWritesItBackAndKeepsTheLength) {
  std::byte* base = map(Sharing::kShared);
  ASSERT_NE(base, nullptr);
  fill(base, kBytes, 3);
  const std::uint32_t tail = 5;
  store(base + kBytes, &tail, sizeof(tail));
  store(base + kFileBytes, &tail, sizeof(tail));  // behind the end: goes nowhere
  (void)to_device(base, kBytes);
  ASSERT_TRUE(engine().free(base));
  std::vector<std::uint32_t> expected = words(kFileBytes, 1);
  const std::vector<std::uint32_t> stored = words(kBytes, 3);
  std::copy(stored.begin(), stored.end(), expected.begin());
  expected[kBytes / 4] = tail;
  EXPECT_EQ(content(), expected);
}

TEST_P(File, StoresAfterADiscardReachTheFile) {
  std::byte* base = map(Sharing::kShared);
  ASSERT_NE(base, nullptr);
  (void)to_device(base, kBytes);
  constexpr std::size_t kFirst = 3;
  constexpr std::size_t kCount = 2;
  // One more is given up, and not touched again. The kernel engine writes the zeros that it holds
  // then.
  const std::size_t given_up = kernel() ? kCount : kCount + 1;
  ASSERT_TRUE(engine().discard(base + kFirst * kPageBytes, given_up * kPageBytes));
  fill(base + kFirst * kPageBytes, kCount * kPageBytes, 8);
  auto synced = engine().sync(base, kBytes);
  ASSERT_TRUE(synced) << synced.error().to_string();
  EXPECT_EQ(*synced, kCount);
  std::vector<std::uint32_t> expected = words(kFileBytes, 1);
  const std::vector<std::uint32_t> stored = words(kCount * kPageBytes, 8);
  std::copy(stored.begin(), stored.end(),
            expected.begin() + static_cast<std::ptrdiff_t>(kFirst * kPageBytes / 4));
  EXPECT_EQ(content(), expected);
}

TEST_P(File, EvictionAndReturnKeepItsBytes) {
  if (!full()) GTEST_SKIP() << "at the resident level nothing leaves RAM";
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  ASSERT_TRUE(device_add(base, 1000 * kPageBytes, 1));
  std::byte* other = region(kVram);
  fill(other, kVram, 4);
  // Two threads move; the one may give up on a frame that the other has in hand.
  for (int round = 0; round < 10 && count(base, kBytes, Residency::kDevice) != 0; ++round) {
    (void)to_device(other, kVram);
  }
  EXPECT_EQ(count(base, kBytes, Residency::kDevice), 0U);
  for (std::size_t page = 0; page < kPages; ++page) {
    std::uint32_t word = 0;
    load(&word, base + page * kPageBytes, sizeof(word));
    ASSERT_EQ(word, pattern(page * kPageBytes / 4, 1) + (page < 1000 ? 1 : 0)) << page;
  }
}

TEST_P(File, DiscardForgetsStoresAndReadsTheFileAgain) {
  if (kernel()) GTEST_SKIP() << "the kernel engine reads a file at once";
  if (!full()) GTEST_SKIP() << "at the resident level discarded pages are the kernel's, and zero";
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  fill(base, kBytes, 5);
  ASSERT_TRUE(engine().discard(base, kBytes));
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(File, AMemoryRegionInItsPlaceAfterwardsReadsZero) {
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  ASSERT_TRUE(engine().free(base));
  std::byte* again = region(2 * kBlockBytes);
  EXPECT_EQ(check_zero(again, 2 * kBlockBytes), "");
}

TEST_P(File, AForkLoadsWhatTheChildMayRead) {
  if (!full()) GTEST_SKIP() << "at the resident level everything is loaded";
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  engine().prepare_fork();
  engine().after_fork_in_parent();
  EXPECT_EQ(count(base, kBytes, Residency::kHost), kPages);
  EXPECT_EQ(check(base, kBytes, 1), "");
}

TEST_P(File, AFileThatShrankReadsZeroBehindItsEnd) {
  if (kernel()) GTEST_SKIP() << "the kernel engine reads a file at once";
  if (!full()) GTEST_SKIP() << "at the resident level it was read before";
  std::byte* base = map(Sharing::kPrivate);
  ASSERT_NE(base, nullptr);
  ASSERT_EQ(::truncate(path_.c_str(), kPageBytes), 0);
  EXPECT_EQ(check(base, kPageBytes, 1), "");
  EXPECT_EQ(check_zero(base + kPageBytes, kBytes - kPageBytes), "");
}

TEST_P(File, WrongArgumentsAreRefusedByName) {
  const auto refused = [&](const std::string& path, const MapOptions& options, Code code,
                           const char* word) {
    auto mapped = engine().map(path, options);
    ASSERT_FALSE(mapped);
    EXPECT_EQ(mapped.error().code, code);
    EXPECT_NE(mapped.error().message.find(word), std::string::npos) << mapped.error().message;
  };
  refused(path_ + ".missing", {}, Code::kIo, "No such file");
  refused("/dev/null", {}, Code::kInvalidArgument, "not a regular file");
  refused(path_, {.offset = kFileBytes}, Code::kInvalidArgument, "offset");
  refused(path_, {.offset = 8, .bytes = kFileBytes}, Code::kInvalidArgument, "make the file that long");
  int outside = 0;
  EXPECT_FALSE(engine().sync(&outside, sizeof(outside)));
  std::byte* plain = region(kPageBytes);
  auto synced = engine().sync(plain, kPageBytes);
  ASSERT_TRUE(synced);
  EXPECT_EQ(*synced, 0U);
}

INSTANTIATE_TEST_SUITE_P(Engines, File, ::testing::ValuesIn(all_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
