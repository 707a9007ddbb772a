// SPDX-License-Identifier: MIT
#include "bindings/c/src/errors.h"

#include <cstddef>
#include <cstdio>

#include "godwit.h"

namespace godwit::c {
namespace {

// A plain buffer: no destructor that could run before a late caller's last error.
thread_local char sentence[1024];

}  // namespace

int code_of(Code code) noexcept {
  switch (code) {
    case Code::kInvalidArgument: return GODWIT_INVALID_ARGUMENT;
    case Code::kUnsupported: return GODWIT_UNSUPPORTED;
    case Code::kUnavailable: return GODWIT_UNAVAILABLE;
    case Code::kOutOfMemory: return GODWIT_OUT_OF_MEMORY;
    case Code::kRetry: return GODWIT_RETRY;
    case Code::kBusy: return GODWIT_BUSY;
    case Code::kDeviceLost: return GODWIT_DEVICE_LOST;
    case Code::kIo: return GODWIT_IO;
  }
  return GODWIT_IO;
}

int report(const Error& error) noexcept {
  try {
    return report(error.code, error.to_string());
  } catch (const std::bad_alloc&) {
    return report(error.code, std::string());
  }
}

int report(Code code, const std::string& message) noexcept {
  (void)std::snprintf(sentence, sizeof(sentence), "%s", message.c_str());
  return code_of(code);
}

const char* last_error() noexcept { return sentence; }

}  // namespace godwit::c
