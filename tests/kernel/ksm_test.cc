// SPDX-License-Identifier: MIT
// Memory that the kernel may merge (KSM) stays in RAM, and a device uses it there: the kernel's thread compares merged pages
// wherever they are, and could not in private VRAM.
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

constexpr size_t kPages = 64;
constexpr uint64_t kSame = 0x0707070707070707;

std::string setting(const char* name) { return std::string("/sys/kernel/mm/ksm/") + name; }
uint64_t value(const char* name) { return std::strtoull(read_file(setting(name)).c_str(), nullptr, 10); }

class Ksm : public DeviceTest {
 protected:
  void SetUp() override {
    DeviceTest::SetUp();
    if (write_file(setting("run"), "1") != 0) GTEST_SKIP() << "no KSM in this kernel";
    EXPECT_EQ(write_file(setting("sleep_millisecs"), "1"), 0);
    EXPECT_EQ(write_file(setting("pages_to_scan"), "4096"), 0);
  }
  // Takes all merged pages apart.
  void TearDown() override { (void)write_file(setting("run"), "2"); }

  // Until the thread has merged so many pages with others.
  static void wait_for_merged(uint64_t pages) {
    ASSERT_TRUE(soon([pages] { return value("pages_sharing") >= pages; })) << value("pages_sharing") << " are merged";
  }
  static void merge(const Memory& memory) { ASSERT_EQ(madvise(memory.data(), memory.size(), MADV_MERGEABLE), 0); }
  static size_t same(const Memory& memory) {
    size_t words = 0;
    for (size_t at = 0; at < memory.size(); at += sizeof(kSame)) words += memcmp(memory.data() + at, &kSame, sizeof(kSame)) == 0;
    return words;
  }
};

TEST_F(Ksm, MergedPagesStayAndTheDeviceUsesThemInPlace) {
  Memory one(kPages * kPage), other(kPages * kPage), third(kPages * kPage);
  for (const Memory* memory : {&one, &other}) {
    memset(memory->data(), 7, memory->size());
    merge(*memory);
  }
  ASSERT_NO_FATAL_FAILURE(wait_for_merged(2 * kPages - 1));
  EXPECT_EQ(gpu_.to_vram(one.data(), one.size()).stayed[GODWIT_STAY_FILE], kPages);

  // What the device reads stays merged; what it writes becomes the owner's own.
  const Done read = execute(gpu_, {op::checksum(one.data(), one.size())});
  ASSERT_TRUE(read.ok()) << read.error << ", status " << read.status;
  EXPECT_EQ(read.results[0].value, fnv(other.data(), other.size()));
  EXPECT_EQ(value("pages_sharing"), 2 * kPages - 1);
  const Done written = execute(gpu_, {op::fill(one.page(5), kPage, 9)});
  EXPECT_TRUE(written.ok()) << written.error << ", status " << written.status;
  EXPECT_EQ(*reinterpret_cast<const uint64_t*>(one.page(5)), 9u);
  EXPECT_EQ(same(other), other.size() / sizeof(kSame));

  // The thread compares what it has merged with what is new.
  memset(third.data(), 7, third.size());
  merge(third);
  ASSERT_NO_FATAL_FAILURE(wait_for_merged(3 * kPages - 2));

  // Once it is asked to leave that alone, it moves.
  ASSERT_EQ(madvise(one.data(), one.size(), MADV_UNMERGEABLE), 0);
  EXPECT_EQ(gpu_.to_vram(one.data(), one.size()).moved, kPages);
  EXPECT_EQ(*reinterpret_cast<const uint64_t*>(one.page(5)), 9u);
  EXPECT_EQ(same(one), (kPages - 1) * kPage / sizeof(kSame));
}

TEST_F(Ksm, WhatIsInVramAlreadyIsNotMergedAndComesHome) {
  Memory one(kPages * kPage), other(kPages * kPage);
  memset(one.data(), 7, one.size());
  memset(other.data(), 7, other.size());
  EXPECT_EQ(gpu_.to_vram(one.data(), one.size()).moved, kPages);
  merge(one);
  merge(other);
  ASSERT_NO_FATAL_FAILURE(wait_for_merged(kPages - 1));
  EXPECT_EQ(gpu_.to_vram(one.data(), one.size()).already, kPages);
  EXPECT_EQ(gpu_.in_vram(one.data(), one.size()), kPages);
  EXPECT_EQ(gpu_.to_ram(one.page(0), 8 * kPage).moved, 8u);
  EXPECT_EQ(same(one), one.size() / sizeof(kSame));
  ASSERT_NO_FATAL_FAILURE(wait_for_merged(2 * kPages - 1));
}

// Among them those that the thread is about to merge.
TEST_F(Ksm, PagesThatAreBeingMergedKeepTheirBytes) {
  Memory memory(8 * kPages * kPage);
  const uint64_t before = value("full_scans");
  for (unsigned round = 0; round < rounds(200) || value("full_scans") < before + 20; ++round) {
    ASSERT_EQ(madvise(memory.data(), memory.size(), round % 4 ? MADV_MERGEABLE : MADV_UNMERGEABLE), 0);
    memset(memory.data(), 7, memory.size());
    for (unsigned look = 0; look < round % 8; ++look) (void)gpu_.residency(memory.data(), memory.size());
    gpu_.to_vram(memory.data(), memory.size());
    if (round % 2) {
      const Done done = execute(gpu_, {op::add(memory.data(), memory.size(), 0)});
      EXPECT_TRUE(done.ok() || done.status == -EBUSY) << done.error << ", status " << done.status;
    }
    if (round % 3) gpu_.to_ram(memory.data(), memory.size());
    ASSERT_EQ(same(memory), memory.size() / sizeof(kSame)) << "round " << round;
  }
}

}  // namespace
}  // namespace godwit::guest
