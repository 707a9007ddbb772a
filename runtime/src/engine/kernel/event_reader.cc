// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/event_reader.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "runtime/src/base/descriptor.h"
#include "runtime/src/base/inside.h"

namespace godwit::kernel {
namespace {

// Events come in bursts; a burst is one turn. Also how old counters in a shared file can be.
constexpr int kTurnMs = 2;

Cause cause_of(std::uint16_t cause) {
  switch (cause) {
    case GODWIT_CAUSE_CPU_FAULT: return Cause::kCpuFault;
    case GODWIT_CAUSE_DEVICE_FAULT:
    case GODWIT_CAUSE_VIEW: return Cause::kDeviceAccess;
    case GODWIT_CAUSE_PEER:
    case GODWIT_CAUSE_PIN: return Cause::kPeer;
    case GODWIT_CAUSE_EVICTION: return Cause::kEviction;
    case GODWIT_CAUSE_ADVICE: return Cause::kAdvice;
    case GODWIT_CAUSE_UNPLUG: return Cause::kUnplug;
    default: return Cause::kPrefetch;
  }
}

}  // namespace

EventReader::~EventReader() {
  if (started_) {
    const std::uint64_t one = 1;
    (void)!::write(stop_, &one, sizeof(one));
    ::pthread_join(thread_, nullptr);
  }
  if (stop_ >= 0) ::close(stop_);
}

Result<> EventReader::start() {
  stop_ = out_of_the_way(::eventfd(0, EFD_CLOEXEC));
  if (stop_ < 0) {
    return fail(Code::kOutOfMemory, std::string("no eventfd: ") + std::strerror(errno));
  }
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const int error = ::pthread_create(
      &thread_, nullptr,
      [](void* reader) -> void* {
        static_cast<EventReader*>(reader)->run();
        return nullptr;
      },
      this);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (error != 0) {
    return fail(Code::kOutOfMemory, std::string("no thread for events: ") + std::strerror(error));
  }
  (void)::pthread_setname_np(thread_, "godwit-events");
  started_ = true;
  return {};
}

void EventReader::run() noexcept {
  const InsideScope inside;
  std::array<pollfd, 2> wait{{{stop_, POLLIN, 0}, {parts_.driver.fd(), POLLPRI, 0}}};
  for (;;) {
    if (::poll(wait.data(), wait.size(), -1) < 0 && errno != EINTR) return;
    drain();
    if ((wait[0].revents & POLLIN) != 0) return;
    // The device is gone: nothing will come any more.
    if ((wait[1].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) wait[1].fd = -1;
    if (::poll(wait.data(), 1, kTurnMs) > 0) {
      drain();
      return;
    }
  }
}

void EventReader::drain() noexcept {
  events_.clear();
  const EventRing::Taken taken = parts_.ring.take(&events_);
  if (taken.lost != 0) recover(taken.lost);
  for (const drm_godwit_event& event : events_) tell(event);
  parts_.account.refresh();
}

void EventReader::tell(const drm_godwit_event& event) noexcept {
  const bool to_device = event.to == GODWIT_PLACE_VRAM;
  const Cause cause = cause_of(event.cause);
  // What the runtime asked for is recorded where it was asked for.
  if (cause != Cause::kPrefetch) {
    const EventKind kind = cause == Cause::kCpuFault   ? EventKind::kFault
                           : cause == Cause::kEviction ? EventKind::kEvict
                                                       : EventKind::kMigrate;
    parts_.telemetry.record(kind, cause, event.time_ns, event.addr,
                            std::uint64_t{event.pages} * 4096, to_device);
  }
  if (event.type != GODWIT_EVENT_MIGRATE) return;
  if (cause == Cause::kCpuFault) bring_ahead(streams_.served(event.addr, event.length));
  if (cause == Cause::kDeviceAccess && to_device) streams_.taken(event.addr, event.length);
}

void EventReader::bring_ahead(AheadRange range) noexcept {
  if (range.bytes == 0) return;
  // Part of what the fault did: the kernel counts the pages, and nobody waits for them.
  drm_godwit_migrate args = {};
  args.addr = range.address;
  args.length = range.bytes;
  args.to = GODWIT_PLACE_SYSTEM;
  (void)parts_.driver.migrate(&args);
}

void EventReader::recover(std::uint64_t lost) noexcept {
  lost_ += lost;
  ++recoveries_;
  // Words say for each range whether it moved, and counters come from the kernel, so no answer of
  // ours depended on the events; but a walk may have gone on unseen, and whoever asks is told afresh.
  parts_.known.forget();
  streams_ = {};
}

}  // namespace godwit::kernel
