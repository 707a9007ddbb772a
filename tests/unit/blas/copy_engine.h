// SPDX-License-Identifier: MIT
// An engine without faults: a hold copies chunks to VRAM and, when it ends, back. It says no on
// request, and writes down what it was asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "runtime/src/engine/engine.h"

namespace godwit::test {

class CopyEngine final : public Engine {
 public:
  /// `vram_bytes` of frames; `arena_bytes` of managed memory, all of it one region.
  CopyEngine(std::uint64_t vram_bytes, std::size_t arena_bytes);
  ~CopyEngine() override;

  // What a test may set, while no product runs.
  bool resident = false;       // level: pages are lent for reading only
  int refuse_acquires = 0;     // so many acquire() fail with kOutOfMemory
  Residency where = Residency::kHost;  // of every page
  bool is_detached = false;

  // What was asked for.
  std::vector<Operand> acquired;
  int scratches = 0;

  [[nodiscard]] std::byte* arena() const { return arena_; }
  [[nodiscard]] Device& soft() { return *device_; }
  [[nodiscard]] std::size_t frames_in_use();

  [[nodiscard]] EngineInfo info() const override { return {"copy", "full", "none", {}, bytes_}; }
  [[nodiscard]] Result<Device*> device() override { return device_.get(); }
  [[nodiscard]] Result<void*> allocate(std::size_t, std::size_t) override { return arena_; }
  [[nodiscard]] Result<void*> map(const std::string& /*path*/,
                                  const MapOptions& /*options*/) override {
    return fail(Code::kUnsupported, "no files here");
  }
  [[nodiscard]] Result<std::size_t> sync(const void* /*base*/, std::size_t /*bytes*/) override {
    return fail(Code::kUnsupported, "no files here");
  }
  Result<> free(void*) override { return {}; }
  [[nodiscard]] std::size_t size_of(const void*) const override { return bytes_; }
  [[nodiscard]] bool manages(const void* address) const noexcept override;
  [[nodiscard]] bool lends(const void* base, std::size_t bytes) const noexcept override {
    return manages(base) && manages(static_cast<const std::byte*>(base) + bytes - 1);
  }
  [[nodiscard]] std::span<const std::byte> bounds() const noexcept override {
    return {arena_, bytes_};
  }
  [[nodiscard]] std::span<const std::byte> next_region(const void*) const override { return {}; }
  [[nodiscard]] Result<MoveReport> prefetch(const void*, std::size_t, Place) override {
    return MoveReport{};
  }
  [[nodiscard]] Result<> advise(const void*, std::size_t, Advice) override { return {}; }
  [[nodiscard]] Result<> discard(const void*, std::size_t) override { return {}; }
  [[nodiscard]] Result<> residency(const void* base, std::size_t bytes,
                                   std::span<Residency> pages) const override;
  [[nodiscard]] Result<std::unique_ptr<Hold>> acquire(std::span<const Operand> operands) override;
  [[nodiscard]] Result<std::uint64_t> capacity() override { return vram_bytes_; }
  [[nodiscard]] Result<std::unique_ptr<Hold>> scratch(std::size_t bytes) override;
  void prepare_fork() noexcept override {}
  void after_fork_in_parent() noexcept override {}
  void after_fork_in_child() noexcept override {}
  [[nodiscard]] bool detached() const noexcept override { return is_detached; }

 private:
  class CopyHold;
  [[nodiscard]] bool take(std::size_t count, std::vector<std::uint64_t>& frames);
  void give_back(const std::vector<std::uint64_t>& frames);

  std::uint64_t vram_bytes_;
  std::size_t bytes_;
  std::byte* arena_;
  std::unique_ptr<Device> device_;
  std::mutex mutex_;
  std::vector<std::uint64_t> free_;
};

}  // namespace godwit::test
