// SPDX-License-Identifier: MIT
// An engine whose truth about residency is the runtime's own table: over userfaultfd ("user") or
// over a host that tests drive by hand ("fake").
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>

#include "runtime/src/engine/engine.h"
#include "runtime/src/engine/fault_service.h"
#include "runtime/src/engine/file_maps.h"
#include "runtime/src/peer/registry.h"
#include "runtime/src/transfer/migrator.h"

namespace godwit {

struct ManagedEngineOptions {
  std::string name = "user";
  std::size_t arena_bytes = 0;  // 0: see Arena::reserve
  std::size_t pool_bytes = 0;   // 0: 1/16 of RAM
  unsigned threads = 0;         // 0: one for each CPU, at most 4
  FaultAround fault_around;
  /// Makes the device when it is first needed.
  std::function<Result<std::unique_ptr<Device>>()> make_device;
};

class ManagedEngine final : public Engine, private peer::Home {
 public:
  /// `telemetry` outlives the engine.
  [[nodiscard]] static Result<std::unique_ptr<ManagedEngine>> create(
      std::unique_ptr<HostMemory> host, Telemetry& telemetry, ManagedEngineOptions options);
  ~ManagedEngine() override;

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
  [[nodiscard]] Result<> advise(const void* base, std::size_t bytes, Advice advice) override;
  [[nodiscard]] Result<> discard(const void* base, std::size_t bytes) override;
  [[nodiscard]] Result<> residency(const void* base, std::size_t bytes,
                                   std::span<Residency> pages) const override;
  [[nodiscard]] Result<std::unique_ptr<Hold>> acquire(std::span<const Operand> operands) override;
  [[nodiscard]] Result<std::uint64_t> capacity() override;
  [[nodiscard]] Result<std::unique_ptr<Hold>> scratch(std::size_t bytes) override;
  [[nodiscard]] Result<std::unique_ptr<PeerMapping>> map_peer(const void* base, std::size_t bytes,
                                                              PeerOptions options) override;
  [[nodiscard]] bool lent_to_peer(const void* base, std::size_t bytes) const noexcept override;
  void prepare_fork() noexcept override;
  void after_fork_in_parent() noexcept override;
  void after_fork_in_child() noexcept override;
  [[nodiscard]] bool detached() const noexcept override;

  /// For tests: what the engine is made of.
  [[nodiscard]] Core& core() { return *core_; }

 private:
  ManagedEngine(std::unique_ptr<Core> core, ManagedEngineOptions options);
  [[nodiscard]] Result<PageRange> range_of(const void* base, std::size_t bytes,
                                           const char* verb) const;
  [[nodiscard]] Result<> ready();
  void let_go() noexcept;
  // For peers; managed_peers.cc.
  [[nodiscard]] PageRange page_range_of(peer::Span span) const;
  [[nodiscard]] Result<peer::Place> admit(peer::Span span, bool standing) override;
  void dismiss(peer::Span span, bool standing, const peer::Place& place) noexcept override;
  [[nodiscard]] Result<peer::Grip> grip(peer::Span span, bool write,
                                        const peer::Place& place) override;

  std::unique_ptr<Core> core_;
  ManagedEngineOptions options_;
  std::unique_ptr<Migrator> migrator_;
  std::unique_ptr<FaultService> faults_;
  std::unique_ptr<FileMaps> files_;
  std::mutex device_mutex_;     // making the device
  std::atomic<bool> device_made_{false};
  std::mutex admission_mutex_;  // one acquire() at a time: two cannot wait for each other's frames
  std::atomic<bool> detached_{false};
  const pid_t process_ = ::getpid();
};

}  // namespace godwit
