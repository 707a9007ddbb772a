// SPDX-License-Identifier: MIT
// Threads that help with bulk moves. The caller of for_each() works along; with one thread nothing
// is started at all.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace godwit {

class Workers {
 public:
  /// `threads`: including the caller.
  explicit Workers(unsigned threads) : threads_(threads == 0 ? 1 : threads) {}
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// Runs work(index) for each index below `count`, in no particular order; returns when all are
  /// done. A second caller meanwhile works alone rather than wait.
  void for_each(std::size_t count, const std::function<void(std::size_t)>& work);

  /// In the child after a fork: the threads do not exist there.
  void abandon() noexcept;

 private:
  void start();
  void help();

  unsigned threads_;
  std::mutex busy_;  // held by the caller whose job it is
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable idle_;
  std::vector<std::thread> helpers_;
  const std::function<void(std::size_t)>* work_ = nullptr;  // protected by mutex_
  std::size_t count_ = 0;
  std::atomic<std::size_t> next_{0};
  unsigned active_ = 0;
  std::uint64_t job_ = 0;
  bool stop_ = false;
};

}  // namespace godwit
