// SPDX-License-Identifier: MIT
// HostMemory without an operating system's help: presence is a table, and an access is a call. A
// test decides when each fault happens, and makes any step fail. Bytes that were taken away read
// as kGone, so that an access without touch() is seen in the data.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/src/host/host_memory.h"

namespace godwit {

/// The steps that a test can make fail.
enum class FakeStep : std::uint8_t { kArm, kTakeOut, kPutIn, kCopyIn, kZeroIn, kTrack, kPopulate };

class FakeHost final : public HostMemory {
 public:
  static constexpr std::byte kGone{0xdb};

  explicit FakeHost(HostLevel level);
  ~FakeHost() override = default;

  /// What a load (or store) of every byte of the range would do: faults until it may go on.
  /// -EFAULT: poisoned; -ETIMEDOUT: nobody served the fault within the bound. `access` loads or
  /// stores the bytes, part by part in ascending order, each while its page cannot be taken away.
  using Access = std::function<void(std::byte* part, std::size_t bytes)>;
  [[nodiscard]] int touch(const void* address, std::size_t bytes, bool write,
                          const Access& access = {});

  /// The next `count` calls of the step answer -error. Pages that are pinned answer -EBUSY to
  /// take_out, always.
  void fail_next(FakeStep step, int error, int count = 1);
  void pin(const void* address, std::size_t bytes, bool pinned);
  /// Pages that were dropped while they were pinned: a device goes on writing to what nobody sees.
  [[nodiscard]] std::size_t orphans() const noexcept { return orphans_.load(); }
  /// How often threads that wait for a page were woken by a call of its own.
  [[nodiscard]] std::size_t wakes() const noexcept { return wakes_.load(); }

  [[nodiscard]] const HostInfo& info() const noexcept override { return info_; }
  [[nodiscard]] Result<> attach(std::byte* base, std::size_t bytes, FaultSink* sink) override;
  void detach() noexcept override {}
  [[nodiscard]] int arm(std::byte* address, std::size_t bytes) noexcept override;
  [[nodiscard]] int disarm(std::byte* address, std::size_t bytes) noexcept override;
  [[nodiscard]] int take_out(std::byte* address, std::byte* slot, std::size_t bytes,
                             std::size_t* moved) noexcept override;
  [[nodiscard]] int put_in(std::byte* address, std::byte* slot, std::size_t bytes,
                           std::size_t* moved) noexcept override;
  [[nodiscard]] int copy_in(std::byte* address, const std::byte* source, std::size_t bytes,
                            bool tracked, std::size_t* copied) noexcept override;
  [[nodiscard]] int peek(const std::byte* address, std::byte* to) noexcept override;
  void store(std::byte* address, std::span<const std::byte> bytes) noexcept override;
  [[nodiscard]] int zero_in(std::byte* address, std::size_t bytes, bool write) noexcept override;
  [[nodiscard]] int poison(std::byte* address, std::size_t bytes) noexcept override;
  [[nodiscard]] int drop(std::byte* address, std::size_t bytes) noexcept override;
  [[nodiscard]] int renew(std::byte* /*address*/, std::size_t /*bytes*/,
                          bool /*armed*/) noexcept override {
    return 0;
  }
  [[nodiscard]] int wake(std::byte* address, std::size_t bytes) noexcept override;
  [[nodiscard]] int track(std::byte* address, std::size_t bytes, bool on) noexcept override;
  [[nodiscard]] int scan_present(std::byte* address,
                                 std::span<std::uint8_t> present) noexcept override;
  [[nodiscard]] int scan_written(std::byte* address,
                                 std::span<std::uint8_t> written) noexcept override;
  [[nodiscard]] int unshare(std::byte* address, std::size_t bytes) noexcept override;
  [[nodiscard]] int populate(std::byte* address, std::size_t bytes, bool write) noexcept override {
    return touch(address, bytes, write);
  }
  [[nodiscard]] Result<std::byte*> reserve_slots(std::size_t bytes, bool huge) override;
  void release_slots(std::byte* slots, std::size_t bytes) noexcept override;
  [[nodiscard]] int populate_slot(std::byte* slot, std::size_t bytes) noexcept override;
  [[nodiscard]] int purge_slot(std::byte* slot, std::size_t bytes) noexcept override;
  void settle() noexcept override {}
  void abandon() noexcept override {}

 private:
  enum Flag : std::uint8_t {
    kPresent = 1,
    kTracked = 2,
    kWritten = 4,
    kPoisoned = 8,
    kPinned = 16,
    kArmed = 32
  };
  [[nodiscard]] int scripted(FakeStep step) noexcept;
  [[nodiscard]] std::uint8_t& flags(const std::byte* address) noexcept {
    return flags_[static_cast<std::size_t>(address - base_) / 4096];
  }
  template <typename Visit>
  void each_page(std::byte* address, std::size_t bytes, Visit visit) noexcept {
    for (std::size_t done = 0; done < bytes; done += 4096) visit(address + done);
  }

  HostInfo info_;
  FaultSink* sink_ = nullptr;
  std::byte* base_ = nullptr;
  std::mutex mutex_;  // protects all below; never held while the sink is called
  std::vector<std::uint8_t> flags_;
  struct Script {
    int error = 0;
    int count = 0;
  };
  Script scripts_[7];
  std::atomic<std::size_t> orphans_{0};
  std::atomic<std::size_t> wakes_{0};
};

}  // namespace godwit
