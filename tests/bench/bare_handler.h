// SPDX-License-Identifier: MIT
// The least that a userfaultfd program can do for a fault: one thread, one read, one UFFDIO_COPY.
#pragma once

#include <cstddef>
#include <memory>
#include <thread>

#include "godwit/result.h"

namespace godwit::bench {

class BareHandler {
 public:
  /// Serves faults in [base, base + bytes) with `unit` bytes from `source`, at the unit's boundary.
  [[nodiscard]] static Result<std::unique_ptr<BareHandler>> start(std::byte* base,
                                                                  std::size_t bytes,
                                                                  std::size_t unit,
                                                                  const std::byte* source);
  ~BareHandler();
  BareHandler(const BareHandler&) = delete;
  BareHandler& operator=(const BareHandler&) = delete;

 private:
  BareHandler(int fd, int stop, std::size_t unit, const std::byte* source)
      : fd_(fd), stop_(stop), unit_(unit), source_(source) {}
  void serve() noexcept;

  int fd_;
  int stop_;
  std::size_t unit_;
  const std::byte* source_;
  std::thread thread_;
};

}  // namespace godwit::bench
