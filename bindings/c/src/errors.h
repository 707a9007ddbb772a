// SPDX-License-Identifier: MIT
// From the runtime's errors to codes and the sentence that godwit_last_error() tells.
#pragma once

#include <string>

#include "godwit/result.h"

namespace godwit::c {

/// Keeps the sentence for this thread and returns the code.
int report(const Error& error) noexcept;
int report(Code code, const std::string& message) noexcept;
[[nodiscard]] int code_of(Code code) noexcept;
[[nodiscard]] const char* last_error() noexcept;

/// Runs `body`, which returns an int code; an exception becomes a code.
template <typename Body>
int guarded(Body body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return report(Code::kOutOfMemory, "out of memory");
  } catch (const std::exception& problem) {
    return report(Code::kIo, problem.what());
  }
}

}  // namespace godwit::c
