// SPDX-License-Identifier: MIT
// The engine over the kernel module. The kernel has the truth about every page; what is here asks it,
// and translates between its words and the contract's. Any memory of the process can be moved.
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "runtime/src/engine/engine.h"
#include "runtime/src/engine/kernel/admission.h"
#include "runtime/src/engine/kernel/advice_map.h"
#include "runtime/src/engine/kernel/event_reader.h"
#include "runtime/src/engine/kernel/kernel_peers.h"
#include "runtime/src/engine/kernel/loaded_files.h"
#include "runtime/src/engine/kernel/mover.h"
#include "runtime/src/engine/kernel/view_window.h"
#include "runtime/src/region/arena.h"

namespace godwit {

struct KernelEngineOptions {
  std::size_t arena_bytes = 0;   // 0: see Arena::reserve
  std::uint64_t vram_bytes = 0;  // promised to commands at most; 0: all that the device has
  std::uint32_t event_records = 4096;  // of the ring, a power of two
  /// Makes what computes, on the window, when it is first needed.
  std::function<Result<std::unique_ptr<Device>>(DeviceWindow* window)> make_device;
};

class KernelEngine final : public Engine {
 public:
  /// `driver`: attached. `telemetry` outlives the engine. Errors: kUnavailable, kOutOfMemory.
  [[nodiscard]] static Result<std::unique_ptr<KernelEngine>> create(
      std::unique_ptr<kernel::Driver> driver, Telemetry& telemetry, KernelEngineOptions options);
  ~KernelEngine() override;

  [[nodiscard]] EngineInfo info() const override;
  [[nodiscard]] Result<Device*> device() override;
  [[nodiscard]] Result<void*> allocate(std::size_t bytes, std::size_t alignment) override;
  [[nodiscard]] Result<void*> map(const std::string& path, const MapOptions& options) override;
  [[nodiscard]] Result<std::size_t> sync(const void* base, std::size_t bytes) override;
  Result<> free(void* region) override;
  [[nodiscard]] std::size_t size_of(const void* region) const override;
  [[nodiscard]] bool manages(const void* address) const noexcept override;
  [[nodiscard]] bool lends(const void* base, std::size_t bytes) const noexcept override;
  [[nodiscard]] std::span<const std::byte> bounds() const noexcept override;
  [[nodiscard]] std::span<const std::byte> next_region(const void* from) const override;
  [[nodiscard]] Result<MoveReport> prefetch(const void* base, std::size_t bytes,
                                            Place to) override;
  /// kReadMostly is kUnsupported: the module keeps each page in one place.
  [[nodiscard]] Result<> advise(const void* base, std::size_t bytes, Advice advice) override;
  /// Memory that is not of a region: whole pages only, kInvalidArgument otherwise.
  [[nodiscard]] Result<> discard(const void* base, std::size_t bytes) override;
  [[nodiscard]] Result<> residency(const void* base, std::size_t bytes,
                                   std::span<Residency> pages) const override;
  [[nodiscard]] Result<std::unique_ptr<Hold>> acquire(std::span<const Operand> operands) override;
  [[nodiscard]] Result<std::uint64_t> capacity() override;
  [[nodiscard]] Result<std::unique_ptr<Hold>> scratch(std::size_t bytes) override;
  [[nodiscard]] Result<int> view(const void* base, std::size_t bytes) override;
  [[nodiscard]] Result<std::unique_ptr<PeerMapping>> map_peer(const void* base, std::size_t bytes,
                                                              PeerOptions options) override;
  [[nodiscard]] bool lent_to_peer(const void* base, std::size_t bytes) const noexcept override;
  void prepare_fork() noexcept override;
  void after_fork_in_parent() noexcept override;
  void after_fork_in_child() noexcept override;
  [[nodiscard]] bool detached() const noexcept override;
  void refresh_statistics() const noexcept override;

  [[nodiscard]] const kernel::Driver& driver() const { return *driver_; }
  /// For tests. Null where the device has no events.
  [[nodiscard]] kernel::EventReader* events() { return reader_.get(); }

 private:
  KernelEngine(std::unique_ptr<kernel::Driver> driver, Telemetry& telemetry,
               KernelEngineOptions options, Arena arena, const drm_godwit_device_info& info);
  [[nodiscard]] Result<> start_events();
  [[nodiscard]] Result<> ready();
  [[nodiscard]] Result<> in_region(const void* base, std::size_t bytes, const char* verb) const;
  [[nodiscard]] Result<> bring(kernel::PageRun run);
  void unlock_after_fork() noexcept;
  void give_up(std::byte* region, std::size_t bytes) noexcept;
  [[nodiscard]] std::uint64_t vram() const;

  std::unique_ptr<kernel::Driver> driver_;
  Telemetry& telemetry_;
  KernelEngineOptions options_;
  Arena arena_;
  drm_godwit_device_info info_;
  mutable kernel::Account account_;
  mutable kernel::Mover mover_;
  kernel::LoadedFiles files_;
  kernel::AdviceMap advice_;
  kernel::Admission admission_;
  std::unique_ptr<kernel::EventRing> ring_;  // null: the device has no events
  std::unique_ptr<kernel::KnownRanges> known_;
  std::unique_ptr<kernel::EventReader> reader_;
  std::unique_ptr<kernel::KernelPeers> peer_home_;
  std::shared_ptr<peer::Registry> peers_;
  std::mutex device_mutex_;  // making window and device; over a fork
  bool fork_prepared_ = false;  // under device_mutex_
  std::unique_ptr<kernel::ViewWindow> window_;
  std::unique_ptr<Device> device_;
  std::atomic<bool> device_made_{false};
  std::atomic<bool> detached_{false};
  const pid_t process_ = ::getpid();
};

}  // namespace godwit
