// SPDX-License-Identifier: MIT
// What a peer's mapping needs of the engine: its pages in RAM, present, and no copy in VRAM that a
// transfer into them would make stale.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "runtime/src/base/inside.h"
#include "runtime/src/engine/managed_engine.h"

namespace godwit {
namespace {

std::string stays_text(const MoveReport& report) {
  std::string text;
  for (std::size_t reason = 0; reason < kStayReasonCount; ++reason) {
    if (report.stayed_for[reason] == 0) continue;
    if (!text.empty()) text += ", ";
    text += std::to_string(report.stayed_for[reason]) + " pages " +
            std::string(stay_reason_name(static_cast<StayReason>(reason)));
  }
  return text;
}

}  // namespace

Result<std::unique_ptr<PeerMapping>> ManagedEngine::map_peer(const void* base, std::size_t bytes,
                                                             PeerOptions options) {
  const InsideScope inside;
  if (detached()) {
    return fail(Code::kUnavailable,
                "map_peer: this process is a forked child: its memory is plain "
                "memory, which does not move");
  }
  if (options.standing && base == nullptr) {
    const auto start = reinterpret_cast<std::uintptr_t>(core_->arena.base());
    return core_->peers->map({start, start + core_->arena.bytes()}, std::move(options));
  }
  auto range = range_of(base, bytes, "map_peer");
  if (!range) return tl::unexpected(range.error());
  if (range->count == 0) return fail(Code::kInvalidArgument, "map_peer: the range has no bytes");
  return core_->peers->map(core_->span(*range), std::move(options));
}

bool ManagedEngine::lent_to_peer(const void* base, std::size_t bytes) const noexcept {
  const InsideScope inside;
  const auto first = reinterpret_cast<std::uintptr_t>(base);
  return core_->peers->lent({first, first + bytes});
}

PageRange ManagedEngine::page_range_of(peer::Span span) const {
  const std::size_t first = core_->table.page_of(reinterpret_cast<const void*>(span.first));
  return {first, (span.end - span.first) / kPageBytes};
}

/// A mover that holds a block's lock looks at the block's count; what it began before, ends first.
Result<peer::Place> ManagedEngine::admit(peer::Span span, bool standing) {
  if (standing) return peer::Place{};  // may miss a move that has begun, as it would have before
  const PageRange range = page_range_of(span);
  for (std::size_t block = range.first / kPagesPerBlock; block * kPagesPerBlock < range.end();
       ++block) {
    const BlockGuard guard(*core_, block);
    ++core_->table.block(block).peers;
  }
  return peer::Place{};
}

void ManagedEngine::dismiss(peer::Span span, bool standing, const peer::Place& /*place*/) noexcept {
  if (standing) return;
  const PageRange range = page_range_of(span);
  for (std::size_t block = range.first / kPagesPerBlock; block * kPagesPerBlock < range.end();
       ++block) {
    --core_->table.block(block).peers;
  }
}

Result<peer::Grip> ManagedEngine::grip(peer::Span span, bool write, const peer::Place& /*place*/) {
  const InsideScope inside;
  const SignalScope signals;
  const PageRange range = page_range_of(span);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    std::uint64_t seen = 0;
    {
      const std::lock_guard guard(core_->release_mutex);
      seen = core_->releases;
    }
    const MoveReport report = migrator_->to_host(range, Cause::kPeer);
    if (report.stayed == 0) break;
    // A command on the device has pages: it ends.
    const std::size_t held = report.stayed_for[static_cast<std::size_t>(StayReason::kHeld)];
    std::unique_lock guard(core_->release_mutex);
    if (held != report.stayed ||
        !core_->released.wait_until(guard, deadline, [&] { return core_->releases != seen; })) {
      return fail(core_->device_lost.load() ? Code::kDeviceLost : Code::kBusy,
                  "begin: the range could not be brought to RAM: " + stays_text(report));
    }
  }
  if (write && core_->has_device.load()) {
    for (std::size_t block = range.first / kPagesPerBlock; block * kPagesPerBlock < range.end();
         ++block) {
      const BlockGuard guard(*core_, block);
      if (core_->table.block(block).armed.load()) {
        migrator_->mover().untrack(part_in_block(range, block));
      }
    }
    core_->note_vram_use();
  }
  const int error =
      core_->host->populate(core_->table.address(range.first), range.count * kPageBytes, write);
  if (error == 0) return peer::Grip{};
  const Code code = error == -ENOMEM      ? Code::kOutOfMemory
                    : error == -EHWPOISON ? Code::kDeviceLost
                                          : Code::kInvalidArgument;
  return fail(code, std::string("begin: pages of the range cannot be made present for ") +
                        (write ? "writing: " : "reading: ") + std::strerror(-error));
}

}  // namespace godwit
