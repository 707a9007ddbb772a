// SPDX-License-Identifier: MIT
// One mapping as the registry knows it.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>

#include "godwit/peer.h"
#include "godwit/statistics.h"
#include "runtime/src/peer/home.h"

namespace godwit::peer {

/// All but the constants and `generation` is protected by the registry's mutex.
struct Entry {
  Span range;
  PeerOptions options;
  Place place;
  std::uint64_t serial = 0;  // in the order of their making, from 1

  std::atomic<std::uint64_t> generation{1};  // without what the engine counts

  std::uint32_t held = 0;     // begin() without end()
  std::uint32_t closers = 0;  // moves between asking and having moved: begin() waits for them
  bool mapped = false;        // the peer may have it registered; `grip` holds
  bool opening = false;       // a begin() brings the pages and registers them
  bool telling = false;       // on_invalidate is wanted, or runs
  bool wanted = false;        // on_wanted is wanted, or runs
  bool overdue = false;       // it did not let go in time, and has not since
  bool admitted = false;      // the engine knows of it
  bool gone = false;          // freed, or the context is gone
  pthread_t opener{};         // whose begin() it is, where `opening`
  Grip grip;

  // Of the move that wants it, for on_invalidate.
  Span part;
  Cause cause = Cause::kPrefetch;
  bool to_device = false;
  std::uint64_t asked_ns = 0;

  /// True while no page of it may move.
  [[nodiscard]] bool keeps() const noexcept {
    return !gone && !options.standing && (mapped || opening || held != 0);
  }
};

}  // namespace godwit::peer
