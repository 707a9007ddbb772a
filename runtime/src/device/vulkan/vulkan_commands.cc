// SPDX-License-Identifier: MIT
#include "runtime/src/device/vulkan/vulkan_commands.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>
#include <span>

#include "runtime/src/device/vulkan/vulkan_walk.h"

namespace godwit::vulkan {

Result<std::unique_ptr<Commands>> Commands::create(Gpu& gpu, Vram& vram, Timeline& timeline,
                                                   TicketCounter& tickets) {
  std::unique_ptr<Commands> commands(new Commands(gpu, vram, timeline, tickets));
  auto pipelines = Pipelines::create(gpu);
  if (!pipelines) return tl::unexpected(std::move(pipelines.error()));
  commands->pipelines_ = std::move(*pipelines);
  const std::uint64_t bytes = kSubmissions * kPartials * sizeof(std::uint64_t);
  if (Buffer::create_host(gpu, bytes, Use::kStaging, Source::kAuto, &commands->partials_) != 0) {
    return fail(Code::kOutOfMemory, "no host-visible memory for results");
  }
  commands->submissions_.resize(kSubmissions);
  for (std::size_t i = 0; i < kSubmissions; ++i) {
    Submission& submission = commands->submissions_[i];
    submission.index = i;
    VkCommandPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    info.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT;
    info.queueFamilyIndex = gpu.compute_queue().family;
    const VkResult result =
        gpu.vk.vkCreateCommandPool(gpu.handle(), &info, nullptr, &submission.pool);
    if (result != VK_SUCCESS) {
      submission.pool = VK_NULL_HANDLE;
      return fail(Code::kOutOfMemory, "no command pool", {result_name(result)});
    }
    commands->free_.push_back(&submission);
  }
  return commands;
}

Commands::~Commands() {
  timeline_.drain();
  for (const Submission& submission : submissions_) {
    if (submission.pool != VK_NULL_HANDLE) {
      gpu_.vk.vkDestroyCommandPool(gpu_.handle(), submission.pool, nullptr);
    }
  }
}

void Commands::reap_locked() noexcept {
  while (!pending_.empty()) {
    const Pending& oldest = pending_.front();
    bool complete = false;
    if (timeline_.poll(oldest.value, &complete) != 0 || !complete) return;
    Submission& submission = *oldest.submission;
    if (submission.sum != nullptr) {
      std::uint64_t sum = 0;
      const std::byte* at = partials_of(submission);
      for (std::uint32_t i = 0; i < submission.partial_count; ++i, at += sizeof sum) {
        std::uint64_t partial = 0;
        std::memcpy(&partial, at, sizeof partial);
        sum += partial;
      }
      *submission.sum = sum;
      submission.sum = nullptr;
    }
    if (submission.walk != nullptr) {
      *submission.walk = walk_result(partials_of(submission), submission.rows);
      submission.walk = nullptr;
    }
    free_.push_back(&submission);  // within its capacity
    pending_.pop_front();
    freed_.notify_one();
  }
}

int Commands::acquire(Submission** submission) noexcept {
  const Clock::time_point deadline = Clock::now() + kSubmitBound;
  std::unique_lock guard(lock_);
  for (;;) {
    if (gpu_.lost()) return -ENODEV;
    reap_locked();
    if (!free_.empty()) {
      *submission = free_.back();
      free_.pop_back();
      return 0;
    }
    if (Clock::now() >= deadline) return -ETIMEDOUT;
    freed_.wait_for(guard, kWaitSlice);
  }
}

void Commands::release(Submission& submission) noexcept {
  {
    const std::lock_guard guard(lock_);
    submission.sum = nullptr;
    submission.walk = nullptr;
    free_.push_back(&submission);
  }
  freed_.notify_one();
}

int Commands::submit(const Command& command, Ticket* ticket) noexcept {
  Submission* submission = nullptr;
  int error = acquire(&submission);
  if (error != 0) return error;
  try {
    error = record(command, *submission);
    if (error == 0) {
      const std::lock_guard guard(lock_);
      pending_.emplace_back();  // may throw; all that follows does not
      Pending& pending = pending_.back();
      if (submission->used != 0) {
        // All or none: a part of a product would leave a C that is neither the old nor the new.
        error = timeline_.submit(gpu_.compute_queue(),
                                 std::span(submission->commands).first(submission->used),
                                 &pending.value);
      }
      if (pending.value != 0) {
        pending.ticket = tickets_.next(TicketKind::kCommand);
        pending.submission = submission;
        if (ticket != nullptr) *ticket = pending.ticket;
        return 0;
      }
      pending_.pop_back();
      if (error == 0 && ticket != nullptr) *ticket = tickets_.next(TicketKind::kCommand);
    }
  } catch (const std::bad_alloc&) {
    error = -ENOMEM;
  }
  release(*submission);
  return error;
}

int Commands::wait(Ticket ticket, Clock::time_point deadline) noexcept {
  std::uint64_t value = 0;
  {
    const std::lock_guard guard(lock_);
    if (gpu_.lost()) return -ENODEV;
    reap_locked();
    const auto found =
        std::lower_bound(pending_.begin(), pending_.end(), ticket,
                         [](const Pending& pending, Ticket t) { return pending.ticket < t; });
    if (found == pending_.end() || found->ticket != ticket) return 0;
    value = found->value;
  }
  const int error = timeline_.wait(value, deadline);
  if (error != 0) return error;
  const std::lock_guard guard(lock_);
  reap_locked();
  return gpu_.lost() ? -ENODEV : 0;
}

bool Commands::done(Ticket ticket) noexcept {
  const std::lock_guard guard(lock_);
  if (gpu_.lost()) return true;
  reap_locked();
  return pending_.empty() || ticket < pending_.front().ticket ||
         ticket > pending_.back().ticket;
}

double Commands::measure(ScalarType type, std::uint64_t* used) {
  if (type == ScalarType::kDouble && !gpu_.physical().float64) return 0;
  double best = 0;
  for (const std::uint64_t n : {192, 1024, 2048}) {
    const std::uint64_t bytes = align_up(n * n * scalar_bytes(type), kChunkBytes);
    if (bytes * 3 > vram_.bytes() || bytes * 3 > vram_.segment_bytes()) break;
    *used = std::max(*used, bytes * 3);
    std::vector<std::uint64_t> frames(bytes * 3 / kChunkBytes);
    for (std::size_t i = 0; i < frames.size(); ++i) frames[i] = i * kChunkBytes;
    const std::span<const std::uint64_t> all(frames);
    const std::size_t count = frames.size() / 3;
    GemmCommand command;
    command.type = type;
    command.m = command.n = command.k = command.lda = command.ldb = command.ldc = n;
    command.a = {.chunks = all.subspan(0, count), .offset = 0, .bytes = bytes};
    command.b = {.chunks = all.subspan(count, count), .offset = 0, .bytes = bytes};
    command.c = {.chunks = all.subspan(2 * count), .offset = 0, .bytes = bytes};
    double seconds = 0;
    for (int round = 0; round < 2; ++round) {
      Ticket ticket = 0;
      const Clock::time_point start = Clock::now();
      if (submit(command, &ticket) != 0) return best;
      if (wait(ticket, start + std::chrono::seconds(10)) != 0) return best;
      seconds = std::chrono::duration<double>(Clock::now() - start).count();
    }
    const double cube = static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n);
    best = std::max(best, 2 * cube / std::max(seconds, 1e-9));
    // A quick device needs a larger matrix: the time is that of the launch.
    if (seconds > 2e-3) break;
  }
  return best;
}

}  // namespace godwit::vulkan
