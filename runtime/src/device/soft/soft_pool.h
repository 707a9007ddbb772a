// SPDX-License-Identifier: MIT
// The compute threads of a soft device: one job at a time, split into parts.
#pragma once

#include <pthread.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "runtime/src/device/soft/soft_memory.h"

namespace godwit {

/// Starts a thread that takes no signals. 0 or -ENOMEM.
[[nodiscard]] int start_quiet_thread(pthread_t* thread, const char* name, void* (*body)(void*),
                                     void* argument) noexcept;

/// Worker 0 is the thread that calls parallel(); workers 1.. are threads of the pool. Only the
/// queue thread calls parallel(), so there is at most one job.
class SoftPool {
 public:
  static constexpr unsigned kMaxThreads = 256;
  /// What every worker has for packing; see soft_gemm.cc for the division.
  static constexpr std::size_t kScratchBytes = std::size_t{4} << 20;

  explicit SoftPool(unsigned threads) noexcept : threads_(threads) {}
  ~SoftPool() = default;
  SoftPool(const SoftPool&) = delete;
  SoftPool& operator=(const SoftPool&) = delete;

  /// Maps the scratch memory and starts the threads; fewer threads than asked for is not an error.
  [[nodiscard]] int start() noexcept;
  /// Stops the threads, so that start() may be called again; no job may be under way.
  void stop() noexcept;
  /// In a child, where the threads do not exist.
  void abandon() noexcept;

  [[nodiscard]] unsigned threads() const noexcept { return threads_; }
  [[nodiscard]] std::byte* scratch(unsigned worker) const noexcept {
    return scratch_.data() + worker * kScratchBytes;
  }

  /// Calls body(part, worker) for every part below `parts`, and returns when all are done.
  template <typename Body>
  void parallel(std::size_t parts, Body& body) noexcept {
    run(
        parts,
        [](void* context, std::size_t part, unsigned worker) noexcept {
          (*static_cast<Body*>(context))(part, worker);
        },
        &body);
  }

 private:
  using Call = void (*)(void* context, std::size_t part, unsigned worker) noexcept;
  struct Start {
    SoftPool* pool = nullptr;
    unsigned worker = 0;
  };

  void run(std::size_t parts, Call call, void* context) noexcept;
  void work(unsigned worker) noexcept;
  void take_parts(unsigned worker) noexcept;

  unsigned threads_;
  unsigned started_ = 0;  // threads of the pool that exist; written by start(), before any job
  std::array<pthread_t, kMaxThreads> handles_{};
  std::array<Start, kMaxThreads> starts_{};
  SoftMapping scratch_;

  std::mutex mutex_;  // protects job_, busy_ and stop_; a leaf, held for a few instructions
  std::condition_variable begin_;
  std::condition_variable end_;
  std::uint64_t job_ = 0;  // counts jobs; a worker that has seen a smaller number joins in
  unsigned busy_ = 0;      // workers that have not yet left the current job
  bool stop_ = false;

  // The current job: written under mutex_ before job_ grows, constant until busy_ is 0.
  Call call_ = nullptr;
  void* context_ = nullptr;
  std::size_t parts_ = 0;
  std::atomic<std::size_t> next_{0};
};

}  // namespace godwit
