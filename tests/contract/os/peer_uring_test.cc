// SPDX-License-Identifier: MIT
// io_uring's fixed buffers on memory that migrates all the time: a PeerMapping unregisters them
// before their pages go, and registers them again before the next transfer. Files are opened with
// O_DIRECT.
#include <fcntl.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "godwit/peer.h"
#include "tests/contract/os/support.h"
#include "tests/contract/ring.h"

namespace godwit::contract {
namespace {

constexpr std::size_t kBytes = kBlockBytes + 8 * kChunkBytes;
constexpr std::size_t kPages = kBytes / kPageBytes;
constexpr std::size_t kPiece = 4 * kChunkBytes;  // of one transfer
constexpr std::uint32_t kPieces = kBytes / kPiece;
using Buffer = Ring::Buffer;

class PeerUring : public OsContract {
 protected:
  void SetUp() override {
    OsContract::SetUp();
    if (IsSkipped()) return;
    if (ring_.error() != 0) GTEST_SKIP() << "lacks io_uring: " << std::strerror(-ring_.error());
    base_ = region(kBytes);
    fill(base_, kBytes, 0);
    PeerOptions options;
    options.patience = std::chrono::milliseconds(5000);
    options.on_remap = [this](std::span<std::byte> pages, std::uint64_t) {
      ++registrations_;
      return ring_.lend(pages.data(), pages.size()) == 0;
    };
    options.on_invalidate = [this](std::span<std::byte>) {
      ++invalidations_;
      return ring_.take_back() == 0;
    };
    auto mapping = engine().map_peer(base_, kBytes, std::move(options));
    ASSERT_TRUE(mapping) << mapping.error().to_string();
    mapping_ = std::move(*mapping);
  }
  void TearDown() override {
    (void)ring_.take_back();
    mapping_.reset();
    OsContract::TearDown();
  }
  static int open_for_dma(const TempFile& file) {
    const int direct = file.reopen(O_RDWR | O_DIRECT);
    return direct >= 0 ? direct : file.reopen(O_RDWR);
  }

  Ring ring_;
  std::byte* base_ = nullptr;
  std::unique_ptr<PeerMapping> mapping_;
  std::atomic<int> registrations_{0};
  std::atomic<int> invalidations_{0};
};

TEST_P(PeerUring, ARegisteredBufferIsLetGoAndMovesAsAWhole) {
  const Watchdog watchdog("a registered buffer that moves");
  const TempFile file;
  const int direct = open_for_dma(file);
  for (std::uint32_t round = 1; round <= 5; ++round) {
    ASSERT_TRUE(mapping_->begin());
    file.put(pattern_bytes(kBytes, round));
    ASSERT_EQ(ring_.read(direct, base_, kBytes, 0, Buffer::kFixed), static_cast<int>(kBytes));
    mapping_->end();
    const MoveReport report = to_device(base_, kBytes);
    EXPECT_EQ(report.stayed, 0U) << describe(report);
    expect_in_vram(base_, kBytes);
    EXPECT_EQ(check(base_, kBytes, round), "");
  }
  EXPECT_EQ(registrations_, 5);
  EXPECT_EQ(invalidations_, 5);
  ::close(direct);
}

TEST_P(PeerUring, TransfersGoOnThroughThousandsOfMoves) {
  constexpr std::uint32_t kMoves = 2000;
  const TempFile in;
  const TempFile out;
  const int source = open_for_dma(in);
  const int target = open_for_dma(out);
  in.put(pattern_bytes(kBytes, 1));
  out.put(pattern_bytes(kBytes, 2));
  std::atomic<bool> done{false};
  std::atomic<std::uint32_t> moves{0};
  std::atomic<std::uint64_t> moved{0};
  std::thread mover([&] {
    while (!done) {
      moved += to_device(base_, kBytes).moved;
      (void)to_host(base_, kBytes);
      moves += 2;
    }
  });
  std::string wrong;
  std::uint32_t transfers = 0;
  // Piece by piece: from the file into the buffer by DMA, changed by the CPU, and out to the other
  // file by DMA.
  for (std::uint32_t round = 0; wrong.empty() && (moves < kMoves || transfers < 500); ++round) {
    const std::size_t at = std::size_t{round % kPieces} * kPiece;
    auto begun = mapping_->begin();
    if (!begun) {
      wrong = begun.error().to_string();
      break;
    }
    const int got = ring_.read(source, base_ + at, kPiece, at, Buffer::kFixed);
    mapping_->end();
    if (got != static_cast<int>(kPiece)) wrong = "read: " + std::to_string(got);
    std::vector<std::byte> wanted(kPiece);
    for (std::size_t word = 0; word < kPiece / 4; ++word) {
      const std::uint32_t value = pattern(at / 4 + word, 1);
      std::memcpy(wanted.data() + word * 4, &value, 4);
    }
    if (wrong.empty()) wrong = difference({base_ + at, kPiece}, wanted);
    const auto mark = static_cast<std::byte>(round);
    for (std::size_t page = 0; page < kPiece; page += kPageBytes) {
      base_[at + page] = wanted[page] = mark;
    }
    begun = mapping_->begin();
    if (!begun) {
      wrong = begun.error().to_string();
      break;
    }
    const int put = ring_.write(target, base_ + at, kPiece, at, Buffer::kFixed);
    mapping_->end();
    if (put != static_cast<int>(kPiece)) wrong = "write: " + std::to_string(put);
    std::vector<std::byte> written(kPiece);
    if (::pread(out.fd(), written.data(), kPiece, static_cast<off_t>(at)) !=
        static_cast<ssize_t>(kPiece)) {
      wrong = "pread";
    }
    if (wrong.empty()) wrong = difference(written, wanted);
    if (!wrong.empty()) wrong = "round " + std::to_string(round) + ": " + wrong;
    transfers += 2;
  }
  done = true;
  mover.join();
  EXPECT_EQ(wrong, "");
  EXPECT_GT(moved, kPages) << "the range did not migrate";
  EXPECT_GT(invalidations_, 10);
  RecordProperty("moves", static_cast<int>(moves.load()));
  RecordProperty("transfers", static_cast<int>(transfers));
  RecordProperty("registrations", registrations_.load());
  ::close(source);
  ::close(target);
}

INSTANTIATE_TEST_SUITE_P(Engines, PeerUring, ::testing::ValuesIn(both_level_setups()), setup_name);

}  // namespace
}  // namespace godwit::contract
