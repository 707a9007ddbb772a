// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/mover.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

namespace godwit::kernel {
namespace {

// One call of the kernel's: bounds the arrays that go with it.
constexpr std::size_t kStepBytes = std::size_t{256} << 20;
// Of a page that a call did not come to.
constexpr std::uint8_t kNoAnswer = 0xff;

/// Why a page stayed, in the contract's words; none where it has no contents that could move.
std::optional<StayReason> stay_reason(std::uint8_t stay) {
  switch (stay) {
    case GODWIT_STAY_NONE:
    case GODWIT_STAY_HOLE:
    case GODWIT_STAY_EMPTY:
    case GODWIT_STAY_SWAPPED: return std::nullopt;
    case GODWIT_STAY_FILE:
    case GODWIT_STAY_SPECIAL: return StayReason::kLocked;
    case GODWIT_STAY_BUSY: return StayReason::kPinned;
    case GODWIT_STAY_NO_VRAM: return StayReason::kNoVram;
    case GODWIT_STAY_NO_RAM: return StayReason::kNoMemory;
    case GODWIT_STAY_COPY: return StayReason::kDevice;
    case GODWIT_STAY_ADVICE: return StayReason::kHeld;
    default: return StayReason::kRaced;
  }
}

void add_stay(MoveReport* report, std::uintptr_t addr, StayReason reason) {
  ++report->stayed;
  ++report->stayed_for[static_cast<std::size_t>(reason)];
  if (!report->stays.empty()) {
    Stay& last = report->stays.back();
    const auto end = reinterpret_cast<std::uintptr_t>(last.address) + last.pages * kPageBytes;
    if (last.reason == reason && end == addr) {
      ++last.pages;
      return;
    }
  }
  if (report->stays.size() < MoveReport::kMaxStays) {
    report->stays.push_back({reinterpret_cast<void*>(addr), 1, reason});
  }
}

}  // namespace

Residency residency_of(std::uint32_t page) {
  switch (page & GODWIT_PAGE_PLACE) {
    case GODWIT_PLACE_NONE: return Residency::kUntouched;
    case GODWIT_PLACE_VRAM:
    case GODWIT_PLACE_PEER: return Residency::kDevice;
    case GODWIT_PLACE_SYSTEM:
      return (page & GODWIT_PAGE_ZERO) != 0 ? Residency::kUntouched : Residency::kHost;
    default: return Residency::kHost;  // on swap, or under way there
  }
}

tl::unexpected<Error> Mover::failed(int error, const char* verb) const {
  const std::string text = driver_.path() + ": " + verb + ": " + std::strerror(-error);
  switch (error) {
    case -ENODEV: return fail(Code::kDeviceLost, text);
    case -ENOMEM: return fail(Code::kOutOfMemory, text);
    case -EINTR:
    case -EBUSY: return fail(Code::kRetry, text);
    case -EINVAL:
    case -E2BIG: return fail(Code::kInvalidArgument, text);
    default: return fail(Code::kIo, text);
  }
}

Result<Mover::Step> Mover::step(PageRun run, std::uint32_t to, std::uint32_t flags, Cause cause,
                                MoveReport* report) {
  std::vector<std::uint8_t> reasons(run.bytes / kPageBytes, kNoAnswer);
  drm_godwit_migrate args = {};
  args.addr = run.addr;
  args.length = run.bytes;
  args.to = to;
  args.flags = flags;
  args.reasons = reinterpret_cast<std::uintptr_t>(reasons.data());
  args.reasons_size = reasons.size();
  const bool to_device = to == GODWIT_PLACE_VRAM;
  int error = 0;
  {
    Account::Move move(account_);
    error = driver_.migrate(&args);
    move.moved(cause, run.addr, args.moved, to_device);
  }
  // A range that changed without a pause is no error of the caller's: what was not reached has raced.
  if (error != 0 && error != -EBUSY) {
    return failed(error, to_device ? "move to VRAM" : "move to RAM");
  }
  report->moved += args.moved;
  report->already += args.already;
  for (std::size_t page = 0; page < reasons.size(); ++page) {
    if (reasons[page] == GODWIT_STAY_NONE) continue;
    const std::optional<StayReason> reason = stay_reason(reasons[page]);
    if (reason) {
      add_stay(report, run.addr + page * kPageBytes, *reason);
    } else {
      ++report->already;
    }
  }
  return Step{args.moved + args.already};
}

Result<MoveReport> Mover::to_vram(PageRun run, std::uint64_t capacity) {
  MoveReport report;
  std::uint64_t room = capacity;
  while (run.bytes != 0) {
    // As much as VRAM can hold may push others out; the rest must not push out what came before.
    const std::size_t limit = std::min<std::uint64_t>(room != 0 ? room : kStepBytes, kStepBytes);
    const PageRun part{run.addr, std::min(run.bytes, std::max<std::size_t>(limit, kPageBytes))};
    const std::uint32_t flags =
        GODWIT_MIGRATE_SKIP_EMPTY | (room != 0 ? 0 : GODWIT_MIGRATE_NO_EVICT);
    auto done = step(part, GODWIT_PLACE_VRAM, flags, Cause::kPrefetch, &report);
    if (!done) return tl::unexpected(done.error());
    room -= std::min<std::uint64_t>(room, done->arrived * kPageBytes);
    run.addr += part.bytes;
    run.bytes -= part.bytes;
  }
  return report;
}

Result<MoveReport> Mover::home(PageRun run, Cause cause) {
  MoveReport report;
  while (run.bytes != 0) {
    const PageRun part{run.addr, std::min(run.bytes, kStepBytes)};
    auto done = step(part, GODWIT_PLACE_SYSTEM, 0, cause, &report);
    if (!done) return tl::unexpected(done.error());
    run.addr += part.bytes;
    run.bytes -= part.bytes;
  }
  return report;
}

Result<> Mover::for_device(PageRun run, bool* complete) {
  drm_godwit_migrate args = {};
  args.addr = run.addr;
  args.length = run.bytes;
  args.to = GODWIT_PLACE_VRAM;
  int error = 0;
  {
    Account::Move move(account_);
    error = driver_.migrate(&args);
    move.moved(Cause::kDeviceAccess, run.addr, args.moved, true);
  }
  *complete = false;
  // The range changed without a pause: the device's own faults bring what is missing.
  if (error == -EBUSY) return {};
  if (error != 0) return failed(error, "bring operands to VRAM");
  if (args.stayed[GODWIT_STAY_HOLE] != 0) {
    return fail(Code::kInvalidArgument,
                std::to_string(args.stayed[GODWIT_STAY_HOLE]) +
                    " pages of an operand are not mapped, or may not be read");
  }
  if (args.stayed[GODWIT_STAY_SPECIAL] != 0) {
    return fail(Code::kUnsupported,
                std::to_string(args.stayed[GODWIT_STAY_SPECIAL]) +
                    " pages of an operand are memory that the device cannot use (hugetlb, or "
                    "another driver's)");
  }
  *complete = args.moved + args.already == run.bytes / kPageBytes;
  return {};
}

Result<> Mover::residency(PageRun run, std::span<Residency> pages) const {
  std::vector<std::uint32_t> words(std::min(run.bytes, kStepBytes) / kPageBytes);
  for (std::size_t done = 0; done < run.bytes; done += kStepBytes) {
    const std::size_t count = std::min(run.bytes - done, kStepBytes) / kPageBytes;
    drm_godwit_residency args = {};
    const int error =
        driver_.residency(run.addr + done, std::span(words).first(count), &args);
    if (error != 0) return failed(error, "residency");
    std::transform(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count),
                   pages.begin() + static_cast<std::ptrdiff_t>(done / kPageBytes), residency_of);
  }
  return {};
}

}  // namespace godwit::kernel
