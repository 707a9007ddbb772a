// SPDX-License-Identifier: MIT
#include "runtime/src/host/fake/fake_host.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "godwit/units.h"

namespace godwit {
namespace {

// A fault that is put off is asked again after a yield; a bound turns a lost wake into a failure.
constexpr int kTouchBound = 1'000'000;

}  // namespace

FakeHost::FakeHost(HostLevel level) {
  info_.level = level;
  info_.access = "simulated";
}

Result<> FakeHost::attach(std::byte* base, std::size_t bytes, FaultSink* sink) {
  base_ = base;
  sink_ = sink;
  flags_.assign(bytes / kPageBytes, 0);
  return {};
}

namespace {

/// Each access is served on the thread that made it: nobody waits.
class Alone final : public Turn {
  void pass() noexcept override {}
};

}  // namespace

int FakeHost::touch(const void* address, std::size_t bytes, bool write, const Access& access) {
  Alone alone;
  auto* start = static_cast<std::byte*>(const_cast<void*>(address));
  std::byte* first = base_ + align_down(static_cast<std::size_t>(start - base_), kPageBytes);
  for (std::byte* page = first; page < start + bytes; page += kPageBytes) {
    for (int round = 0;; ++round) {
      bool write_protected = false;
      {
        const std::lock_guard guard(mutex_);
        std::uint8_t& now = flags(page);
        if ((now & kPoisoned) != 0) return -EFAULT;
        const bool full = info_.level == HostLevel::kFull;
        const bool faults = full && (now & kArmed) != 0;
        if ((now & kPresent) == 0 && !faults) {
          std::memset(page, 0, kPageBytes);  // the kernel's own first touch
          now |= kPresent;
        }
        bool served = (now & kPresent) != 0 && (!write || (now & kTracked) == 0);
        if (served && write) now |= kWritten;
        if (!served && (now & kPresent) != 0 && !full) {  // asynchronous tracking resolves by itself
          now = static_cast<std::uint8_t>((now | kWritten) & ~kTracked);
          served = true;
        }
        if (served) {
          // With the lock: as with a processor, the page cannot go in the middle of it.
          std::byte* from = std::max(page, start);
          std::byte* to = std::min(page + kPageBytes, start + bytes);
          if (access) access(from, static_cast<std::size_t>(to - from));
          break;
        }
        write_protected = (now & kPresent) != 0;
      }
      if (round == kTouchBound) return -ETIMEDOUT;
      (void)sink_->on_fault(page, write, write_protected, alone);
      if (round > 2) std::this_thread::yield();
    }
  }
  return 0;
}

void FakeHost::fail_next(FakeStep step, int error, int count) {
  const std::lock_guard guard(mutex_);
  scripts_[static_cast<int>(step)] = {error, count};
}

void FakeHost::pin(const void* address, std::size_t bytes, bool pinned) {
  const std::lock_guard guard(mutex_);
  each_page(static_cast<std::byte*>(const_cast<void*>(address)), bytes, [&](std::byte* page) {
    flags(page) = static_cast<std::uint8_t>(pinned ? flags(page) | kPinned
                                                   : flags(page) & ~kPinned);
  });
}

int FakeHost::scripted(FakeStep step) noexcept {
  Script& script = scripts_[static_cast<int>(step)];
  if (script.count == 0) return 0;
  --script.count;
  return -script.error;
}

int FakeHost::arm(std::byte* address, std::size_t bytes) noexcept {
  const std::lock_guard guard(mutex_);
  const int error = scripted(FakeStep::kArm);
  if (error != 0) return error;
  each_page(address, bytes, [&](std::byte* page) { flags(page) |= kArmed; });
  return 0;
}

int FakeHost::disarm(std::byte* address, std::size_t bytes) noexcept {
  const std::lock_guard guard(mutex_);
  each_page(address, bytes, [&](std::byte* page) {
    flags(page) = static_cast<std::uint8_t>(flags(page) & (kPresent | kPinned | kPoisoned));
  });
  return 0;
}

int FakeHost::take_out(std::byte* address, std::byte* slot, std::size_t bytes,
                       std::size_t* moved) noexcept {
  const std::lock_guard guard(mutex_);
  *moved = 0;
  for (; *moved < bytes; *moved += kPageBytes) {
    const int error = scripted(FakeStep::kTakeOut);
    if (error != 0) return error;
    std::uint8_t& now = flags(address + *moved);
    if ((now & kPresent) == 0) return -ENOENT;
    if ((now & kPinned) != 0) return -EBUSY;
    std::memcpy(slot + *moved, address + *moved, kPageBytes);
    std::memset(address + *moved, static_cast<int>(kGone), kPageBytes);
    now = static_cast<std::uint8_t>(now & kArmed);
  }
  return 0;
}

int FakeHost::put_in(std::byte* address, std::byte* slot, std::size_t bytes,
                     std::size_t* moved) noexcept {
  const std::lock_guard guard(mutex_);
  *moved = 0;
  for (; *moved < bytes; *moved += kPageBytes) {
    const int error = scripted(FakeStep::kPutIn);
    if (error != 0) return error;
    std::uint8_t& now = flags(address + *moved);
    if ((now & kPresent) != 0) return -EEXIST;
    std::memcpy(address + *moved, slot + *moved, kPageBytes);
    std::memset(slot + *moved, static_cast<int>(kGone), kPageBytes);
    now |= kPresent;
  }
  return 0;
}

int FakeHost::copy_in(std::byte* address, const std::byte* source, std::size_t bytes, bool tracked,
                      std::size_t* copied) noexcept {
  const std::lock_guard guard(mutex_);
  *copied = 0;
  for (; *copied < bytes; *copied += kPageBytes) {
    const int error = scripted(FakeStep::kCopyIn);
    if (error != 0) return error;
    std::uint8_t& now = flags(address + *copied);
    if ((now & kPresent) != 0) return -EEXIST;
    std::memcpy(address + *copied, source + *copied, kPageBytes);
    now = static_cast<std::uint8_t>(now | kPresent | (tracked ? kTracked : 0));
  }
  return 0;
}

int FakeHost::peek(const std::byte* address, std::byte* to) noexcept {
  const std::lock_guard guard(mutex_);
  auto* page = const_cast<std::byte*>(address);
  if (info_.level == HostLevel::kFull && (flags(page) & kPresent) == 0) return -EIO;
  std::memcpy(to, address, kPageBytes);
  return 0;
}

void FakeHost::store(std::byte* address, std::span<const std::byte> bytes) noexcept {
  const std::lock_guard guard(mutex_);
  each_page(address, bytes.size(), [&](std::byte* page) { flags(page) |= kPresent; });
  std::memcpy(address, bytes.data(), bytes.size());
}

int FakeHost::zero_in(std::byte* address, std::size_t bytes, bool /*write*/) noexcept {
  const std::lock_guard guard(mutex_);
  const int error = scripted(FakeStep::kZeroIn);
  if (error != 0) return error;
  each_page(address, bytes, [&](std::byte* page) {
    if ((flags(page) & kPresent) != 0) return;
    std::memset(page, 0, kPageBytes);
    flags(page) |= kPresent;
  });
  return 0;
}

int FakeHost::poison(std::byte* address, std::size_t bytes) noexcept {
  const std::lock_guard guard(mutex_);
  each_page(address, bytes, [&](std::byte* page) { flags(page) |= kPoisoned; });
  return 0;
}

int FakeHost::drop(std::byte* address, std::size_t bytes) noexcept {
  const std::lock_guard guard(mutex_);
  each_page(address, bytes, [&](std::byte* page) {
    if ((flags(page) & kPinned) != 0) ++orphans_;
    std::memset(page, static_cast<int>(kGone), kPageBytes);
    flags(page) = static_cast<std::uint8_t>(flags(page) & kArmed);
  });
  return 0;
}

int FakeHost::wake(std::byte* /*address*/, std::size_t /*bytes*/) noexcept {
  ++wakes_;
  return 0;
}

int FakeHost::track(std::byte* address, std::size_t bytes, bool on) noexcept {
  const std::lock_guard guard(mutex_);
  const int error = scripted(FakeStep::kTrack);
  if (error != 0) return error;
  each_page(address, bytes, [&](std::byte* page) {
    std::uint8_t& now = flags(page);
    if ((now & kPresent) == 0) return;
    now = static_cast<std::uint8_t>(on ? (now | kTracked) & ~kWritten : now & ~kTracked);
  });
  return 0;
}

int FakeHost::scan_present(std::byte* address, std::span<std::uint8_t> present) noexcept {
  const std::lock_guard guard(mutex_);
  for (std::size_t page = 0; page < present.size(); ++page) {
    present[page] = (flags(address + page * kPageBytes) & kPresent) != 0 ? 1 : 0;
  }
  return 0;
}

int FakeHost::scan_written(std::byte* address, std::span<std::uint8_t> written) noexcept {
  const std::lock_guard guard(mutex_);
  for (std::size_t page = 0; page < written.size(); ++page) {
    std::uint8_t& now = flags(address + page * kPageBytes);
    written[page] = (now & kTracked) == 0 || (now & kWritten) != 0 ? 1 : 0;
    now = static_cast<std::uint8_t>((now | kTracked) & ~kWritten);
  }
  return 0;
}

int FakeHost::unshare(std::byte* /*address*/, std::size_t /*bytes*/) noexcept { return 0; }

Result<std::byte*> FakeHost::reserve_slots(std::size_t bytes, bool /*huge*/) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return fail_errno(errno, "cannot reserve the page pool");
  return static_cast<std::byte*>(memory);
}

void FakeHost::release_slots(std::byte* slots, std::size_t bytes) noexcept {
  ::munmap(slots, bytes);
}

int FakeHost::populate_slot(std::byte* slot, std::size_t bytes) noexcept {
  const std::lock_guard guard(mutex_);
  const int error = scripted(FakeStep::kPopulate);
  if (error == 0) std::memset(slot, 0, bytes);
  return error;
}

int FakeHost::purge_slot(std::byte* /*slot*/, std::size_t /*bytes*/) noexcept { return 0; }

}  // namespace godwit
