// SPDX-License-Identifier: MIT
#include "godwit/peer.h"

#include <memory>
#include <string>
#include <utility>

#include "bindings/c/src/errors.h"
#include "bindings/c/src/handle.h"
#include "godwit.h"
#include "runtime/src/base/cancel.h"
#include "runtime/src/base/inside.h"

struct godwit_peer {
  std::unique_ptr<godwit::PeerMapping> mapping;
};

namespace {

using godwit::Code;
using godwit::InsideScope;
using godwit::c::guarded;
using godwit::c::report;

godwit::PeerOptions wish_of(const godwit_peer_options& options) {
  godwit::PeerOptions wish;
  wish.access = options.access == GODWIT_PEER_READ ? godwit::PeerAccess::kRead
                                                   : godwit::PeerAccess::kReadWrite;
  wish.standing = options.standing != 0;
  if (options.patience_ms != 0) {
    wish.patience = std::chrono::milliseconds(options.patience_ms < 0 ? 0 : options.patience_ms);
  }
  void* opaque = options.opaque;
  if (auto* call = options.on_invalidate; call != nullptr) {
    wish.on_invalidate = [=](std::span<std::byte> pages) {
      return call(opaque, pages.data(), pages.size()) == 0;
    };
  }
  if (auto* call = options.on_remap; call != nullptr) {
    wish.on_remap = [=](std::span<std::byte> pages, std::uint64_t generation) {
      return call(opaque, pages.data(), pages.size(), generation) == 0;
    };
  }
  if (auto* call = options.on_wanted; call != nullptr) {
    wish.on_wanted = [=] { call(opaque); };
  }
  return wish;
}

}  // namespace

extern "C" {

int godwit_peer_map(godwit_context* context, const void* base, size_t bytes,
                    const godwit_peer_options* options, godwit_peer** peer) {
  const InsideScope inside;
  return guarded([&] {
    godwit::PeerOptions wish;
    if (options != nullptr) {
      if (options->size != sizeof(godwit_peer_options)) {
        return report(Code::kInvalidArgument,
                      "peer options: size is " + std::to_string(options->size) +
                          ", this library's is " + std::to_string(sizeof(godwit_peer_options)));
      }
      if (options->access != GODWIT_PEER_READ_WRITE && options->access != GODWIT_PEER_READ) {
        return report(Code::kInvalidArgument,
                      "peer options: unknown access " + std::to_string(options->access));
      }
      wish = wish_of(*options);
    }
    auto mapped = context->context->map_peer(base, bytes, std::move(wish));
    if (!mapped) return report(mapped.error());
    *peer = new godwit_peer{std::move(*mapped)};
    return int{GODWIT_OK};
  });
}

int godwit_peer_begin(godwit_peer* peer, uint64_t* generation) {
  // Not inside: on_remap is the program's.
  const godwit::CancelScope uncancelled;
  return guarded([&] {
    auto begun = peer->mapping->begin();
    if (!begun) return report(begun.error());
    if (generation != nullptr) *generation = *begun;
    return int{GODWIT_OK};
  });
}

void godwit_peer_end(godwit_peer* peer) { peer->mapping->end(); }

uint64_t godwit_peer_generation(const godwit_peer* peer) { return peer->mapping->generation(); }

void godwit_peer_pages(const godwit_peer* peer, void** pages, size_t* bytes) {
  const auto range = peer->mapping->pages();
  *pages = range.data();
  *bytes = range.size();
}

void godwit_peer_unmap(godwit_peer* peer) {
  const InsideScope inside;
  delete peer;
}

int godwit_peer_lent(const godwit_context* context, const void* base, size_t bytes) {
  return context->context->lent_to_peer(base, bytes) ? 1 : 0;
}

int godwit_peer_statistics_get(const godwit_context* context, godwit_peer_statistics* result) {
  const InsideScope inside;
  return guarded([&] {
    if (result->size != sizeof(godwit_peer_statistics)) {
      return report(Code::kInvalidArgument,
                    "peer statistics: size is not set, or another version's");
    }
    const godwit::Statistics& now = context->context->statistics();
    result->revocations = now.peer_revocations;
    result->refusals = now.peer_refusals;
    result->remaps = now.peer_remaps;
    return int{GODWIT_OK};
  });
}

}  // extern "C"
