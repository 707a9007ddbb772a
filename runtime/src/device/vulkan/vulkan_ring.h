// SPDX-License-Identifier: MIT
// Copies through a bounded ring of slots in host-visible memory and the transfer queue.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>

#include "runtime/src/device/device.h"
#include "runtime/src/device/vulkan/vulkan_memory.h"

namespace godwit::vulkan {

/// How long a copy may take before the device counts as lost. Where copies share a queue with
/// commands, time during which a command runs does not count, up to kCopyPatience such spans.
inline constexpr std::chrono::seconds kCopyBound{10};
inline constexpr int kCopyPatience = 60;

/// Any thread. A call that holds no slot waits for one, a call that holds some takes another only
/// if it is free: no two calls wait for each other. Allocates no host memory after create().
class Ring {
 public:
  static constexpr std::size_t kSlots = 8;
  static constexpr std::uint64_t kSlotBytes = kBlockBytes;
  /// Unit of submission to the device: while it copies one, the host fills the next.
  static constexpr std::uint64_t kPieceBytes = kSlotBytes / 4;

  /// `compute` is the timeline of commands, consulted where the queue is shared.
  [[nodiscard]] static Result<std::unique_ptr<Ring>> create(Gpu& gpu, Vram& vram, Source source,
                                                            Timeline& compute);
  /// Waits for what is under way.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// Copies; `ops` lie in VRAM whose segments exist. A copy to the host that fails leaves the
  /// bytes of the slot (2 MiB) that failed and of all later ones untouched.
  [[nodiscard]] int copy(Direction direction, std::span<const CopyOp> ops) noexcept;
  /// Stores zeros.
  [[nodiscard]] int clear(std::uint64_t vram, std::uint64_t bytes) noexcept;

 private:
  static constexpr std::size_t kCommands = kSlotBytes / kPieceBytes;

  struct Slot {
    VkCommandPool pool = VK_NULL_HANDLE;  // used by the holder of the slot only
    VkCommandBuffer commands[kCommands] = {};
    std::uint64_t offset = 0;  // in memory_
    bool held = false;         // guarded by lock_
  };
  /// A position in the bytes of a list of pieces.
  struct Cursor {
    std::size_t op = 0;
    std::uint64_t offset = 0;
  };
  /// One slot under way.
  struct Batch {
    Slot* slot = nullptr;
    Cursor begin;
    std::uint64_t bytes = 0;
    std::uint64_t value = 0;  // of the last submission, 0: nothing was submitted
  };

  Ring(Gpu& gpu, Vram& vram, Timeline& compute) : gpu_(gpu), vram_(vram), compute_(compute) {}

  /// A free slot; waits for one if `block`. 0, -EAGAIN if not blocking, -ETIMEDOUT, -ENODEV.
  [[nodiscard]] int acquire(bool block, Slot** slot) noexcept;
  void release(Slot& slot) noexcept;
  /// Fills and submits a slot from `*cursor` on, and moves the cursor past it.
  [[nodiscard]] int start(Direction direction, std::span<const CopyOp> ops, Cursor* cursor,
                          Batch* batch) noexcept;
  [[nodiscard]] int record(VkCommandBuffer commands, Direction direction,
                           std::span<const CopyOp> ops, Cursor cursor, std::uint64_t bytes,
                           std::uint64_t slot_offset) noexcept;
  /// Copies between the slot and the host pointers; returns the cursor after `bytes`.
  Cursor touch_host(Direction direction, std::span<const CopyOp> ops, Cursor cursor,
                    std::uint64_t bytes, std::byte* slot) noexcept;
  /// Waits for a value of timeline_ within the bound, and loses the device past it.
  [[nodiscard]] int finish(std::uint64_t value) noexcept;

  Gpu& gpu_;
  Vram& vram_;
  Timeline& compute_;
  std::unique_ptr<Timeline> timeline_;
  Buffer memory_;
  std::array<Slot, kSlots> slots_;
  std::mutex lock_;  // guards `held`; a leaf
  std::condition_variable freed_;
};

}  // namespace godwit::vulkan
