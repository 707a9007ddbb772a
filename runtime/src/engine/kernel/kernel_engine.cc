// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/kernel_engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>

#include "runtime/src/base/inside.h"
#include "runtime/src/engine/kernel/kernel_hold.h"
#include "runtime/src/engine/kernel/move_rates.h"
#include "runtime/src/engine/kernel/render_node.h"

namespace godwit {
namespace {

using kernel::PageRun;
using kernel::pages_touched;

// How long an acquire() waits for VRAM that other commands were promised.
constexpr std::chrono::seconds kPatience{10};

/// What every call that moves or gives up pages does first.
class Entry {
 private:
  InsideScope inside_;
  SignalScope signals_;
};

std::string hex(const void* address) {
  char text[32];
  (void)std::snprintf(text, sizeof(text), "%p", address);
  return text;
}

std::string mebibytes(std::uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

Result<std::unique_ptr<KernelEngine>> KernelEngine::create(std::unique_ptr<kernel::Driver> driver,
                                                           Telemetry& telemetry,
                                                           KernelEngineOptions options) {
  const InsideScope inside;
  drm_godwit_device_info info = {};
  if (const int error = driver->query(&info); error != 0) {
    return fail(Code::kUnavailable, driver->path() + ": " + std::strerror(-error));
  }
  auto arena = Arena::reserve(options.arena_bytes);
  if (!arena) return tl::unexpected(arena.error());
  std::unique_ptr<KernelEngine> engine(new KernelEngine(
      std::move(driver), telemetry, std::move(options), std::move(*arena), info));
  if (auto started = engine->start_events(); !started) return tl::unexpected(started.error());
  engine->peer_home_ = std::make_unique<kernel::KernelPeers>(kernel::KernelPeers::Parts{
      *engine->driver_, engine->ring_.get(), engine->mover_, engine->info_.capabilities,
      [self = engine.get()] { return self->detached(); }});
  engine->peers_ = std::make_shared<peer::Registry>(*engine->peer_home_, telemetry);
  return engine;
}

KernelEngine::KernelEngine(std::unique_ptr<kernel::Driver> driver, Telemetry& telemetry,
                           KernelEngineOptions options, Arena arena,
                           const drm_godwit_device_info& info)
    : driver_(std::move(driver)),
      telemetry_(telemetry),
      options_(std::move(options)),
      arena_(std::move(arena)),
      info_(info),
      account_(*driver_, telemetry_),
      mover_(*driver_, account_),
      files_(mover_, telemetry_) {}

Result<> KernelEngine::start_events() {
  if ((info_.capabilities & GODWIT_CAP_EVENTS) == 0) return {};
  auto ring = kernel::EventRing::create(*driver_, options_.event_records,
                                        kernel::EventReader::kTypes);
  if (!ring) return tl::unexpected(ring.error());
  ring_ = std::move(*ring);
  known_ = std::make_unique<kernel::KnownRanges>(*driver_, *ring_);
  reader_ = std::make_unique<kernel::EventReader>(kernel::EventReader::Parts{
      *driver_, *ring_, *known_, account_, telemetry_});
  return reader_->start();
}

KernelEngine::~KernelEngine() {
  const InsideScope inside;
  if (detached() && !detached_.load()) after_fork_in_child();
  if (peers_ != nullptr) peers_->shut();
  reader_.reset();
  if (!detached()) account_.refresh();
  device_.reset();
  window_.reset();
}

EngineInfo KernelEngine::info() const {
  return {.name = "kernel",
          .level = "full",
          .access = driver_->path() + ", " + info_.name + ", " + kernel::kind_name(info_.kind) +
                    " VRAM, interface " + kernel::version_text(info_.uapi_version),
          .reasons = {},
          .arena_bytes = arena_.bytes()};
}

std::uint64_t KernelEngine::vram() const {
  const std::uint64_t all = align_down(info_.vram_total, kChunkBytes);
  const std::uint64_t wish = align_down(options_.vram_bytes, kChunkBytes);
  return wish == 0 ? all : std::min(all, wish);
}

Result<Device*> KernelEngine::device() {
  if (detached()) return fail(Code::kUnavailable, "no device in a forked child");
  if (device_made_.load(std::memory_order_acquire)) return device_.get();
  const InsideScope inside;
  const std::lock_guard guard(device_mutex_);
  if (device_made_.load(std::memory_order_relaxed)) return device_.get();
  if (window_ == nullptr) {
    auto window = kernel::ViewWindow::create(*driver_);
    if (!window) return tl::unexpected(window.error());
    (*window)->set_facts(kernel::measure_moves(*driver_, account_, vram(), info_.vram_total));
    window_ = std::move(*window);
  }
  auto made = options_.make_device(window_.get());
  if (!made) return tl::unexpected(made.error());
  device_ = std::move(*made);
  const DeviceInfo info = device_->info();
  telemetry_.set_names("kernel", std::string(info_.name) + ", computes: " + info.name);
  device_made_.store(true, std::memory_order_release);
  return device_.get();
}

Result<void*> KernelEngine::allocate(std::size_t bytes, std::size_t alignment) {
  const InsideScope inside;
  if (alignment == 0) alignment = 1;
  if ((alignment & (alignment - 1)) != 0) {
    return fail(Code::kInvalidArgument,
                "alignment " + std::to_string(alignment) + " is not a power of two");
  }
  if (bytes == 0) return fail(Code::kInvalidArgument, "a region of 0 bytes was asked for");
  std::byte* region = arena_.allocate(bytes, alignment);
  if (region == nullptr) {
    return fail(Code::kOutOfMemory, "no address space for a region of " + std::to_string(bytes) +
                                        " bytes in an arena of " + mebibytes(arena_.bytes()) +
                                        "; GODWIT_ARENA makes it larger");
  }
  Statistics& statistics = telemetry_.statistics();
  const std::uint64_t now = statistics.managed_bytes += arena_.size_at(region);
  if (now > statistics.managed_peak) statistics.managed_peak = now;
  return static_cast<void*>(region);
}

Result<void*> KernelEngine::map(const std::string& path, const MapOptions& options) {
  const Entry entry;
  if (detached()) {
    return fail(Code::kUnavailable, "map: this process is a forked child; use mmap");
  }
  auto source = FileSource::open(path, options);
  if (!source) return tl::unexpected(source.error());
  auto region = allocate(align_up((*source)->bytes(), kBlockBytes), kBlockBytes);
  if (!region) return region;
  auto loaded = files_.load(static_cast<std::byte*>(*region), std::move(*source));
  if (loaded) return region;
  (void)free(*region);
  return tl::unexpected(loaded.error());
}

Result<> KernelEngine::in_region(const void* base, std::size_t bytes, const char* verb) const {
  const Arena::Region region = arena_.contains(base) ? arena_.find(base) : Arena::Region{};
  const auto* start = static_cast<const std::byte*>(base);
  if (region.bytes == 0 ||
      bytes > static_cast<std::size_t>(region.base + region.bytes - start)) {
    return fail(Code::kInvalidArgument, std::string(verb) + ": " + std::to_string(bytes) +
                                            " bytes at " + hex(base) +
                                            " are not within one region of managed memory");
  }
  return {};
}

Result<std::size_t> KernelEngine::sync(const void* base, std::size_t bytes) {
  const Entry entry;
  if (bytes == 0) return std::size_t{0};
  if (auto inside = in_region(base, bytes, "sync"); !inside) {
    return tl::unexpected(inside.error());
  }
  if (detached()) {
    return fail(Code::kUnavailable, "sync: this process is a forked child: its memory is its own");
  }
  return files_.sync(arena_.find(base).base, pages_touched(base, bytes),
                     device_made_.load() ? window_.get() : nullptr);
}

/// Afterwards the memory reads as zero, whatever was done to it.
void KernelEngine::give_up(std::byte* region, std::size_t bytes) noexcept {
  if (detached()) {
    if (::madvise(region, bytes, MADV_DONTNEED) == 0) return;
  } else {
    drm_godwit_discard args = {};
    const int error =
        driver_->discard(reinterpret_cast<std::uintptr_t>(region), bytes, &args);
    if (error == 0 && args.skipped == 0) return;
    // The device is gone: without it this is an ordinary system call.
    if (error != 0 && ::madvise(region, bytes, MADV_DONTNEED) == 0) return;
  }
  // Locked, or unmapped in part.
  (void)::mmap(region, bytes, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

Result<> KernelEngine::free(void* region) {
  const Entry entry;
  const std::size_t bytes = size_of(region);
  if (bytes == 0) {
    return fail(Code::kInvalidArgument, "free: no region starts at " + hex(region));
  }
  auto* base = static_cast<std::byte*>(region);
  const peer::Span span = kernel::span_of(pages_touched(base, bytes));
  const peer::Pause pause(*peers_, span, Cause::kAdvice, false);
  if (pause.kept_pages() != 0) return kernel::kept_error("free");
  if (!detached()) {
    auto synced = files_.sync(base, pages_touched(base, bytes),
                              device_made_.load() ? window_.get() : nullptr);
    if (!synced) return tl::unexpected(synced.error());
    files_.forget(base);
    if (advice_.set(pages_touched(base, bytes), Advice::kNormal)) {
      (void)driver_->advise(reinterpret_cast<std::uintptr_t>(base), bytes, GODWIT_ADVICE_UNSET, 0);
    }
  }
  give_up(base, bytes);
  peers_->forget(span);
  telemetry_.statistics().managed_bytes -= bytes;
  (void)arena_.release(region);
  return {};
}

std::size_t KernelEngine::size_of(const void* region) const {
  return arena_.contains(region) ? arena_.size_at(region) : 0;
}

bool KernelEngine::manages(const void* address) const noexcept {
  return arena_.contains(address);
}

bool KernelEngine::lends(const void* base, std::size_t bytes) const noexcept {
  return base != nullptr && bytes != 0;
}

std::span<const std::byte> KernelEngine::bounds() const noexcept {
  return {arena_.base(), arena_.bytes()};
}

std::span<const std::byte> KernelEngine::next_region(const void* from) const {
  const Arena::Region region = arena_.next(from);
  return {region.base, region.bytes};
}

Result<> KernelEngine::ready() {
  if (detached()) {
    return fail(Code::kUnavailable, "this process is a forked child: its memory does not migrate");
  }
  auto made = device();
  if (!made) return tl::unexpected(made.error());
  return {};
}

Result<MoveReport> KernelEngine::prefetch(const void* base, std::size_t bytes, Place to) {
  const Entry entry;
  const auto range = kernel::range_of(base, bytes, "prefetch");
  if (!range) return tl::unexpected(range.error());
  const PageRun run = *range;
  if (run.bytes == 0) return MoveReport{};
  if (to == Place::kHost) {
    if (detached()) {
      MoveReport report;
      report.already = run.bytes / kPageBytes;
      return report;
    }
    auto report = mover_.home(run, Cause::kPrefetch);
    account_.refresh();
    return report;
  }
  if (detached()) {
    return fail(Code::kUnavailable, "this process is a forked child: its memory does not migrate");
  }
  if (advice_.any(run, Advice::kKeepHost)) {
    MoveReport report;
    report.stayed = run.bytes / kPageBytes;
    report.stayed_for[static_cast<std::size_t>(StayReason::kLocked)] = report.stayed;
    report.stays.push_back({reinterpret_cast<void*>(run.addr), report.stayed, StayReason::kLocked});
    return report;
  }
  const peer::Pause pause(*peers_, kernel::span_of(run), Cause::kPrefetch, true);
  auto report = kernel::move_around_peers(mover_, run, vram(), pause);
  if (report) {
    Statistics& statistics = telemetry_.statistics();
    for (std::size_t reason = 0; reason < kStayReasonCount; ++reason) {
      statistics.pages_stayed[reason] += report->stayed_for[reason];
    }
  }
  account_.refresh();
  return report;
}

Result<> KernelEngine::advise(const void* base, std::size_t bytes, Advice advice) {
  const Entry entry;
  const auto range = kernel::range_of(base, bytes, "advise");
  if (!range) return tl::unexpected(range.error());
  const PageRun run = *range;
  if (advice == Advice::kReadMostly) {
    return fail(Code::kUnsupported,
                "advise: the kernel module keeps each page in one place; there is no advice for "
                "copies of it");
  }
  if (base == nullptr) return fail(Code::kInvalidArgument, "advise: the range begins at 0");
  if (run.bytes == 0) return {};
  if (!advice_.set(run, advice) || detached()) return {};
  const bool keep = advice == Advice::kKeepHost;
  const int error = driver_->advise(run.addr, run.bytes,
                                    keep ? GODWIT_ADVICE_IN_PLACE : GODWIT_ADVICE_UNSET,
                                    keep ? 1 : 0);
  if (error != 0) {
    return fail(error == -ENODEV ? Code::kDeviceLost : Code::kIo,
                driver_->path() + ": advise: " + std::strerror(-error));
  }
  if (!keep) return {};
  auto report = mover_.home(run, Cause::kAdvice);
  if (!report) return tl::unexpected(report.error());
  account_.refresh();
  if (report->stayed != 0) {
    return fail(Code::kBusy,
                std::to_string(report->stayed) + " pages could not be brought to RAM");
  }
  return {};
}

Result<> KernelEngine::discard(const void* base, std::size_t bytes) {
  const Entry entry;
  const auto range = kernel::range_of(base, bytes, "discard");
  if (!range) return tl::unexpected(range.error());
  const PageRun run = *range;
  if (run.bytes == 0) return {};
  if (!arena_.contains(base) &&
      (run.addr != reinterpret_cast<std::uintptr_t>(base) || run.bytes != bytes)) {
    // A region's pages are its owner's alone; these have objects that nobody named.
    return fail(Code::kInvalidArgument,
                "discard: " + std::to_string(bytes) + " bytes at " + hex(base) +
                    " are not whole pages, and what is beside them would be lost: round the range "
                    "inwards to multiples of " + std::to_string(kPageBytes));
  }
  if (detached()) {
    (void)::madvise(reinterpret_cast<void*>(run.addr), run.bytes, MADV_DONTNEED);
    return {};
  }
  const peer::Pause pause(*peers_, kernel::span_of(run), Cause::kAdvice, false);
  if (pause.kept_pages() != 0) return kernel::kept_error("discard");
  drm_godwit_discard args = {};
  if (const int error = driver_->discard(run.addr, run.bytes, &args); error != 0) {
    return fail(error == -EINVAL ? Code::kInvalidArgument : Code::kIo,
                driver_->path() + ": discard: " + std::strerror(-error));
  }
  telemetry_.statistics().removed_pages += args.discarded;
  account_.refresh();
  if (args.skipped != 0) {
    return fail(Code::kBusy, "discard: " + std::to_string(args.skipped) +
                                 " pages were left alone: they are locked, pinned, of a file, or "
                                 "not mapped");
  }
  return {};
}

Result<> KernelEngine::residency(const void* base, std::size_t bytes,
                                 std::span<Residency> pages) const {
  const auto range = kernel::range_of(base, bytes, "residency");
  if (!range) return tl::unexpected(range.error());
  const PageRun run = *range;
  const std::size_t count = run.bytes / kPageBytes;
  if (pages.size() < count) {
    return fail(Code::kInvalidArgument, "residency: room for " + std::to_string(pages.size()) +
                                            " pages, the range touches " + std::to_string(count));
  }
  if (count == 0) return {};
  if (detached()) {
    std::fill_n(pages.begin(), count, Residency::kHost);
    return {};
  }
  if (known_ != nullptr && known_->in_vram(run.addr, run.bytes)) {
    std::fill_n(pages.begin(), count, Residency::kDevice);
    return {};
  }
  return mover_.residency(run, pages);
}

/// One run of an operand, to where a command of the device works on it.
Result<> KernelEngine::bring(PageRun run) {
  if (known_ != nullptr && known_->in_vram(run.addr, run.bytes)) return {};
  if (advice_.any(run, Advice::kKeepHost)) return {};
  const peer::Pause pause(*peers_, kernel::span_of(run), Cause::kDeviceAccess, true);
  bool complete = false;
  auto brought = kernel::bring_around_peers(mover_, run, pause, &complete);
  if (brought && complete && known_ != nullptr) known_->learn(run.addr, run.bytes);
  return brought;
}

Result<std::unique_ptr<Hold>> KernelEngine::acquire(std::span<const Operand> operands) {
  const Entry entry;
  auto usable = ready();
  if (!usable) return tl::unexpected(usable.error());
  std::vector<std::vector<PageRun>> runs;
  std::uint64_t wanted = 0;
  for (const Operand& operand : operands) {
    const auto range = kernel::range_of(operand.base, operand.extent(), "acquire");
    if (!range) return tl::unexpected(range.error());
    runs.push_back(kernel::runs_of(operand));
    wanted += kernel::chunk_bytes_of(runs.back());
  }
  if (wanted > vram()) {
    return fail(Code::kOutOfMemory, "the operands of one command need " + mebibytes(wanted) +
                                        " or more, the VRAM has " + mebibytes(vram()));
  }
  if (!admission_.enter(wanted, vram(), kPatience)) {
    return fail(Code::kOutOfMemory, "other commands held too much of " + mebibytes(vram()) +
                                        " of VRAM for " + std::to_string(kPatience.count()) +
                                        " seconds");
  }
  auto hold = std::make_unique<kernel::KernelHold>(admission_, wanted);
  for (std::size_t index = 0; index < operands.size(); ++index) {
    for (const PageRun& run : runs[index]) {
      auto brought = bring(run);
      if (!brought) return tl::unexpected(brought.error());
    }
    auto added =
        hold->add(operands[index].base, operands[index].extent(), runs[index], *window_);
    if (!added) return tl::unexpected(added.error());
  }
  account_.refresh();
  return std::unique_ptr<Hold>(std::move(hold));
}

Result<std::uint64_t> KernelEngine::capacity() {
  auto usable = ready();
  if (!usable) return tl::unexpected(usable.error());
  return vram();
}

Result<std::unique_ptr<Hold>> KernelEngine::scratch(std::size_t bytes) {
  const Entry entry;
  auto usable = ready();
  if (!usable) return tl::unexpected(usable.error());
  const std::uint64_t wanted = align_up(bytes, kChunkBytes);
  if (!admission_.enter(wanted, vram(), std::chrono::milliseconds(0))) {
    return fail(Code::kOutOfMemory, "no VRAM for " + mebibytes(bytes) + " of operands: " +
                                        mebibytes(vram()) + " in all, and commands hold some");
  }
  auto hold = std::make_unique<kernel::KernelHold>(admission_, wanted);
  auto memory = hold->make_memory(bytes);
  if (!memory) return tl::unexpected(memory.error());
  const PageRun run = pages_touched(*memory, bytes);
  bool complete = false;
  if (auto made = mover_.for_device(run, &complete); !made) return tl::unexpected(made.error());
  if (auto added = hold->add(*memory, bytes, {run}, *window_); !added) {
    return tl::unexpected(added.error());
  }
  account_.refresh();
  return std::unique_ptr<Hold>(std::move(hold));
}

Result<int> KernelEngine::view(const void* base, std::size_t bytes) {
  const Entry entry;
  if (detached()) {
    return fail(Code::kUnavailable, "this process is a forked child: its memory does not migrate");
  }
  const auto range = kernel::range_of(base, bytes, "view");
  if (!range) return tl::unexpected(range.error());
  const PageRun run = *range;
  const int fd = driver_->view(run.addr, run.bytes);
  if (fd >= 0) return fd;
  const Code code = fd == -EINVAL   ? Code::kInvalidArgument
                    : fd == -ENODEV ? Code::kDeviceLost
                                    : Code::kOutOfMemory;
  return fail(code, driver_->path() + ": no view of " + std::to_string(bytes) + " bytes at " +
                        hex(base) + ": " + std::strerror(-fd));
}

Result<std::unique_ptr<PeerMapping>> KernelEngine::map_peer(const void* base, std::size_t bytes,
                                                            PeerOptions options) {
  const InsideScope inside;
  if (options.standing && base == nullptr) {
    return peers_->map({0, align_down(~std::uintptr_t{0}, kPageBytes)}, std::move(options));
  }
  const auto range = kernel::range_of(base, bytes, "map_peer");
  if (!range) return tl::unexpected(range.error());
  const PageRun run = *range;
  if (base == nullptr || run.bytes == 0) {
    return fail(Code::kInvalidArgument, "map_peer: the range begins at 0, or has no bytes");
  }
  return peers_->map(kernel::span_of(run), std::move(options));
}

bool KernelEngine::lent_to_peer(const void* base, std::size_t bytes) const noexcept {
  const InsideScope inside;
  const auto first = reinterpret_cast<std::uintptr_t>(base);
  return peers_->lent({first, first + bytes});
}

void KernelEngine::refresh_statistics() const noexcept {
  if (!detached()) account_.refresh();
}

}  // namespace godwit
