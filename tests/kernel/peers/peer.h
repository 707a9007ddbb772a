// SPDX-License-Identifier: MIT
// Devices that do DMA to memory of a process, each a real driver of the stock kernel.
#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "tests/kernel/peers/target.h"

namespace godwit::guest {

enum class PeerKind {
  kNvme,
  kNvmeBuffered,
  kUringFixed,
  kRdmaOnDemand,
  kRdmaPinned,
  kCameraPointer,
  kCameraDmaBuf
};
inline constexpr PeerKind kPeers[] = {PeerKind::kNvme,        PeerKind::kNvmeBuffered,
                                      PeerKind::kUringFixed,  PeerKind::kRdmaOnDemand,
                                      PeerKind::kRdmaPinned,  PeerKind::kCameraPointer,
                                      PeerKind::kCameraDmaBuf};
const char* name_of(PeerKind peer);
inline std::ostream& operator<<(std::ostream& out, PeerKind peer) { return out << name_of(peer); }

class Peer {
 public:
  static std::unique_ptr<Peer> make(PeerKind kind);
  virtual ~Peer() = default;

  // Why this machine has none; empty where it has.
  virtual std::string missing() { return ""; }
  // What into() will write: known bytes, others for each seed, `bytes` of them.
  virtual std::vector<uint8_t> expected(size_t bytes, uint64_t seed);
  // The peer writes these to the target, by its pointer (or dma-buf), and lets go of it. 0 or a
  // negative errno.
  virtual int into(const Target& target, uint64_t seed) = 0;
  // The peer reads the target, and what it got is compared with `bytes`. 0 or a negative errno.
  virtual int out_of(const Target& target, const std::vector<uint8_t>& bytes) = 0;
  virtual bool reads() const { return true; }
};

}  // namespace godwit::guest
