// SPDX-License-Identifier: MIT
// A peer's DMA to memory of which processes share something: a range, its dma-buf, or the pages
// since a fork.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernel/edu_fixture.h"

namespace godwit::guest {
namespace {

TEST_F(Peer, AChildKeepsWhatItHadAtTheFork) {
  const Device gpu;
  for (const bool vram : {false, true}) {
    const Loan loan(gpu, 27, {.in_vram = vram});
    // Mapped, for reading and writing.
    loan.read(0);
    const Line line;
    fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      if (!Line::hear(line.there())) _exit(2);
      _exit(differs(loan.memory.data(), loan.memory.size(), 27) == -1 ? 0 : 1);
    }
    const Piece written = pattern(28);
    loan.write(0, written);
    loan.write(7 * kPage, written);
    ASSERT_TRUE(Line::say(line.here()));
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(exited_well(status))
        << (vram ? "VRAM: " : "RAM: ") << "the child saw what a peer wrote after the fork";
    EXPECT_TRUE(loan.has(0, written));
    EXPECT_TRUE(loan.has(7 * kPage, written));
  }
}

TEST_F(Peer, ATransferUnderWayAtTheForkIsTheParents) {
  const Device gpu;
  for (const bool vram : {false, true}) {
    SCOPED_TRACE(vram ? "VRAM" : "RAM");
    const Loan loan(gpu, 29, {.in_vram = vram});
    const Piece before(loan.memory.page(5), loan.memory.page(5) + kPiece), written = pattern(30);
    if (vram) gpu.to_vram(loan.memory.data(), loan.memory.size());
    Transfer transfer(loan.edu, 5 * kPage, written);
    const Line line;
    fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
      if (!Line::hear(line.there())) _exit(2);
      // Private VRAM is shared, and the fork waited for the end; of a page in RAM it has a copy as
      // it was in between.
      const Piece& wanted = vram ? written : before;
      _exit(memcmp(loan.memory.page(5) + 8, wanted.data() + 8, kPiece - 8) == 0 ? 0 : 1);
    }
    EXPECT_EQ(transfer.wait(), 0);
    EXPECT_TRUE(loan.has(5 * kPage, written));
    ASSERT_TRUE(Line::say(line.here()));
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(exited_well(status)) << "the child has other bytes";
    EXPECT_EQ(loan.edu.counts().waited, 1u);
  }
}

TEST_F(Peer, AForkWaitsForATransferToPrivateVramForASecond) {
  const Device gpu;
  const Loan loan(gpu, 31, {.in_vram = true});
  const Piece written = pattern(32);
  Transfer transfer(loan.edu, 5 * kPage, written, EDU_UNTIL_ASKED);
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  EXPECT_EQ(gpu.stat(GODWIT_STAT_PEER_TIMEOUTS), 1u) << "the fork did not wait";
  EXPECT_EQ(transfer.finish(), 0);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(exited_well(status));
  EXPECT_TRUE(loan.has(5 * kPage, written));
}

// Its pages are offered to nobody any more, and the device writes them all the same.
TEST_F(Peer, AForkWaitsForATransferThatWasToldToLetGoBefore) {
  const Device gpu;
  // By the helpers, which have no fence: with one, nobody sees that the driver was told.
  const Loan loan(gpu, 33, {.in_vram = true, .mode = EDU_HELPER});
  const Piece written = pattern(34);
  Transfer transfer(loan.edu, 5 * kPage, written, EDU_UNTIL_ASKED);
  ASSERT_EQ(madvise(loan.memory.page(9), kPage, MADV_DONTNEED), 0);
  wait_for_revokes(gpu, 1);
  fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(0);
  EXPECT_GE(gpu.stat(GODWIT_STAT_PEER_TIMEOUTS), 1u) << "the fork did not wait";
  EXPECT_EQ(transfer.finish(), 0);
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(exited_well(status));
  EXPECT_TRUE(loan.has(5 * kPage, written));
}

// To find the notifiers of 64 GiB takes the call a while.
TEST_F(Peer, AnExportThatADetachOvertakesIsOfNoUse) {
  const Edu edu;
  for (int round = 0; round < 5; ++round) {
    const Device gpu;
    drm_godwit_export args = {};
    args.length = uint64_t{64} << 30;
    int error = -1;
    std::thread exporter([&] { error = gpu.call(DRM_IOCTL_GODWIT_EXPORT, &args); });
    EXPECT_TRUE(soon([&] { return gpu.stat(GODWIT_STAT_MIRRORS) == 1; }));
    drm_godwit_attach detach = {};
    detach.client_version = GODWIT_UAPI_VERSION;
    detach.flags = GODWIT_ATTACH_DETACH;
    EXPECT_EQ(gpu.call(DRM_IOCTL_GODWIT_ATTACH, &detach), 0);
    exporter.join();
    ASSERT_EQ(error, 0);
    EXPECT_EQ(edu.import(args.fd), -ENODEV);
    close(args.fd);
  }
}

// Three exports of one memory, which three engines have mapped, among many that nobody imports.
TEST_F(Peer, AMoveTellsThoseWhosePagesMoveAndNobodyElse) {
  const Device gpu;
  const Memory memory(64 * kPage);
  fill(memory.data(), memory.size(), 31);
  std::vector<std::unique_ptr<Export>> others;
  for (size_t page = 0; page < 64; ++page) {
    others.push_back(std::make_unique<Export>(gpu, memory.page(page), kPage));
    // No more of one page than a move waits for (GODWIT_MOVE_EXPORTS).
    if (page % 8 == 7) others.push_back(std::make_unique<Export>(gpu, memory.data(), (page + 1) * kPage));
  }
  const Export front(gpu, memory.page(0), 48 * kPage), inner(gpu, memory.page(8), 8 * kPage),
      back(gpu, memory.page(32), 32 * kPage);
  const Edu first(0), second(1), third(Edu::count() - 1);
  ASSERT_EQ(first.import(front.fd()), 0);
  ASSERT_EQ(second.import(inner.fd()), 0);
  ASSERT_EQ(third.import(back.fd()), 0);
  const std::array<std::pair<const Edu*, const char*>, 3> all = {
      {{&first, "front "}, {&second, "inner "}, {&third, "back "}}};
  // Those who are told when all have it mapped and `move` happens.
  const auto told = [&all](const std::function<void()>& move) {
    std::array<uint64_t, 3> before = {};
    Piece piece(kPiece);
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(all[i].first->read(0, piece.data(), piece.size()), 0);
      before[i] = all[i].first->counts().invalidations;
    }
    move();
    std::string names;
    for (size_t i = 0; i < all.size(); ++i) {
      if (all[i].first->counts().invalidations != before[i]) names += all[i].second;
    }
    return names;
  };
  const auto to_vram = [&](size_t page) { EXPECT_EQ(gpu.to_vram(memory.page(page), 2 * kPage).moved, 2u); };
  const auto touch = [&](size_t page) { *const_cast<volatile uint8_t*>(memory.page(page)); };
  const auto evict = [&] { gpu.evict(GODWIT_EVICT_CLIENT); };
  EXPECT_EQ(told([&] { to_vram(20); }), "front ");
  EXPECT_EQ(told([&] { to_vram(10); }), "front inner ");
  EXPECT_EQ(told([&] { to_vram(40); }), "front back ");
  EXPECT_EQ(told([&] { to_vram(60); }), "back ");
  EXPECT_EQ(told([&] { touch(20); }), "front ");
  EXPECT_EQ(told([&] { touch(10); }), "front inner ");
  EXPECT_EQ(told([&] { touch(60); }), "back ");
  EXPECT_EQ(told(evict), "front back ");
  EXPECT_EQ(gpu.in_vram(memory.data(), memory.size()), 0u);
  EXPECT_EQ(told(evict), "");
  EXPECT_BYTES(memory.data(), memory.size(), 31u);
}

TEST_F(Peer, TwoProcessesAndADeviceShareARangeThatMoves) {
  const Device gpu;
  const Memory own(kBytes), same(kBytes);
  fill(own.data(), own.size(), 30);
  fill(same.data(), same.size(), 30);
  Export shared(gpu, own.data(), own.size());
  const Line line;
  fflush(nullptr);
  // The child knows the range by its dma-buf only.
  const pid_t child = fork();
  if (child == 0) {
    shared.close();
    const int fd = take_descriptor(line.there());
    const Edu edu;
    bool good = edu.import(fd) == 0;
    for (uint64_t page = 0; page < 8 && good; ++page) {
      const Piece written = pattern(100 + page);
      good = edu.write(page * kPage, written.data(), kPiece) == 0;
      good = good && Line::say(line.there());
    }
    _exit(good ? 0 : 1);
  }
  send_descriptor(line.here(), shared.fd());
  std::atomic<bool> stop{false};
  std::thread storm([&] {
    while (!stop) {
      gpu.to_vram(own.data(), own.size());
      gpu.to_ram(own.data(), own.size());
    }
  });
  for (uint64_t page = 0; page < 8; ++page) {
    EXPECT_TRUE(Line::hear(line.here()));
    EXPECT_EQ(memcmp(own.page(page), pattern(100 + page).data(), kPiece), 0) << page;
  }
  stop = true;
  storm.join();
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(exited_well(status));
  for (size_t page = 8; page < kPages; ++page)
    EXPECT_EQ(memcmp(own.page(page), same.page(page), kPage), 0);
}

}  // namespace
}  // namespace godwit::guest
