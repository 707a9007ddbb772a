// SPDX-License-Identifier: MIT
// Memory lent to a device that is driven from user space: RDMA verbs, io_uring's fixed buffers,
// SPDK, a registration cache. The device has the pages' addresses, so they must not move behind its
// back: a PeerMapping holds them for the length of a transfer, and tells the device's driver before
// they go.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "godwit/result.h"

namespace godwit {

namespace peer {
struct Entry;
class Registry;
}  // namespace peer

/// What the device does with the memory.
enum class PeerAccess : std::uint8_t {
  kRead,       // it only reads: a disk write, an RDMA send
  kReadWrite,  // it may store as well
};

/// How a peer is told. Callbacks are kept until the mapping is destroyed; each may be empty. None
/// is called with a lock of the library's held.
///
/// Order, for one mapping: on_remap -> transfers, each between begin() and end() -> on_invalidate
/// -> the pages move -> on_remap (from the next begin()) -> ... on_invalidate never runs between
/// begin() and end(), and has returned before the first page moves; on_remap runs after the last
/// one is back.
struct PeerOptions {
  PeerAccess access = PeerAccess::kReadWrite;
  /// Pages of the range are about to move or to be given up: unregister them, return true. False:
  /// not now; then they stay, and the move reports them (StayReason::kPeer). `pages`: the mapping's
  /// whole range, or of a standing one the part that moves; whole pages. On the context's peer
  /// thread, one call at a time over all mappings. May call anything but begin() of this mapping
  /// and what destroys it; a move that needs another peer's consent is refused from here.
  std::function<bool(std::span<std::byte> pages)> on_invalidate;
  /// The pages are in RAM and stay there until on_invalidate: register them, return true. False:
  /// the begin() that called fails with kBusy, and nothing is registered. On the thread that called
  /// begin(), which goes on afterwards. May call anything but begin() of this mapping and what
  /// destroys it.
  std::function<bool(std::span<std::byte> pages, std::uint64_t generation)> on_remap;
  /// Somebody waits for end(): for those who hold a range for longer than one transfer, for example
  /// while a remote side may write to it. On the peer thread.
  std::function<void()> on_wanted;
  /// How long a move waits for end(). on_invalidate has as long again, and a second at least.
  /// Afterwards the pages stay; whoever wants to move them next does not wait again until the peer
  /// has let go.
  std::chrono::milliseconds patience{1000};
  /// The peer registers what it likes, whenever it likes, without begin(): on_invalidate is told of
  /// each range before it moves, and its answer is not asked. A page that is still pinned stays all
  /// the same. For registration caches. The range may be {nullptr, 0}: all that the context moves.
  bool standing = false;
};

/// A range of pages lent to one peer. Made by Context::map_peer(). Thread-safe, except that nothing
/// may be called while it is destroyed. It may outlive the context: then begin() says kUnavailable.
/// Ranges of several mappings may overlap; each peer is asked.
class PeerMapping {
 public:
  /// Ends what is held, without a call to on_invalidate: the owner unregisters first. Waits for a
  /// callback of this mapping that is running.
  ~PeerMapping();
  PeerMapping(const PeerMapping&) = delete;
  PeerMapping& operator=(const PeerMapping&) = delete;

  /// Makes the pages resident in RAM, writable ones private to this process, and keeps them there
  /// until end(). Nests, and counts over threads. The answer is the generation: a registration that
  /// was made at this one is good. Takes a lock for a moment where nothing has moved.
  ///
  /// `patience`: to wait for a move or command that is under way. Errors: kRetry (it took longer),
  /// kBusy (a command on the device holds the pages; the peer did not register; from a callback of
  /// this mapping), kInvalidArgument (the memory was freed, or its protection forbids the access),
  /// kOutOfMemory (RAM, or RLIMIT_MEMLOCK with the kernel engine), kUnavailable (the context is
  /// gone; a forked child), kUnsupported (a standing mapping). After an error nothing is held.
  [[nodiscard]] Result<std::uint64_t> begin(
      std::chrono::milliseconds patience = std::chrono::seconds(10));
  /// The other end of one begin(). The transfer has completed: the device does not touch the pages
  /// any more, registered or not.
  void end() noexcept;

  /// Changes before a page of the range moves, and never returns to a former value. Never blocks.
  /// All ones once the context is gone, and in a forked child.
  [[nodiscard]] std::uint64_t generation() const noexcept;
  /// Whole pages.
  [[nodiscard]] std::span<std::byte> pages() const noexcept;

 private:
  friend class peer::Registry;
  PeerMapping(std::shared_ptr<peer::Registry> registry, std::shared_ptr<peer::Entry> entry);
  std::shared_ptr<peer::Registry> registry_;
  std::shared_ptr<peer::Entry> entry_;
};

}  // namespace godwit
