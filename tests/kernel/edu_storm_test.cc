// SPDX-License-Identifier: MIT
// Several peers at once copy within a range that never rests.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/kernel/edu_fixture.h"

namespace godwit::guest {
namespace {

// With every change, or by hand.
#ifdef GODWIT_LONG
constexpr std::chrono::seconds kLength(120);
#else
constexpr std::chrono::seconds kLength(4);
#endif

// It goes on, within reason, until there was so much of it: a kernel with lockdep and KASAN takes ten times as long.
constexpr std::chrono::minutes kLongest(5);
constexpr uint64_t kMoves = 20;
constexpr uint64_t kCopies = 3;

// Pages of one engine.
constexpr size_t kPart = 6;

// An engine, and the part of the range in which it copies pieces, as a model does in RAM.
class Copier {
 public:
  Copier(int engine, const Export& shared, uint32_t mode, const Memory& memory, size_t first_page)
      : edu_(engine),
        at_(first_page * kPage),
        data_(memory.data() + at_),
        model_(data_, data_ + kPart * kPage),
        before_(model_),
        written_(kPieces) {
    EXPECT_EQ(edu_.import(shared.fd(), mode), 0);
  }

  void run(const std::atomic<bool>& stop) {
    uint64_t random = 12345 + at_;
    while (!stop && status_ == 0 && wrong_.empty()) {
      random = random * 6364136223846793005u + 1442695040888963407u;
      const uint64_t from = (random >> 33) % kPieces, to = (random >> 45) % kPieces;
      status_ = edu_.copy(at_ + from * kPiece, at_ + to * kPiece, kPiece);
      // Moves came before it for two seconds, as they may: it is another one's turn.
      if (status_ == -EAGAIN) {
        status_ = 0;
        continue;
      }
      ++copies_;
      if (status_ == 0) note(from, to);
      if (copies_ % 16 == 0) compare();
    }
  }

  // Afterwards.
  void check() {
    if (wrong_.empty()) compare();
    EXPECT_EQ(status_, 0);
    EXPECT_EQ(wrong_, "");
    EXPECT_GT(copies_, kCopies);
  }
  uint64_t copies() const { return copies_; }
  edu_counts counts() const { return edu_.counts(); }
  int await(uint64_t* begun) const { return edu_.await(begun); }

 private:
  static constexpr uint64_t kPieces = kPart * kPage / kPiece;

  void note(uint64_t from, uint64_t to) {
    memcpy(before_.data() + to * kPiece, model_.data() + to * kPiece, kPiece);
    memmove(model_.data() + to * kPiece, model_.data() + from * kPiece, kPiece);
    written_[to] = copies_;
  }

  void compare() {
    for (uint64_t piece = 0; piece < kPieces; ++piece) {
      const size_t at = piece * kPiece;
      if (memcmp(data_ + at, model_.data() + at, kPiece) == 0) continue;
      const bool old = memcmp(data_ + at, before_.data() + at, kPiece) == 0;
      wrong_ += "piece " + std::to_string(piece) + " of copy " + std::to_string(written_[piece]) +
                " of " + std::to_string(copies_) + " has " +
                (old ? "what it had before; " : "something else; ");
    }
  }

  const Edu edu_;
  const uint64_t at_;
  const uint8_t* const data_;
  // What there has to be, what there was before each piece was written last, and by which copy that
  // was.
  std::vector<uint8_t> model_, before_;
  std::vector<uint64_t> written_;
  std::atomic<uint64_t> copies_{0};
  int status_ = 0;
  std::string wrong_;
};

// Something that moves all of the range by turns: between VRAM of two devices and RAM, and by
// eviction. Three times out of four each engine has begun a transfer since the move before.
class Storm {
 public:
  Storm(const Device& first, const Device& second, const Memory& memory,
        const std::vector<std::unique_ptr<Copier>>& copiers)
      : first_(first),
        second_(second),
        memory_(memory),
        copiers_(copiers),
        begun_(copiers.size()),
        thread_([this] { run(); }) {}
  ~Storm() { stop(); }

  void stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // How often it moved something.
  uint64_t moves() const { return moves_; }
  // Afterwards: how many pages.
  uint64_t pages() const { return pages_; }

 private:
  void run() {
    for (uint64_t round = 0; !stop_; ++round) {
      for (size_t i = 0; round % 4 != 0 && i < begun_.size(); ++i) {
        if (copiers_[i]->await(&begun_[i]) != 0) return;
      }
      const uint64_t moved = move(round);
      moves_ += moved != 0;
      pages_ += moved;
    }
  }

  uint64_t move(uint64_t round) const {
    uint8_t* const data = memory_.data();
    const size_t bytes = memory_.size();
    switch (round % 6) {
      case 0:
      case 3:
        return first_.to_vram(data, bytes).moved;
      case 1:
        return second_.to_vram(data, bytes).moved;
      case 2:
        return second_.evict(GODWIT_EVICT_DEVICE).evicted;
      case 4:
        return first_.evict(GODWIT_EVICT_RANGE, data, bytes).evicted;
      default:
        return first_.to_vram(memory_.page(3), 5 * kPage).moved + first_.to_ram(data, bytes).moved;
    }
  }

  const Device &first_, &second_;
  const Memory& memory_;
  const std::vector<std::unique_ptr<Copier>>& copiers_;
  // Transfers of each engine that were seen to begin.
  std::vector<uint64_t> begun_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> moves_{0};
  uint64_t pages_ = 0;
  std::thread thread_;
};

void print(const std::vector<std::unique_ptr<Copier>>& copiers, uint64_t moves, uint64_t pages,
           const Device& first) {
  uint64_t copies = 0;
  edu_counts sum = {};
  for (const auto& copier : copiers) {
    const edu_counts counts = copier->counts();
    copies += copier->copies();
    sum.maps += counts.maps;
    sum.again += counts.again;
    sum.invalidations += counts.invalidations;
    sum.waited += counts.waited;
  }
  std::cout << copiers.size() << " engines: " << 2 * copies << " transfers; " << moves
            << " moves of " << pages << " pages; " << first.stat(GODWIT_STAT_PEER_REVOKES)
            << " revocations; importers mapped " << sum.maps << " times, tried again " << sum.again
            << " times, were told " << sum.invalidations << " times, " << sum.waited
            << " of them during a transfer; timeouts " << first.stat(GODWIT_STAT_PEER_TIMEOUTS)
            << "\n";
  EXPECT_GT(sum.waited, 0u);
}

// Each engine has a part of one range, and they share one export of it. In the end, and at times,
// every byte is compared.
void storm(const Device& first, const Device& second, uint32_t mode, int engines) {
  const Memory memory(static_cast<size_t>(engines) * kPart * kPage);
  fill(memory.data(), memory.size(), 40);
  const Export shared(first, memory.data(), memory.size());
  std::vector<std::unique_ptr<Copier>> copiers;
  copiers.reserve(static_cast<size_t>(engines));
  for (int engine = 0; engine < engines; ++engine) {
    copiers.push_back(std::make_unique<Copier>(engine, shared, mode, memory,
                                               static_cast<size_t>(engine) * kPart));
  }
  std::atomic<bool> stop{false};
  const Bait bait;
  std::vector<std::thread> threads;
  threads.reserve(copiers.size() + 1);
  for (const auto& copier : copiers) threads.emplace_back([&] { copier->run(stop); });
  // The CPU reads pages that may be in VRAM.
  threads.emplace_back([&] {
    volatile uint8_t sum = 0;
    for (size_t at = kPage - 8; !stop; at = (at + 7 * kPage) % memory.size()) {
      sum = static_cast<uint8_t>(sum + *static_cast<volatile uint8_t*>(memory.data() + at));
      std::this_thread::sleep_for(std::chrono::milliseconds(3));
    }
  });
  Storm mover(first, second, memory, copiers);
  const auto begin = std::chrono::steady_clock::now();
  const auto enough = [&] {
    return mover.moves() > kMoves &&
           std::all_of(copiers.begin(), copiers.end(),
                       [](const auto& copier) { return copier->copies() > kCopies; });
  };
  for (auto passed = begin - begin; passed < kLength || (passed < kLongest && !enough());
       passed = std::chrono::steady_clock::now() - begin) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  // It may be waiting for a transfer.
  mover.stop();
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const auto& copier : copiers) copier->check();
  print(copiers, mover.moves(), mover.pages(), first);
  EXPECT_GT(mover.moves(), kMoves);
}

// Half of the engines are below the switch.
int below_the_switch() { return Edu::count() / 2; }

TEST_F(Peer, StormOnSoftDevices) {
  const SoftDevice soft("private:16M");
  storm(Device(), Device(soft.index()), EDU_DYNAMIC, Edu::count());
}

TEST_F(Peer, StormByTheHelpers) {
  const SoftDevice soft("private:16M");
  storm(Device(), Device(soft.index()), EDU_HELPER, Edu::count());
}

TEST_F(Peer, StormBelowTheSwitch) {
  const Card near(0, "private"), far(1, "private");
  ASSERT_TRUE(near.bound() && far.bound());
  storm(near.device(), far.device(), EDU_DYNAMIC, below_the_switch());
}

TEST_F(Peer, StormAcrossRootPorts) {
  const Card near(0, "private"), far(1, "private");
  ASSERT_TRUE(near.bound() && far.bound());
  storm(near.device(), far.device(), EDU_DYNAMIC, Edu::count());
}

TEST_F(Peer, StormOnCoherentVram) {
  const Card near(0, "coherent"), far(1, "coherent");
  ASSERT_TRUE(near.bound() && far.bound());
  storm(near.device(), far.device(), EDU_DYNAMIC, below_the_switch());
}

}  // namespace
}  // namespace godwit::guest
