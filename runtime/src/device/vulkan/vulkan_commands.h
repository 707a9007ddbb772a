// SPDX-License-Identifier: MIT
// Commands on the compute queue: a bounded pool of submissions, and their completion in order.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/src/device/device.h"
#include "runtime/src/device/vulkan/vulkan_gemm.h"
#include "runtime/src/device/vulkan/vulkan_memory.h"
#include "runtime/src/device/vulkan/vulkan_pipelines.h"
#include "runtime/src/device/vulkan/vulkan_tickets.h"

namespace godwit::vulkan {

/// Any thread. No lock is held while the device works or a shader is compiled.
class Commands {
 public:
  static constexpr std::size_t kSubmissions = 64;
  /// How long submit() waits for one of kSubmissions to become free before -ETIMEDOUT.
  static constexpr std::chrono::seconds kSubmitBound{60};

  [[nodiscard]] static Result<std::unique_ptr<Commands>> create(Gpu& gpu, Vram& vram,
                                                                Timeline& timeline,
                                                                TicketCounter& tickets);
  /// Waits for what is under way.
  ~Commands();
  Commands(const Commands&) = delete;
  Commands& operator=(const Commands&) = delete;

  [[nodiscard]] int submit(const Command& command, Ticket* ticket) noexcept;
  [[nodiscard]] int wait(Ticket ticket, Clock::time_point deadline) noexcept;
  [[nodiscard]] bool done(Ticket ticket) noexcept;

  /// Flop a second of a square GEMM, 0 where the device or its VRAM does not suffice. *used grows
  /// to the bytes at VRAM offset 0 whose contents are lost. Takes milliseconds, and what compiling
  /// takes.
  [[nodiscard]] double measure(ScalarType type, std::uint64_t* used);

 private:
  static constexpr std::uint32_t kPartials = 256;  // 64-bit sums of one SumCommand

  /// What one command needs on the device. Used by the thread that took it, until it is pending.
  struct Submission {
    VkCommandPool pool = VK_NULL_HANDLE;
    std::vector<VkCommandBuffer> commands;
    std::size_t used = 0;             // of `commands`
    Buffer tables;                    // grows
    std::size_t index = 0;            // of the partial sums
    std::uint32_t partial_count = 0;  // SumCommand: to be added up
    std::uint64_t* sum = nullptr;
    WalkResult* walk = nullptr;  // WalkCommand: the state of the walk is where sums would be
    bool rows = false;           // it is one partial result a workgroup
  };
  struct Pending {
    Ticket ticket = 0;
    std::uint64_t value = 0;  // of timeline_
    Submission* submission = nullptr;
  };

  Commands(Gpu& gpu, Vram& vram, Timeline& timeline, TicketCounter& tickets)
      : gpu_(gpu), vram_(vram), timeline_(timeline), tickets_(tickets) {}

  [[nodiscard]] int acquire(Submission** submission) noexcept;
  void release(Submission& submission) noexcept;
  /// Takes what is complete off pending_ and delivers its sums. lock_ is held.
  void reap_locked() noexcept;

  [[nodiscard]] int record(const Command& command, Submission& submission);
  [[nodiscard]] int record_words(WordOperation operation, const DeviceSpan& span,
                                 std::uint32_t value, Submission& submission);
  [[nodiscard]] int record_walk(const WalkCommand& command, Submission& submission);
  void record_nodes(const WalkCommand& command, const Submission& submission,
                    VkCommandBuffer commands) noexcept;
  void record_rows(const WalkCommand& command, const Submission& submission,
                   VkCommandBuffer commands) noexcept;
  [[nodiscard]] int record_gemm(const GemmCommand& command, const GemmExtents& extents,
                                Submission& submission);
  [[nodiscard]] int begin(Submission& submission, VkCommandBuffer* commands);
  /// The walk's memories as shaders/memory.glsl has them, at the beginning of the tables.
  [[nodiscard]] int place_memories(const WalkCommand& command, Submission& submission);
  /// Where a submission has its partial sums, or the state of its walk.
  [[nodiscard]] std::byte* partials_of(const Submission& submission) noexcept {
    return partials_.data() + submission.index * kPartials * sizeof(std::uint64_t);
  }
  [[nodiscard]] VkDeviceAddress partials_address(const Submission& submission) const noexcept {
    return partials_.address() + submission.index * kPartials * sizeof(std::uint64_t);
  }
  /// Of the table of the first `bytes` bytes of a span.
  [[nodiscard]] static std::uint64_t table_bytes(const DeviceSpan& span,
                                                 std::uint64_t bytes) noexcept;
  /// Room for tables of `bytes` bytes.
  [[nodiscard]] int reserve(Submission& submission, std::uint64_t bytes) noexcept;
  /// Translates the first `bytes` bytes of `span`; a table goes to `at` of the tables, which moves.
  [[nodiscard]] int translate(const DeviceSpan& span, std::uint64_t bytes, Submission& submission,
                              std::uint64_t* at, ShaderSpan* out) noexcept;

  Gpu& gpu_;
  Vram& vram_;
  Timeline& timeline_;
  TicketCounter& tickets_;
  std::unique_ptr<Pipelines> pipelines_;
  Buffer partials_;
  std::vector<Submission> submissions_;

  // Guards free_ and pending_, and is held while the command buffers of one command are submitted:
  // commands run in the order of their tickets. Nothing blocks under it.
  std::mutex lock_;
  std::condition_variable freed_;
  std::vector<Submission*> free_;
  std::deque<Pending> pending_;
};

}  // namespace godwit::vulkan
