// SPDX-License-Identifier: MIT
// A peer of a context with a device of its own, for its tests.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "godwit/peer.h"
#include "tests/contract/fixture.h"
#include "tests/contract/peer_device.h"

namespace godwit::contract {

inline constexpr std::size_t kBytes = 2 * kBlockBytes;
inline constexpr std::size_t kPages = kBytes / kPageBytes;

inline std::vector<std::byte> pattern_bytes(std::size_t bytes, std::uint32_t seed) {
  std::vector<std::byte> result(bytes);
  for (std::size_t at = 0; at < bytes; at += sizeof(std::uint32_t)) {
    const std::uint32_t word = pattern(at / sizeof(word), seed);
    std::memcpy(result.data() + at, &word, sizeof(word));
  }
  return result;
}

inline std::size_t stayed(const MoveReport& report, StayReason reason) {
  return report.stayed_for[static_cast<std::size_t>(reason)];
}

/// A peer with a device of its own, which is registered as long as the mapping says it may be.
struct Peer {
  explicit Peer(FakeHost* host) : device(host) {}
  PeerDevice device;
  std::unique_ptr<PeerMapping> mapping;
  std::atomic<int> remaps{0};
  std::atomic<int> invalidations{0};
  std::atomic<int> wanted{0};
  std::atomic<bool> stubborn{false};  // says no
  std::atomic<bool> careless{false};  // says yes, and keeps its pins
};

class PeerTest : public Contract {
 protected:
  void SetUp() override {
    Contract::SetUp();
    if (IsSkipped()) return;
    const PeerDevice probe(host());
    if (probe.error() != 0) GTEST_SKIP() << "lacks io_uring: " << std::strerror(-probe.error());
  }
  void TearDown() override {
    peers_.clear();
    Contract::TearDown();
  }
  [[nodiscard]] std::size_t orphans() { return fake() ? fake_host().orphans() : 0; }
  [[nodiscard]] FakeHost* host() { return fake() ? &fake_host() : nullptr; }

  Peer& peer(std::byte* base, std::size_t bytes,
             std::chrono::milliseconds patience = std::chrono::milliseconds(2000),
             PeerAccess access = PeerAccess::kReadWrite) {
    peers_.push_back(std::make_unique<Peer>(host()));
    Peer& peer = *peers_.back();
    PeerOptions options;
    options.access = access;
    options.patience = patience;
    options.on_remap = [&peer](std::span<std::byte> pages, std::uint64_t) {
      ++peer.remaps;
      return peer.device.take(pages) == 0;
    };
    options.on_invalidate = [&peer](std::span<std::byte>) {
      ++peer.invalidations;
      if (peer.stubborn) return false;
      return peer.careless || peer.device.let_go() == 0;
    };
    options.on_wanted = [&peer] { ++peer.wanted; };
    auto mapping = engine().map_peer(base, bytes, std::move(options));
    EXPECT_TRUE(mapping) << mapping.error().to_string();
    if (mapping) peer.mapping = std::move(*mapping);
    return peer;
  }
  static std::uint64_t begin(Peer& peer) {
    auto generation = peer.mapping->begin();
    EXPECT_TRUE(generation) << generation.error().to_string();
    EXPECT_TRUE(peer.device.registered());
    return generation ? *generation : 0;
  }
  void dma(Peer& peer, std::byte* to, std::size_t bytes, std::uint32_t seed) {
    EXPECT_EQ(peer.device.write_to(to, pattern_bytes(bytes, seed)), 0);
  }
  /// Empty, or what the device read differs from the pattern.
  std::string seen_by(Peer& peer, const std::byte* from, std::size_t bytes, std::uint32_t seed) {
    std::vector<std::byte> got(bytes);
    if (const int error = peer.device.read_from(from, got); error != 0)
      return std::strerror(-error);
    return got == pattern_bytes(bytes, seed) ? "" : "the device reads other bytes";
  }
  /// Where the whole range went when somebody wanted it in VRAM.
  [[nodiscard]] Residency away() const { return full() ? Residency::kDevice : Residency::kBoth; }

  std::vector<std::unique_ptr<Peer>> peers_;
};

}  // namespace godwit::contract
