// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/kernel_peers.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace godwit::kernel {
namespace {

// A range that changes under each attempt to pin it belongs to a program that maps and unmaps it.
constexpr int kAttempts = 8;

tl::unexpected<Error> failed(const Driver& driver, int error, const char* what) {
  const std::string text = driver.path() + ": " + what + ": " + std::strerror(-error);
  switch (error) {
    case -EDQUOT:
      return fail(Code::kOutOfMemory, text, {"RLIMIT_MEMLOCK is too low, or there are 1024 pins"});
    case -ENOMEM:
    case -ENOSPC:
      return fail(Code::kOutOfMemory, text);
    case -EBUSY:
    case -EINTR:
      return fail(Code::kBusy, text);
    case -EOPNOTSUPP:
      return fail(Code::kUnsupported, text);
    default:
      return fail(Code::kInvalidArgument, text);
  }
}

/// The parts of a run that no peer keeps, and those that some do.
struct Parts {
  std::vector<PageRun> free;
  std::vector<PageRun> kept;
};

Parts parts_of(PageRun run, const peer::Pause& pause) {
  Parts parts;
  pause.each_kept([&](peer::Span part) {
    parts.kept.push_back({part.first, part.end - part.first});
  });
  std::sort(parts.kept.begin(), parts.kept.end(),
            [](const PageRun& a, const PageRun& b) { return a.addr < b.addr; });
  // Mappings may overlap.
  std::vector<PageRun> merged;
  for (const PageRun& part : parts.kept) {
    if (!merged.empty() && part.addr <= merged.back().end()) {
      merged.back().bytes = std::max(merged.back().end(), part.end()) - merged.back().addr;
    } else {
      merged.push_back(part);
    }
  }
  parts.kept = std::move(merged);
  std::uintptr_t at = run.addr;
  for (const PageRun& part : parts.kept) {
    if (part.addr > at) parts.free.push_back({at, part.addr - at});
    at = part.end();
  }
  if (at < run.end()) parts.free.push_back({at, run.end() - at});
  return parts;
}

}  // namespace

tl::unexpected<Error> kept_error(const char* verb) {
  return fail(Code::kBusy, std::string(verb) +
                               ": a peer holds pages of the range, or did not let go "
                               "of them; nothing was given up");
}

Result<MoveReport> move_around_peers(Mover& mover, PageRun run, std::uint64_t capacity,
                                     const peer::Pause& pause) {
  const Parts parts = parts_of(run, pause);
  MoveReport report;
  for (const PageRun& part : parts.free) {
    // What came before is not to be pushed out.
    const std::uint64_t used = (report.moved + report.already) * kPageBytes;
    auto moved = mover.to_vram(part, capacity - std::min(capacity, used));
    if (!moved) return moved;
    report.moved += moved->moved;
    report.already += moved->already;
    report.stayed += moved->stayed;
    for (std::size_t reason = 0; reason < kStayReasonCount; ++reason) {
      report.stayed_for[reason] += moved->stayed_for[reason];
    }
    for (const Stay& stay : moved->stays) {
      if (report.stays.size() < MoveReport::kMaxStays) report.stays.push_back(stay);
    }
  }
  for (const PageRun& part : parts.kept) {
    const std::size_t pages = part.bytes / kPageBytes;
    report.stayed += pages;
    report.stayed_for[static_cast<std::size_t>(StayReason::kPeer)] += pages;
    if (report.stays.size() < MoveReport::kMaxStays) {
      report.stays.push_back({reinterpret_cast<void*>(part.addr), pages, StayReason::kPeer});
    }
  }
  return report;
}

Result<> bring_around_peers(Mover& mover, PageRun run, const peer::Pause& pause, bool* complete) {
  const Parts parts = parts_of(run, pause);
  *complete = parts.kept.empty();
  for (const PageRun& part : parts.free) {
    bool whole = false;
    auto brought = mover.for_device(part, &whole);
    if (!brought) return brought;
    *complete = *complete && whole;
  }
  return {};
}

Result<peer::Place> KernelPeers::admit(peer::Span span, bool standing) {
  peer::Place place;
  if (standing) return place;
  if ((parts_.capabilities & GODWIT_CAP_PIN) == 0) {
    return fail(Code::kUnsupported, parts_.driver.path() +
                                        ": map_peer: this device cannot hold "
                                        "pages in RAM");
  }
  if (parts_.ring == nullptr) return place;
  const int word = parts_.ring->watch(span.first, span.end - span.first);
  if (word < 0) return failed(parts_.driver, word, "map_peer: no generation word");
  place.word = static_cast<std::uint32_t>(word);
  return place;
}

void KernelPeers::dismiss(peer::Span /*span*/, bool /*standing*/,
                          const peer::Place& place) noexcept {
  if (place.word != peer::Place::kNone) parts_.ring->unwatch(place.word);
}

int KernelPeers::pin(peer::Span span, std::uint32_t* handle) const noexcept {
  drm_godwit_pin args = {};
  args.addr = span.first;
  args.length = span.end - span.first;
  args.place = GODWIT_PLACE_SYSTEM;
  const int error = parts_.driver.call(DRM_IOCTL_GODWIT_PIN, &args);
  *handle = args.handle;
  return error;
}

Result<peer::Grip> KernelPeers::grip(peer::Span span, bool write, const peer::Place& place) {
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    // In one go; what stays, comes when it is touched.
    (void)parts_.mover.home({span.first, span.end - span.first}, Cause::kPeer);
    if (::madvise(reinterpret_cast<void*>(span.first), span.end - span.first,
                  write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) != 0) {
      return failed(parts_.driver, -errno,
                    write ? "begin: pages cannot be made present for writing"
                          : "begin: pages cannot be made present for reading");
    }
    peer::Grip grip;
    grip.seen = count(place);
    const int error = pin(span, &grip.handle);
    // The device is gone, and everything is at home: nobody moves it any more.
    if (error == -ENODEV) return peer::Grip{0, count(place)};
    if (error != 0 && error != -EBUSY) return failed(parts_.driver, error, "begin: pin");
    if (error == 0 && intact(grip, place)) return grip;
    if (error == 0) release(grip);
  }
  return fail(Code::kRetry, "begin: the range changed " + std::to_string(kAttempts) +
                                " times while it was being pinned");
}

void KernelPeers::release(const peer::Grip& grip) noexcept {
  if (grip.handle == 0) return;
  drm_godwit_unpin args = {};
  args.handle = grip.handle;
  (void)parts_.driver.call(DRM_IOCTL_GODWIT_UNPIN, &args);
}

}  // namespace godwit::kernel
