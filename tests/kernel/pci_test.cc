// SPDX-License-Identifier: MIT
// Cards on a PCI bus, in all three kinds. The host's file behind a card's BAR, and that behind the disk, are witnesses.
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "tests/kernel/card.h"
#include "tests/kernel/guest.h"
#include "tests/kernel/objects.h"
#include "tests/kernel/proc.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

void expect_full(const Device& device) {
  EXPECT_EQ(wait_for_free(device, device.info().vram_total), device.info().vram_total) << "VRAM leaked";
}

TEST(PciPrivate, TheBytesAreInTheBarAndComeHome) {
  Card card(0, "private");
  ASSERT_TRUE(card.bound());
  EXPECT_EQ(card.device().info().kind, GODWIT_KIND_PRIVATE);
  {
    Memory memory(4 * kMiB);
    fill(memory.data(), memory.size(), 1);
    std::vector<uint8_t> page(memory.page(5), memory.page(6));
    EXPECT_FALSE(card.holds(page.data()));
    ASSERT_EQ(card.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_TRUE(card.holds(page.data()));
    EXPECT_BYTES(memory.data(), memory.size(), 1u);
    EXPECT_EQ(card.device().in_vram(memory.data(), memory.size()), 0u);
  }
  expect_full(card.device());
}

TEST(PciPrivate, HugePagesToo) {
  Card card(0, "private");
  ASSERT_TRUE(card.bound());
  Memory memory(3 * kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 2);
  EXPECT_EQ(card.device().to_vram(memory.data(), memory.size()).moved_huge, memory.size() / kPage);
  EXPECT_BYTES(memory.data(), memory.size(), 2u);
}

TEST(PciPrivate, UnbindBringsEverythingHome) {
  Card card(0, "private");
  ASSERT_TRUE(card.bound());
  Memory memory(8 * kMiB), huge(2 * kHuge, Memory::kHugePages);
  fill(memory.data(), memory.size(), 3);
  fill(huge.data(), huge.size(), 4);
  card.device().to_vram(memory.data(), memory.size());
  card.device().to_vram(huge.data(), huge.size());
  const Object object(card.device(), kMiB);
  ASSERT_TRUE(object);
  fill(object.data(), kMiB, 5);
  ASSERT_EQ(card.unbind(), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
  EXPECT_BYTES(huge.data(), huge.size(), 4u);
  EXPECT_BYTES(object.data(), kMiB, 5u);
  drm_godwit_residency args = {};
  args.addr = reinterpret_cast<uintptr_t>(memory.data());
  args.length = kPage;
  EXPECT_EQ(card.device().call(DRM_IOCTL_GODWIT_RESIDENCY, &args), -ENODEV);
}

TEST(PciPrivate, UnbindBringsPinnedPagesHomeToo) {
  Card card(0, "private");
  ASSERT_TRUE(card.bound());
  Memory memory(4 * kMiB);
  fill(memory.data(), memory.size(), 6);
  ASSERT_EQ(card.device().pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM), 0);
  ASSERT_EQ(card.unbind(), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 6u);
}

TEST(PciPrivate, PagesGoFromOneCardToTheOther) {
  Card first(0, "private"), second(1, "private");
  ASSERT_TRUE(first.bound() && second.bound());
  Memory memory(4 * kMiB);
  fill(memory.data(), memory.size(), 7);
  std::vector<uint8_t> page(memory.page(9), memory.page(10));
  ASSERT_EQ(first.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  ASSERT_EQ(second.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  EXPECT_EQ(second.device().in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_TRUE(second.holds(page.data()));
  EXPECT_BYTES(memory.data(), memory.size(), 7u);
}

TEST(PciCoherent, TheCpuUsesItInPlace) {
  Card card(0, "coherent");
  ASSERT_TRUE(card.bound());
  EXPECT_EQ(card.device().info().kind, GODWIT_KIND_COHERENT);
  EXPECT_EQ(card.device().info().huge_page_size, 0u);
  {
    Memory memory(4 * kMiB);
    fill(memory.data(), memory.size(), 8);
    ASSERT_EQ(card.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 8u);
    fill(memory.data(), memory.size(), 9);
    EXPECT_EQ(card.device().in_vram(memory.data(), memory.size()), memory.size() / kPage);
    EXPECT_EQ(card.device().stat(GODWIT_STAT_CPU_FAULTS), 0u);
    Memory same(4 * kMiB);
    fill(same.data(), same.size(), 9);
    EXPECT_TRUE(card.holds(same.page(700)));
    EXPECT_EQ(card.device().to_ram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 9u);
  }
  expect_full(card.device());
}

TEST(PciCoherent, TheDiskReadsAndWritesItInPlace) {
  Card card(0, "coherent");
  Disk disk;
  ASSERT_TRUE(card.bound() && disk.fd() >= 0);
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 10);
  ASSERT_EQ(card.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  disk.write_pattern(0, kMiB, 11);
  ASSERT_EQ(pread(disk.fd(), memory.data(), kMiB, 0), static_cast<ssize_t>(kMiB));
  EXPECT_EQ(card.device().in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_TRUE(card.holds(memory.page(77)));
  EXPECT_BYTES(memory.data(), memory.size(), 11u);
  fill(memory.data(), memory.size(), 12);
  ASSERT_EQ(pwrite(disk.fd(), memory.data(), kMiB, 2 * kMiB), static_cast<ssize_t>(kMiB));
  EXPECT_EQ(card.device().in_vram(memory.data(), memory.size()), memory.size() / kPage);
  EXPECT_BYTES(disk.seen_by_host(2 * kMiB, kMiB).data(), kMiB, 12u);
}

TEST(PciCoherent, UnbindBringsEverythingHome) {
  Card card(0, "coherent");
  ASSERT_TRUE(card.bound());
  Memory memory(8 * kMiB);
  fill(memory.data(), memory.size(), 13);
  ASSERT_EQ(card.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  ASSERT_EQ(card.unbind(), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 13u);
  fill(memory.data(), memory.size(), 14);
  EXPECT_BYTES(memory.data(), memory.size(), 14u);
}

TEST(PciCoherent, UnbindWaitsForIoAndThenBringsItHome) {
  Card card(0, "coherent");
  ASSERT_TRUE(card.bound());
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 18);
  ASSERT_EQ(card.device().to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const iovec piece = {memory.page(7), kPage};
  ASSERT_EQ(vmsplice(ends[1], &piece, 1, 0), static_cast<ssize_t>(kPage));
  const std::string held = "pages of VRAM are held by somebody";
  const size_t before = logged(held);
  std::atomic<int> status{1};
  std::thread remover([&] { status = card.unbind(); });
  // Everything but that page comes home, and then nothing more happens for as long as it is held: it has been tried
  // for three seconds and more when the kernel's log says so.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (logged(held) == before && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(status, 1) << "unbound although a page of the BAR is in a pipe";
  std::vector<uint8_t> page(kPage);
  ASSERT_EQ(read(ends[0], page.data(), kPage), static_cast<ssize_t>(kPage));
  remover.join();
  EXPECT_EQ(status, 0);
  EXPECT_EQ(memcmp(page.data(), memory.page(7), kPage), 0);
  EXPECT_BYTES(memory.data(), memory.size(), 18u);
  close(ends[0]);
  close(ends[1]);
}

TEST(PciCoherent, ForkedAndWrittenPagesKeepTheirBytes) {
  Card card(0, "coherent");
  ASSERT_TRUE(card.bound());
  Memory memory(kMiB);
  fill(memory.data(), memory.size(), 15);
  card.device().to_vram(memory.data(), memory.size());
  EXPECT_TRUE(exited_well(in_child([&] {
    EXPECT_BYTES(memory.data(), memory.size(), 15u);
    fill(memory.data(), memory.size(), 16);
    EXPECT_BYTES(memory.data(), memory.size(), 16u);
  })));
  EXPECT_BYTES(memory.data(), memory.size(), 15u);
  fill(memory.data(), memory.size(), 17);
  EXPECT_BYTES(memory.data(), memory.size(), 17u);
}

TEST(PciExplicit, OnlyObjectsGoThere) {
  Card card(0, "explicit");
  ASSERT_TRUE(card.bound());
  const auto info = card.device().info();
  EXPECT_EQ(info.kind, GODWIT_KIND_EXPLICIT);
  EXPECT_EQ(info.capabilities & (GODWIT_CAP_MIGRATE | GODWIT_CAP_ADVISE | GODWIT_CAP_PIN), 0u);
  EXPECT_NE(info.capabilities & GODWIT_CAP_GEM, 0u);
  Memory memory(kMiB);
  drm_godwit_migrate migrate = {};
  migrate.addr = reinterpret_cast<uintptr_t>(memory.data());
  migrate.length = memory.size();
  migrate.to = GODWIT_PLACE_VRAM;
  EXPECT_EQ(card.device().call(DRM_IOCTL_GODWIT_MIGRATE, &migrate), -EOPNOTSUPP);
  EXPECT_EQ(card.device().advise(memory.data(), memory.size(), GODWIT_ADVICE_PINNED, 1), -EOPNOTSUPP);
  EXPECT_EQ(card.device().pin(memory.data(), memory.size(), GODWIT_PLACE_VRAM), -EOPNOTSUPP);
}

TEST(PciExplicit, TheDiskReadsAndWritesTheBar) {
  Card card(0, "explicit");
  Disk disk;
  ASSERT_TRUE(card.bound() && disk.fd() >= 0);
  {
    const Object object(card.device(), kMiB);
    ASSERT_TRUE(object);
    EXPECT_TRUE(all_zero(object.data(), kMiB));
    disk.write_pattern(4 * kMiB, kMiB, 20);
    ASSERT_EQ(pread(disk.fd(), object.data(), kMiB, 4 * kMiB), static_cast<ssize_t>(kMiB)) << strerror(errno);
    EXPECT_EQ(object.place(), GODWIT_PLACE_VRAM);
    EXPECT_BYTES(object.data(), kMiB, 20u);
    EXPECT_TRUE(card.holds(object.page(33)));
    fill(object.data(), kMiB, 21);
    ASSERT_EQ(pwrite(disk.fd(), object.data(), kMiB, 6 * kMiB), static_cast<ssize_t>(kMiB)) << strerror(errno);
    EXPECT_BYTES(disk.seen_by_host(6 * kMiB, kMiB).data(), kMiB, 21u);
    // In RAM with the same pointer, where it works as well, and back.
    ASSERT_EQ(object.move(GODWIT_PLACE_SYSTEM), 0);
    EXPECT_BYTES(object.data(), kMiB, 21u);
    ASSERT_EQ(pread(disk.fd(), object.data(), kMiB, 4 * kMiB), static_cast<ssize_t>(kMiB)) << strerror(errno);
    EXPECT_BYTES(object.data(), kMiB, 20u);
    ASSERT_EQ(object.move(GODWIT_PLACE_VRAM), 0);
    EXPECT_BYTES(object.data(), kMiB, 20u);
  }
  expect_full(card.device());
}

TEST(PciExplicit, AcrossRootPortsTheDiskIsRefusedAndRamIsTheWayOut) {
  Card card(1, "explicit");
  Disk disk;
  ASSERT_TRUE(card.bound() && disk.fd() >= 0);
  const Object object(card.device(), kMiB);
  ASSERT_TRUE(object);
  fill(object.data(), kMiB, 22);
  disk.write_pattern(8 * kMiB, kMiB, 23);
  EXPECT_EQ(pread(disk.fd(), object.data(), kMiB, 8 * kMiB), -1);
  EXPECT_TRUE(errno == EREMOTEIO || errno == EINVAL || errno == EIO) << strerror(errno);
  EXPECT_BYTES(object.data(), kMiB, 22u);
  EXPECT_EQ(pwrite(disk.fd(), object.data(), kMiB, 8 * kMiB), -1);
  EXPECT_BYTES(disk.seen_by_host(8 * kMiB, kMiB).data(), kMiB, 23u);
  ASSERT_EQ(object.move(GODWIT_PLACE_SYSTEM), 0);
  ASSERT_EQ(pread(disk.fd(), object.data(), kMiB, 8 * kMiB), static_cast<ssize_t>(kMiB)) << strerror(errno);
  EXPECT_BYTES(object.data(), kMiB, 23u);
  ASSERT_EQ(object.move(GODWIT_PLACE_VRAM), 0);
  EXPECT_BYTES(object.data(), kMiB, 23u);
}

TEST(PciExplicit, NothingIsLostWhileTheDiskReadsAndItMoves) {
  Card card(0, "explicit");
  Disk disk;
  ASSERT_TRUE(card.bound() && disk.fd() >= 0);
  const Object object(card.device(), kMiB);
  ASSERT_TRUE(object);
  disk.write_pattern(10 * kMiB, kMiB, 40);
  disk.write_pattern(12 * kMiB, kMiB, 41);
  std::atomic<bool> done{false};
  std::thread reader([&] {
    for (uint64_t round = 0; round < 40; ++round) {
      const auto offset = static_cast<off_t>((10 + 2 * (round % 2)) * kMiB);
      EXPECT_EQ(pread(disk.fd(), object.data(), kMiB, offset), static_cast<ssize_t>(kMiB)) << strerror(errno);
      EXPECT_BYTES(object.data(), kMiB, 40 + round % 2);
    }
    done = true;
  });
  unsigned moved = 0;
  for (unsigned turn = 0; !done && turn < 100; ++turn) {
    const int status = object.move(turn % 2 == 0 ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_VRAM);
    EXPECT_TRUE(status == 0 || status == -EBUSY) << status;
    moved += status == 0;
  }
  reader.join();
  EXPECT_GT(moved, 2u);
}

TEST(PciExplicit, EvictedObjectsLeaveTheBarToOthers) {
  Card card(0, "explicit");
  ASSERT_TRUE(card.bound());
  const size_t half = card.device().info().vram_total / 2;
  std::vector<std::unique_ptr<Object>> objects;
  for (uint64_t i = 0; i < 3; ++i) {
    objects.push_back(std::make_unique<Object>(card.device(), half));
    ASSERT_TRUE(*objects[i]);
    fill(objects[i]->data(), half, 30 + i);
  }
  EXPECT_EQ(objects[0]->place(), GODWIT_PLACE_SYSTEM);
  for (uint64_t i = 0; i < 3; ++i) EXPECT_BYTES(objects[i]->data(), half, 30 + i);
}

TEST(PciExplicit, UnbindLeavesTheBytesToTheProgram) {
  Card card(0, "explicit");
  ASSERT_TRUE(card.bound());
  const Object object(card.device(), 4 * kMiB);
  ASSERT_TRUE(object);
  fill(object.data(), 4 * kMiB, 24);
  ASSERT_EQ(card.unbind(), 0);
  EXPECT_BYTES(object.data(), 4 * kMiB, 24u);
  fill(object.data(), 4 * kMiB, 25);
  EXPECT_BYTES(object.data(), 4 * kMiB, 25u);
}

TEST(Pci, OneCardHasAllKindsOneAfterTheOther) {
  for (const char* kind : {"private", "coherent", "explicit", "coherent", "private"}) {
    Card card(0, kind);
    ASSERT_TRUE(card.bound()) << kind;
    EXPECT_EQ(card.device().info().vram_free, card.device().info().vram_total);
  }
}

TEST(Pci, AnUnknownKindIsRefused) {
  const std::string path = "/sys/module/godwit_pci/parameters/kind";
  const std::string before = read_file(path);
  EXPECT_EQ(write_file(path, "shared"), -EINVAL);
  EXPECT_EQ(read_file(path), before);
}

TEST(Pci, NewIdTakesAStranger) {
  const auto strangers = pci_devices("0x1234", "0x1111");
  ASSERT_EQ(strangers.size(), 1u);
  EXPECT_EQ(device_of(strangers[0]), nullptr);
  ASSERT_EQ(write_file("/sys/module/godwit_pci/parameters/kind", "private"), 0);
  ASSERT_EQ(write_file(std::string(kDriver) + "new_id", "1234 1111"), 0);
  auto device = device_of(strangers[0]);
  ASSERT_NE(device, nullptr);
  {
    Memory memory(4 * kMiB);
    fill(memory.data(), memory.size(), 26);
    EXPECT_EQ(device->to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
    EXPECT_BYTES(memory.data(), memory.size(), 26u);
  }
  device.reset();
  EXPECT_EQ(write_file(std::string(kDriver) + "unbind", strangers[0]), 0);
  EXPECT_EQ(write_file(std::string(kDriver) + "remove_id", "1234 1111"), 0);
}

TEST(Pci, ADeviceWithoutAMemoryBarIsLeftAlone) {
  const auto edus = pci_devices("0x1234", "0x11e8");  // its BAR has 1 MiB
  ASSERT_EQ(edus.size(), 8u);
  ASSERT_EQ(write_file(std::string(kDriver) + "new_id", "1234 11e8"), 0);
  EXPECT_EQ(device_of(edus[0]), nullptr);
  EXPECT_EQ(write_file(std::string(kDriver) + "bind", edus[0]), -ENODEV);
  EXPECT_EQ(write_file(std::string(kDriver) + "remove_id", "1234 11e8"), 0);
}

}  // namespace
}  // namespace godwit::guest
