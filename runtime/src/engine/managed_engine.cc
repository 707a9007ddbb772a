// SPDX-License-Identifier: MIT
#include "runtime/src/engine/managed_engine.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <new>
#include <thread>

#include "runtime/src/base/inside.h"
#include "runtime/src/engine/operand_hold.h"

namespace godwit {
namespace {

/// What every call that moves or gives up pages does first.
class Entry {
 public:
  explicit Entry(ManagedEngine& engine) {
    if (!engine.detached()) engine.core().host->settle();
  }

 private:
  InsideScope inside_;
  SignalScope signals_;
};

std::string hex(const void* address) {
  char text[32];
  (void)std::snprintf(text, sizeof(text), "%p", address);
  return text;
}

tl::unexpected<Error> kept_error(const char* verb) {
  return fail(Code::kBusy, std::string(verb) + ": a peer holds pages of the range, or did not let go "
                                               "of them; nothing was given up");
}

Residency residency_of(PageState state) {
  switch (state) {
    case PageState::kNative:
    case PageState::kEmpty: return Residency::kUntouched;
    case PageState::kHost: return Residency::kHost;
    case PageState::kBoth: return Residency::kBoth;
    case PageState::kDevice: return Residency::kDevice;
    case PageState::kToDevice:
    case PageState::kToHost: return Residency::kMoving;
    case PageState::kLost: return Residency::kLost;
  }
  return Residency::kLost;
}

}  // namespace

Result<std::unique_ptr<ManagedEngine>> ManagedEngine::create(std::unique_ptr<HostMemory> host,
                                                             Telemetry& telemetry,
                                                             ManagedEngineOptions options) {
  const InsideScope inside;
  auto arena = Arena::reserve(options.arena_bytes);
  if (!arena) return tl::unexpected(arena.error());
  auto table = PageTable::create(arena->base(), arena->bytes());
  if (!table) return tl::unexpected(table.error());
  std::size_t pool_bytes = options.pool_bytes;
  if (pool_bytes == 0) {
    pool_bytes = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES)) * kPageBytes / 16;
  }
  auto pool = PagePool::create(*host, align_up(pool_bytes, kBlockBytes));
  if (!pool) return tl::unexpected(pool.error());
  auto core = std::make_unique<Core>(std::move(*arena), std::move(*table), std::move(host),
                                     std::move(*pool), telemetry);
  core->fault_around = options.fault_around;
  std::unique_ptr<ManagedEngine> engine(new ManagedEngine(std::move(core), std::move(options)));
  Core& shared = engine->core();
  peer::Home& home = *engine;
  shared.peers = std::make_shared<peer::Registry>(home, telemetry);
  auto attached =
      shared.host->attach(shared.arena.base(), shared.arena.bytes(), engine->faults_.get());
  if (!attached) return tl::unexpected(attached.error());
  return engine;
}

ManagedEngine::ManagedEngine(std::unique_ptr<Core> core, ManagedEngineOptions options)
    : core_(std::move(core)), options_(std::move(options)) {
  unsigned threads = options_.threads;
  if (threads == 0) threads = std::clamp(std::thread::hardware_concurrency(), 1U, 4U);
  migrator_ = std::make_unique<Migrator>(*core_, threads);
  faults_ = std::make_unique<FaultService>(*core_, *migrator_);
  files_ = std::make_unique<FileMaps>(*core_, migrator_->mover());
}

ManagedEngine::~ManagedEngine() {
  const InsideScope inside;
  // Where create() failed there are none yet.
  if (core_->peers != nullptr) core_->peers->shut();
  if (!detached()) {
    // Regions that are still allocated die with the arena; nobody may touch them any more.
    core_->host->detach();
  } else if (!detached_.load()) {
    let_go();
  }
}

EngineInfo ManagedEngine::info() const {
  const HostInfo& host = core_->host->info();
  return {.name = options_.name,
          .level = host.level == HostLevel::kFull ? "full" : "resident",
          .access = host.access,
          .reasons = host.reasons,
          .arena_bytes = core_->arena.bytes()};
}

Result<Device*> ManagedEngine::device() {
  if (detached()) return fail(Code::kUnavailable, "no device in a forked child");
  if (device_made_.load(std::memory_order_acquire)) return core_->device.get();
  const InsideScope inside;
  const std::lock_guard guard(device_mutex_);
  if (device_made_.load(std::memory_order_relaxed)) return core_->device.get();
  auto made = options_.make_device();
  if (!made) return tl::unexpected(made.error());
  const DeviceInfo info = (*made)->info();
  core_->frames = std::make_unique<VramFrames>(info.vram_bytes);
  core_->device = std::move(*made);
  core_->has_device.store(true);
  core_->telemetry.set_names(options_.name,
                             info.name.starts_with(info.kind) ? info.name
                                                              : info.kind + ": " + info.name);
  device_made_.store(true, std::memory_order_release);
  return core_->device.get();
}

Result<void*> ManagedEngine::allocate(std::size_t bytes, std::size_t alignment) {
  const InsideScope inside;
  if (alignment == 0) alignment = 1;
  if ((alignment & (alignment - 1)) != 0) {
    return fail(Code::kInvalidArgument,
                "alignment " + std::to_string(alignment) + " is not a power of two");
  }
  if (bytes == 0) return fail(Code::kInvalidArgument, "a region of 0 bytes was asked for");
  std::byte* region = core_->arena.allocate(bytes, alignment);
  if (region == nullptr) {
    return fail(Code::kOutOfMemory, "no address space for a region of " + std::to_string(bytes) +
                                        " bytes in an arena of " +
                                        std::to_string(core_->arena.bytes() >> 20) +
                                        " MiB; GODWIT_ARENA makes it larger");
  }
  Statistics& statistics = core_->statistics();
  const std::uint64_t now = statistics.managed_bytes += core_->arena.size_at(region);
  if (now > statistics.managed_peak) statistics.managed_peak = now;
  return static_cast<void*>(region);
}

Result<void*> ManagedEngine::map(const std::string& path, const MapOptions& options) {
  const Entry entry(*this);
  if (detached()) {
    return fail(Code::kUnavailable, "map: this process is a forked child; use mmap");
  }
  auto source = FileSource::open(path, options);
  if (!source) return tl::unexpected(source.error());
  const std::size_t bytes = align_up((*source)->bytes(), kBlockBytes);
  auto region = allocate(bytes, kBlockBytes);
  if (!region) return region;
  auto attached = files_->attach(static_cast<std::byte*>(*region), bytes, std::move(*source));
  if (attached) return region;
  (void)free(*region);
  return tl::unexpected(attached.error());
}

Result<std::size_t> ManagedEngine::sync(const void* base, std::size_t bytes) {
  const Entry entry(*this);
  auto range = range_of(base, bytes, "sync");
  if (!range) return tl::unexpected(range.error());
  if (detached()) {
    return fail(Code::kUnavailable, "sync: this process is a forked child: its memory is its own");
  }
  return files_->sync(core_->arena.find(base).base, *range);
}

Result<> ManagedEngine::free(void* region) {
  const Entry entry(*this);
  const std::size_t bytes = core_->arena.contains(region) ? core_->arena.size_at(region) : 0;
  if (bytes == 0) {
    return fail(Code::kInvalidArgument, "free: no region starts at " + hex(region));
  }
  const PageRange range{core_->table.page_of(region), bytes / kPageBytes};
  if (detached()) {
    (void)core_->host->drop(static_cast<std::byte*>(region), bytes);
  } else {
    auto synced = files_->sync(static_cast<std::byte*>(region), range);
    if (!synced) return tl::unexpected(synced.error());
    if (!migrator_->discard(range, true)) return kept_error("free");
    files_->detach(static_cast<std::byte*>(region));
    if (core_->has_device.load()) core_->note_vram_use();
  }
  core_->statistics().managed_bytes -= bytes;
  (void)core_->arena.release(region);
  return {};
}

std::size_t ManagedEngine::size_of(const void* region) const {
  return core_->arena.contains(region) ? core_->arena.size_at(region) : 0;
}

bool ManagedEngine::manages(const void* address) const noexcept {
  return core_->arena.contains(address);
}

bool ManagedEngine::lends(const void* base, std::size_t bytes) const noexcept {
  return bytes != 0 && manages(base) && manages(static_cast<const std::byte*>(base) + bytes - 1);
}

std::span<const std::byte> ManagedEngine::bounds() const noexcept {
  return {core_->arena.base(), core_->arena.bytes()};
}

std::span<const std::byte> ManagedEngine::next_region(const void* from) const {
  const Arena::Region region = core_->arena.next(from);
  return {region.base, region.bytes};
}

Result<PageRange> ManagedEngine::range_of(const void* base, std::size_t bytes,
                                          const char* verb) const {
  if (bytes == 0) return PageRange{};
  const Arena::Region region =
      core_->arena.contains(base) ? core_->arena.find(base) : Arena::Region{};
  const auto* start = static_cast<const std::byte*>(base);
  if (region.bytes == 0 ||
      bytes > static_cast<std::size_t>(region.base + region.bytes - start)) {
    return fail(Code::kInvalidArgument,
                std::string(verb) + ": " + std::to_string(bytes) + " bytes at " + hex(base) +
                    " are not within one region of managed memory; memory from Godwit's malloc "
                    "and allocators is");
  }
  const std::size_t first = core_->table.page_of(start);
  return PageRange{first, core_->table.page_of(start + bytes - 1) + 1 - first};
}

Result<> ManagedEngine::ready() {
  if (detached()) {
    return fail(Code::kUnavailable, "this process is a forked child: its memory does not migrate");
  }
  auto made = device();
  if (!made) return tl::unexpected(made.error());
  switch (core_->demotion_error()) {
    case 0: return {};
    case ENODEV: return fail(Code::kDeviceLost, "the device was lost");
    default: return fail(Code::kUnavailable, "the fault handlers have ended");
  }
}

Result<MoveReport> ManagedEngine::prefetch(const void* base, std::size_t bytes, Place to) {
  const Entry entry(*this);
  auto range = range_of(base, bytes, "prefetch");
  if (!range) return tl::unexpected(range.error());
  if (range->count == 0) return MoveReport{};
  if (to == Place::kHost) {
    if (detached()) {
      MoveReport report;
      report.already = range->count;
      return report;
    }
    return migrator_->to_host(*range, Cause::kPrefetch);
  }
  auto usable = ready();
  if (!usable) return tl::unexpected(usable.error());
  const Advice advice = core_->arena.find(base).advice;
  if (advice == Advice::kKeepHost) {
    MoveReport report;
    report.stayed = range->count;
    report.stayed_for[static_cast<std::size_t>(StayReason::kLocked)] = range->count;
    report.stays.push_back({const_cast<void*>(base), range->count, StayReason::kLocked});
    return report;
  }
  const std::shared_lock gate(core_->gate);
  const bool copies = !core_->full_level() || advice == Advice::kReadMostly;
  return migrator_->to_device(
      *range, copies ? Migrator::Manner::kDuplicate : Migrator::Manner::kMove, Cause::kPrefetch);
}

Result<> ManagedEngine::advise(const void* base, std::size_t bytes, Advice advice) {
  const Entry entry(*this);
  auto range = range_of(base, bytes, "advise");
  if (!range) return tl::unexpected(range.error());
  if (range->count == 0) return {};
  (void)core_->arena.set_advice(base, advice);
  if (advice == Advice::kNormal || detached()) return {};
  const MoveReport report = migrator_->to_host(*range, Cause::kAdvice);
  if (report.stayed != 0) {
    return fail(Code::kBusy, std::to_string(report.stayed) +
                                 " pages could not be brought to RAM; a command on the device "
                                 "holds them");
  }
  return {};
}

Result<> ManagedEngine::discard(const void* base, std::size_t bytes) {
  const Entry entry(*this);
  auto range = range_of(base, bytes, "discard");
  if (!range) return tl::unexpected(range.error());
  if (range->count == 0) return {};
  if (detached()) {
    (void)core_->host->drop(core_->table.address(range->first), range->count * kPageBytes);
    return {};
  }
  if (!migrator_->discard(*range, false)) return kept_error("discard");
  return {};
}

Result<> ManagedEngine::residency(const void* base, std::size_t bytes,
                                  std::span<Residency> pages) const {
  auto range = range_of(base, bytes, "residency");
  if (!range) return tl::unexpected(range.error());
  if (pages.size() < range->count) {
    return fail(Code::kInvalidArgument, "residency: room for " + std::to_string(pages.size()) +
                                            " pages, the range touches " +
                                            std::to_string(range->count));
  }
  const bool plain = detached();  // asks the kernel who we are: not once a page
  for (std::size_t index = 0; index < range->count;) {
    const std::size_t page = range->first + index;
    PageState state = plain ? PageState::kNative : core_->table.state(page);
    if (state == PageState::kToDevice || state == PageState::kToHost) {
      // Under way: the thread that the page was put in for runs before its state is committed.
      const BlockGuard guard(*core_, page / kPagesPerBlock);
      state = core_->table.state(page);
    }
    const bool kernels = state == PageState::kNative ||
                         (state == PageState::kEmpty && core_->kernel_populates());
    if (!kernels) {
      pages[index++] = residency_of(state);
      continue;
    }
    // The kernel knows. Ask for the rest of the block at once, as far as it is in this state.
    std::size_t end = page + 1;
    const std::size_t limit =
        std::min(align_down(page, kPagesPerBlock) + kPagesPerBlock, range->end());
    while (end < limit && (plain || core_->table.state(end) == state)) ++end;
    std::array<std::uint8_t, kPagesPerBlock> present;
    const auto flags = std::span(present).first(end - page);
    if (core_->host->scan_present(core_->table.address(page), flags) != 0) {
      std::fill(flags.begin(), flags.end(), std::uint8_t{1});
    }
    for (const std::uint8_t flag : flags) {
      pages[index++] = flag != 0 ? Residency::kHost : Residency::kUntouched;
    }
  }
  return {};
}

Result<std::unique_ptr<Hold>> ManagedEngine::acquire(std::span<const Operand> operands) {
  const Entry entry(*this);
  for (const Operand& operand : operands) {
    auto range = range_of(operand.base, operand.extent(), "acquire");
    if (!range) return tl::unexpected(range.error());
    const Advice advice = core_->arena.find(operand.base).advice;
    const bool writes = operand.access != Access::kRead;
    if (writes && (!core_->full_level() || advice == Advice::kKeepHost)) {
      return fail(Code::kUnsupported,
                  core_->full_level()
                      ? "the region was advised to keep its pages in RAM"
                      : "at this privilege level pages never leave RAM, so that a command on the "
                        "device cannot write them in place");
    }
  }
  auto usable = ready();
  if (!usable) return tl::unexpected(usable.error());
  const std::shared_lock gate(core_->gate);
  const std::lock_guard admission(admission_mutex_);
  auto hold = std::make_unique<OperandHold>(*core_, *migrator_);
  for (const Operand& operand : operands) {
    auto added = hold->add(operand);
    if (!added) return tl::unexpected(added.error());
  }
  return std::unique_ptr<Hold>(std::move(hold));
}

Result<std::uint64_t> ManagedEngine::capacity() {
  auto usable = ready();
  if (!usable) return tl::unexpected(usable.error());
  return std::uint64_t{core_->frames->count()} * kChunkBytes;
}

Result<std::unique_ptr<Hold>> ManagedEngine::scratch(std::size_t bytes) {
  const Entry entry(*this);
  auto usable = ready();
  if (!usable) return tl::unexpected(usable.error());
  const std::shared_lock gate(core_->gate);
  const std::lock_guard admission(admission_mutex_);
  auto hold = std::make_unique<ScratchHold>(*core_);
  auto taken = hold->take(bytes, migrator_->evictor());
  if (!taken) return tl::unexpected(taken.error());
  return std::unique_ptr<Hold>(std::move(hold));
}

void ManagedEngine::prepare_fork() noexcept {
  if (detached()) return;
  const InsideScope inside;
  const SignalScope signals;
  device_mutex_.lock();
  core_->gate.lock();
  ++core_->statistics().forks;
  files_->load_all();
  if (core_->has_device.load()) {
    // Whatever the child can see comes home: a copy of the address space must be a copy of the
    // bytes. Commands that hold pages are waited for, within reason.
    const std::uint64_t start = monotonic_ns();
    const auto patience = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(kPatience).count());
    for (Arena::Region region = core_->arena.next(core_->arena.base()); region.bytes != 0;
         region = core_->arena.next(region.base + region.bytes)) {
      const PageRange range{core_->table.page_of(region.base), region.bytes / kPageBytes};
      while (migrator_->to_host(range, Cause::kFork)
                     .stayed_for[static_cast<std::size_t>(StayReason::kHeld)] != 0 &&
             monotonic_ns() - start < patience) {
        std::this_thread::yield();
      }
    }
    core_->telemetry.record(EventKind::kFork, Cause::kFork, start, 0, 0, false);
  }
  core_->arena.mutex().lock();
  core_->peers->prepare_fork();
  core_->fork_prepared.store(true);
}

void ManagedEngine::after_fork_in_parent() noexcept {
  if (detached()) return;
  core_->host->settle();  // a handler may still be looking at the fork's event
  core_->fork_prepared.store(false);
  core_->peers->after_fork_in_parent();
  core_->arena.mutex().unlock();
  core_->gate.unlock();
  device_mutex_.unlock();
}

bool ManagedEngine::detached() const noexcept {
  // A child of a fork that bypassed the C library finds out here: the descriptors that it
  // inherited would move the parent's pages.
  return detached_.load(std::memory_order_relaxed) || ::getpid() != process_;
}

void ManagedEngine::after_fork_in_child() noexcept {
  if (detached_.exchange(true)) return;
  core_->peers->after_fork_in_child();
  core_->arena.mutex().unlock();
  core_->gate.unlock();
  device_mutex_.unlock();
  let_go();
}

void ManagedEngine::let_go() noexcept {
  core_->host->abandon();
  migrator_->abandon();
  new (&core_->released) std::condition_variable;  // as in Workers::abandon
  // The counters and events in a shared file are the parent's.
  core_->telemetry.make_private();
  // The device's threads and its driver's state do not exist here: it is left as it lies.
  (void)core_->device.release();
}

}  // namespace godwit
