// SPDX-License-Identifier: MIT
// The BLAS that a program would have called without us.
#pragma once

#include <atomic>

namespace godwit::blas {

/// One function of the next BLAS, looked up when it is first needed. Thread-safe; constant
/// initialised, because a program may multiply matrices before our constructors run.
class NextSymbol {
 public:
  constexpr explicit NextSymbol(const char* name) noexcept : name_(name) {}
  NextSymbol(const NextSymbol&) = delete;
  NextSymbol& operator=(const NextSymbol&) = delete;

  [[nodiscard]] const char* name() const noexcept { return name_; }
  /// Null where no loaded object has it. Looked for again once more objects have been loaded. The
  /// object that has it is never unloaded from then on.
  [[nodiscard]] void* address() noexcept;

 private:
  const char* const name_;
  std::atomic<void*> address_{nullptr};
  std::atomic<unsigned long long> loads_seen_{~0ULL};  // objects ever loaded at the last search
};

}  // namespace godwit::blas
