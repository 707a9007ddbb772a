// SPDX-License-Identifier: MIT
// Devices that come, go, fail, and share a process; and clients that share a device.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <set>
#include <sstream>
#include <thread>

#include "tests/kernel/jobs.h"
#include "tests/kernel/proc.h"
#include "tests/kernel/settings.h"

namespace godwit::guest {
namespace {

constexpr size_t kSmall = size_t{16} << 20;
constexpr char kFailCopies[] = "/sys/module/godwit_soft/parameters/fail_copies";
constexpr char kSlowCopies[] = "/sys/module/godwit_soft/parameters/slow_copies";
constexpr char kAdd[] = "/sys/module/godwit_soft/parameters/add";

// Pages that raise SIGBUS; all others have their bytes.
size_t lost_pages(const Memory& memory, uint64_t seed) {
  size_t lost = 0, wrong = 0;
  std::vector<uint8_t> want(memory.size());
  fill(want.data(), want.size(), seed);
  for (size_t page = 0; page < memory.size() / kPage; ++page) {
    if (signal_of([&] { *reinterpret_cast<volatile uint8_t*>(memory.page(page)); }) == SIGBUS) {
      ++lost;
    } else {
      wrong += memcmp(memory.page(page), want.data() + page * kPage, kPage) != 0;
    }
  }
  EXPECT_EQ(wrong, 0u) << "pages";
  return lost;
}

// Nothing is asked of the kernel that it warns of, and whoever wrote it is told what was wrong.
TEST(SoftDevices, WhatCannotBeIsRefusedAndSaid) {
  const struct {
    const char* spec;
    const char* said;
  } wrong[] = {
      {"private:0", "size 0: multiples of 2M are allowed"},
      {"private:", "size 0: multiples"},
      {"private:3M", "size 3145728: multiples"},
      {"coherent:0@6G", "size 0: multiples"},
      {"coherent:32M", "address 0x0000000000000000: multiples of 2M are allowed"},
      {"coherent:32M@0", "address 0x0000000000000000: multiples"},
      {"coherent:32M@0x180001000", "address 0x0000000180001000: multiples"},
      {"coherent:2M@0xffffffffffe00000", "2097152 bytes at 0xffffffffffe00000: addresses up to"},
      {"coherent:8E@0x200000", "9223372036854775808 bytes at 0x0000000000200000: addresses up to"},
      {"coherent:2M@32M", "2097152 bytes at 0x0000000002000000: none that the kernel has as RAM"},
      {"private:2M@6G", "\"@6G\" in a device: private:size and"},
      {"private:2Megabytes", "\"egabytes\" in a device: private:size and"},
      {"private", "\"private\" in a device: private:size and"},
      {"shared:2M", "kind \"shared\": private and coherent are allowed"},
  };
  const int devices = Device::count();
  for (const auto& one : wrong) {
    const size_t before = logged(std::string("godwit_soft: ") + one.said);
    EXPECT_EQ(write_file(kAdd, one.spec), -EINVAL) << one.spec;
    EXPECT_EQ(logged(std::string("godwit_soft: ") + one.said), before + 1) << one.spec;
  }
  EXPECT_EQ(Device::count(), devices);
}

// Where there is neither RAM nor a device in the VM.
TEST(SoftDevices, NoAddressIsTakenTwice) {
  SoftDevice soft("coherent:4M@64G");
  for (const char* spec : {"coherent:4M@64G", "coherent:2M@0x1000200000", "coherent:4M@0xfffe00000"}) {
    EXPECT_EQ(write_file(kAdd, spec), -EBUSY) << spec;
  }
  soft.remove();
  SoftDevice again("coherent:4M@64G");
}

TEST(Devices, TwoOnOneProcessHandPagesToEachOther) {
  SoftDevice first("private:16M"), second("private:16M");
  Device a(first.index()), b(second.index());
  Memory memory(4 * kHuge);
  fill(memory.data(), memory.size(), 1);
  EXPECT_EQ(a.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(b.residency(memory.data(), memory.size()).in_peer, memory.size() / kPage);
  EXPECT_EQ(b.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(b.stat(GODWIT_STAT_PEER_FETCHES), memory.size() / kPage);
  EXPECT_EQ(a.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_EQ(b.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_EQ(a.info().vram_free, a.info().vram_total);
  EXPECT_BYTES(memory.data(), memory.size(), 1u);
}

TEST(Devices, OneCallBringsPagesOfBothHome) {
  SoftDevice first("private:16M"), second("private:16M");
  Device a(first.index()), b(second.index());
  Memory memory(kHuge);
  fill(memory.data(), memory.size(), 2);
  for (size_t page = 0; page < kHuge / kPage; ++page) {
    (page % 3 ? a : b).to_vram(memory.page(page), kPage);
  }
  EXPECT_EQ(a.to_ram(memory.data(), memory.size()).moved, kHuge / kPage);
  EXPECT_EQ(b.residency(memory.data(), memory.size()).in_system, kHuge / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 2u);
}

TEST(Devices, EvictRangeTakesOnlyTheDevicesOwnPages) {
  SoftDevice first("private:16M"), second("private:16M");
  Device a(first.index()), b(second.index());
  Memory memory(2 * kHuge);
  fill(memory.data(), memory.size(), 3);
  a.to_vram(memory.data(), kHuge);
  b.to_vram(memory.data() + kHuge, kHuge);
  EXPECT_EQ(a.evict(GODWIT_EVICT_RANGE, memory.data(), memory.size()).evicted, kHuge / kPage);
  EXPECT_EQ(b.in_vram(memory.data(), memory.size()), kHuge / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

TEST(Devices, RemovalBringsEveryPageHome) {
  for (const auto kind : {Memory::kAnonymous, Memory::kHugePages}) {
    SoftDevice soft("private:16M");
    Device gpu(soft.index());
    Memory memory(kSmall, kind);
    fill(memory.data(), memory.size(), 4);
    EXPECT_EQ(gpu.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    soft.remove();
    EXPECT_BYTES(memory.data(), memory.size(), 4u);
    drm_godwit_query query = {};
    EXPECT_EQ(gpu.call(DRM_IOCTL_GODWIT_QUERY, &query), -ENODEV);
  }
}

TEST(Devices, RemovalWhileProcessesMigrate) {
  for (int round = 0; round < 3; ++round) {
    SoftDevice soft("private:16M");
    const Migrators migrators(soft.index(), {Memory::kAnonymous, Memory::kHugePages, Memory::kAnonymous});
    soft.remove();
  }
}

TEST(Devices, APageThatCannotBeCopiedAtRemovalRaisesSigbusAndNoOtherDoes) {
  SoftDevice soft("private:16M");
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 5);
  {
    Device gpu(soft.index());
    gpu.to_vram(memory.data(), memory.size());
  }
  // The batch fails, and then the first of its pages alone.
  ASSERT_EQ(write_file(kFailCopies, "2"), 0);
  soft.remove();
  ASSERT_EQ(read_file(kFailCopies), "0\n");
  EXPECT_EQ(lost_pages(memory, 5), 1u);
}

TEST(Devices, AHugePageThatCannotBeCopiedAtRemovalRaisesSigbusEverywhere) {
  SoftDevice soft("private:16M");
  const Memory memory(kHuge, Memory::kHugePages), other(kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 5);
  fill(other.data(), other.size(), 6);
  {
    const Device gpu(soft.index());
    ASSERT_EQ(gpu.to_vram(memory.data(), memory.size()).moved_huge, kHuge / kPage);
  }
  const uint64_t poisoned = poisoned_pages();
  const Settings fail({{kFailCopies, "2"}});
  soft.remove();
  EXPECT_EQ(read_file(kFailCopies), "0\n");
  EXPECT_EQ(lost_pages(memory, 5), kHuge / kPage);
  EXPECT_EQ(poisoned_pages() - poisoned, kHuge / kPage);
  EXPECT_BYTES(other.data(), other.size(), 6u);
}

// What another device asks for meanwhile is unmapped for a moment, again and again, and still somebody's.
TEST(Devices, APageThatIsLostWhileAnotherDeviceWantsItRaisesSigbus) {
  SoftDevice other("private:16M");
  const Device gpu(other.index());
  for (const auto kind : {Memory::kAnonymous, Memory::kHugePages}) {
    for (unsigned round = 0; round < rounds(40) / 4 + 4; ++round) {
      SoftDevice soft("private:16M");
      const Memory memory(kHuge, kind);
      fill(memory.data(), memory.size(), 5);
      ASSERT_EQ(Device(soft.index()).to_vram(memory.data(), memory.size()).moved, kHuge / kPage);
      const uint64_t poisoned = poisoned_pages(), entry = entry_of(memory.data());
      {
        const Settings fail({{kFailCopies, "1000000"}});
        const Meanwhile wanting(1, [&] {
          // Not before they leave the first one.
          if (entry_of(memory.data()) == entry) return uint64_t{1};
          drm_godwit_migrate args = {};
          args.addr = address(memory.data());
          args.length = memory.size();
          args.to = GODWIT_PLACE_VRAM;
          // What is poisoned is none of a device's business, and what changes all the time is busy.
          const int error = gpu.call(DRM_IOCTL_GODWIT_MIGRATE, &args);
          EXPECT_TRUE(error == 0 || error == -EFAULT || error == -EBUSY) << error;
          return uint64_t{1};
        });
        soft.remove();
      }
      EXPECT_EQ(lost_pages(memory, 5), kHuge / kPage) << "kind " << kind << ", round " << round;
      // Twice where it was just wanted.
      EXPECT_GE(poisoned_pages() - poisoned, kHuge / kPage) << "kind " << kind << ", round " << round;
    }
  }
}

// The first pages are lost when they are unmapped, and those behind are still being copied: what the first should have come to
// is free then, and may be anybody's.
TEST(Devices, APageThatIsUnmappedWhileItIsLostIsNobodysToPoison) {
  constexpr size_t kPages = 64, kLost = 4;
  SoftDevice soft("private:16M");
  const Memory memory(kPages * kPage);
  fill(memory.data(), memory.size(), 5);
  {
    const Device gpu(soft.index());
    ASSERT_EQ(gpu.to_vram(memory.data(), memory.size()).moved, kPages);
  }
  const uint64_t poisoned = poisoned_pages(), entry = entry_of(memory.data());
  // All of them at once, and then the first ones alone.
  const Settings settings({{kFailCopies, std::to_string(1 + kLost)}, {kSlowCopies, "10000"}});
  std::atomic<bool> over{false};
  std::thread removal([&] {
    soft.remove();
    over = true;
  });
  while (!over && entry_of(memory.data()) == entry) {
  }
  EXPECT_FALSE(over);
  EXPECT_EQ(madvise(memory.data(), (kLost - 1) * kPage, MADV_DONTNEED), 0);
  removal.join();
  EXPECT_EQ(poisoned_pages() - poisoned, 1u);
  EXPECT_TRUE(all_zero(memory.data(), (kLost - 1) * kPage));
  EXPECT_EQ(signal_of([&] { *reinterpret_cast<volatile uint8_t*>(memory.page(kLost - 1)); }), SIGBUS);
}

TEST(Devices, CpuFaultOnAPageThatCannotBeCopiedIsSigbusAndTheByteIsNotLost) {
  SoftDevice soft("private:16M");
  Device gpu(soft.index());
  Memory memory(kPage);
  fill(memory.data(), memory.size(), 6);
  gpu.to_vram(memory.data(), memory.size());
  ASSERT_EQ(write_file(kFailCopies, "2"), 0);
  EXPECT_EQ(signal_of([&] { *reinterpret_cast<volatile uint8_t*>(memory.data()); }), SIGBUS);
  EXPECT_EQ(gpu.stat(GODWIT_STAT_COPY_ERRORS, true), 1u);
  EXPECT_BYTES(memory.data(), memory.size(), 6u) << "the device works again";
}

TEST(Devices, ClientsEvictEachOthersPagesAndLoseNoByte) {
  SoftDevice soft("private:8M");
  in_children(3, [&](uint64_t seed) {
    Device gpu(soft.index());
    Memory memory(3 * kHuge, seed == 1 ? Memory::kHugePages : Memory::kAnonymous);
    for (uint64_t round = 0; round < 8; ++round) {
      fill(memory.data(), memory.size(), seed * 100 + round);
      gpu.to_vram(memory.data(), memory.size());
      ASSERT_EQ(differs(memory.data(), memory.size(), seed * 100 + round), -1);
    }
  });
}

TEST(Devices, VramOfAnotherProcessIsNeverSeen) {
  SoftDevice soft("private:4M");
  const size_t bytes = size_t{4} << 20;
  EXPECT_TRUE(exited_well(in_child([&] {
    Device gpu(soft.index());
    Memory secret(bytes);
    memset(secret.data(), 0xa5, bytes);
    EXPECT_EQ(gpu.to_vram(secret.data(), bytes).moved, bytes / kPage);
  })));
  Device gpu(soft.index());
  for (const auto kind : {Memory::kAnonymous, Memory::kHugePages}) {
    Memory memory(bytes, kind);
    EXPECT_EQ(gpu.to_vram(memory.data(), bytes).moved, bytes / kPage);
    EXPECT_TRUE(all_zero(memory.data(), bytes));
  }
}

TEST(Devices, EvictionOfAnotherClientNeedsAdministration) {
  SoftDevice soft("private:16M");
  Device gpu(soft.index());
  drm_godwit_attach attach = {};
  attach.client_version = GODWIT_UAPI_VERSION;
  ASSERT_EQ(gpu.call(DRM_IOCTL_GODWIT_ATTACH, &attach), 0);
  Memory memory(size_t{1} << 20);
  fill(memory.data(), memory.size(), 7);
  gpu.to_vram(memory.data(), memory.size());
  EXPECT_TRUE(exited_well(in_child([&] {
    Device other(soft.index());
    EXPECT_EQ(setuid(65534), 0);
    drm_godwit_evict evict = {};
    evict.what = GODWIT_EVICT_CLIENT;
    evict.client = attach.client_id;
    EXPECT_EQ(other.call(DRM_IOCTL_GODWIT_EVICT, &evict), -EACCES);
    evict.what = GODWIT_EVICT_DEVICE;
    evict.client = 0;
    EXPECT_EQ(other.call(DRM_IOCTL_GODWIT_EVICT, &evict), -EACCES);
  })));
  EXPECT_EQ(gpu.in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_TRUE(exited_well(in_child([&] {
    Device other(soft.index());
    EXPECT_EQ(other.evict(GODWIT_EVICT_CLIENT, nullptr, 0, attach.client_id).evicted,
              memory.size() / kPage);
  })));
  EXPECT_EQ(gpu.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_BYTES(memory.data(), memory.size(), 7u);
}

TEST(Devices, FdinfoShowsTheVramOfTheClient) {
  SoftDevice soft("private:16M");
  Device gpu(soft.index());
  Memory memory(kHuge);
  fill(memory.data(), memory.size(), 8);
  gpu.to_vram(memory.data(), memory.size());
  const std::string info = read_file("/proc/self/fdinfo/" + std::to_string(gpu.fd()));
  EXPECT_NE(info.find("drm-driver:\tgodwit"), std::string::npos) << info;
  EXPECT_NE(info.find("drm-total-vram0:\t2 MiB"), std::string::npos) << info;
}

// The benchmark's limit. What is free is used for it, and is free again afterwards; what is not stays as it is.
TEST(Devices, RawCopiesAreMeasuredForEverySizeThatFits) {
  SoftDevice soft("private:8M");
  Device gpu(soft.index());
  Memory memory(kHuge);
  fill(memory.data(), memory.size(), 7);
  const std::string path = "/sys/kernel/debug/dri/" + std::string(gpu.info().name) + "/godwit_raw_copy";
  for (const bool all_free : {true, false}) {
    if (!all_free) {
      ASSERT_EQ(gpu.to_vram(memory.data(), kHuge).moved, kHuge / kPage);
    }
    const uint64_t free = gpu.info().vram_free;
    std::istringstream lines(read_file(path));
    std::string header;
    std::getline(lines, header);
    std::set<std::pair<size_t, size_t>> measured;
    size_t bytes = 0, each = 0;
    uint64_t alloc = 0, to = 0, from = 0, first_to = 0, first_from = 0;
    while (lines >> bytes >> each >> alloc >> to >> from >> first_to >> first_from) {
      measured.insert({bytes, each});
      for (const uint64_t ns : {alloc, to, from}) EXPECT_GT(ns, 0u) << bytes << " by " << each;
      // The best of several, of which it is one.
      EXPECT_GE(first_to, to) << bytes << " by " << each;
      EXPECT_GE(first_from, from) << bytes << " by " << each;
    }
    EXPECT_TRUE(lines.eof());
    std::set<std::pair<size_t, size_t>> expected;
    for (size_t size = kHuge; size <= free; size *= 2) expected.insert({{size, 1}, {size, kHuge / kPage}});
    EXPECT_EQ(measured, expected);
    EXPECT_EQ(gpu.info().vram_free, free);
  }
  EXPECT_EQ(gpu.in_vram(memory.data(), kHuge), kHuge / kPage);
  EXPECT_BYTES(memory.data(), kHuge, 7u);
}

}  // namespace
}  // namespace godwit::guest
