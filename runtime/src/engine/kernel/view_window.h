// SPDX-License-Identifier: MIT
// The memory of the process as the device sees it: views of the kernel module, each of one slot of
// addresses, mapped side by side. A view follows every change of its addresses, so a slot that was
// mapped once is right for ever; nothing here is invalidated.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "runtime/src/device/device.h"
#include "runtime/src/engine/kernel/driver.h"

namespace godwit::kernel {

class ViewWindow final : public DeviceWindow {
 public:
  static constexpr std::uint64_t kSlotBytes = std::uint64_t{1} << 30;
  static constexpr std::size_t kSlots = 768;  // the driver allows 1024 views

  /// Reserves address space for kSlots slots, or fewer where the limits do not allow that. Errors:
  /// kOutOfMemory.
  [[nodiscard]] static Result<std::unique_ptr<ViewWindow>> create(const Driver& driver);
  ~ViewWindow() override;
  ViewWindow(const ViewWindow&) = delete;
  ViewWindow& operator=(const ViewWindow&) = delete;

  /// Before a device is made on it.
  void set_facts(Facts facts) { facts_ = std::move(facts); }

  /// Where in the window the device finds an address. Makes the view of its slot at the first use.
  /// Errors: kOutOfMemory (no slot is left, or what the system lacks), kInvalidArgument for what is
  /// no address of a program.
  [[nodiscard]] Result<std::uint64_t> offset_of(std::uintptr_t address);

  [[nodiscard]] Facts facts() const override { return facts_; }
  [[nodiscard]] std::byte* base() const noexcept override { return base_; }
  [[nodiscard]] std::uint64_t bytes() const noexcept override { return bytes_; }
  [[nodiscard]] std::uint64_t slot_bytes() const noexcept override { return kSlotBytes; }
  [[nodiscard]] int slot_fd(std::size_t slot) const noexcept override;

  /// Held over a fork, so that the child's copy is whole.
  [[nodiscard]] std::mutex& mutex() { return mutex_; }
  /// In a forked child, which has none of the mappings.
  void abandon() noexcept { base_ = nullptr; }

 private:
  ViewWindow(const Driver& driver, std::byte* base, std::size_t bytes)
      : driver_(driver), base_(base), bytes_(bytes) {}

  const Driver& driver_;
  std::byte* base_;
  std::size_t bytes_;
  Facts facts_;
  mutable std::mutex mutex_;  // guards what follows
  std::unordered_map<std::uintptr_t, std::size_t> slot_of_;  // by address / kSlotBytes
  std::vector<int> fds_;                                     // by slot
};

}  // namespace godwit::kernel
