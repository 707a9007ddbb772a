// SPDX-License-Identifier: MIT
// Errors of the runtime: a code that a program can act on, a sentence for a person, and the
// reasons that led to it (why each candidate was passed over, which page stayed).
#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <tl/expected.hpp>

namespace godwit {

enum class Code {
  kInvalidArgument,  // the caller's value; the message names it and the remedy
  kUnsupported,      // this engine or device cannot do it, ever
  kUnavailable,      // not on this machine or without these privileges
  kOutOfMemory,      // host memory, address space or VRAM; nothing was changed
  kRetry,            // lost a race more often than the bound allows; trying again may succeed
  kBusy,             // pages are pinned or held; the report says which
  kDeviceLost,       // the device is gone; host copies are whole
  kIo,               // a system call failed in a way that has no better code
};

/// The code's name as it is printed, for example "out of memory".
[[nodiscard]] std::string_view code_name(Code code);

struct Error {
  Code code;
  std::string message;
  std::vector<std::string> reasons = {};

  /// "message (code); reason; reason" on one line.
  [[nodiscard]] std::string to_string() const;
};

template <typename T = void>
using Result = tl::expected<T, Error>;

/// An Error ready to be returned from a function that returns any Result.
[[nodiscard]] inline tl::unexpected<Error> fail(Code code, std::string message,
                                                std::vector<std::string> reasons = {}) {
  return tl::unexpected<Error>(Error{code, std::move(message), std::move(reasons)});
}

/// The Error for a failed system call; `error` is the positive errno value.
[[nodiscard]] tl::unexpected<Error> fail_errno(int error, std::string_view what);

}  // namespace godwit
