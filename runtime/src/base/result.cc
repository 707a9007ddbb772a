// SPDX-License-Identifier: MIT
#include "godwit/result.h"

#include <system_error>

namespace godwit {
namespace {

Code code_of(int error) {
  switch (error) {
    case EINVAL:
    case EDOM:
    case E2BIG:
    case EFAULT:
    case ERANGE:
      return Code::kInvalidArgument;
    case EOPNOTSUPP:
    case ENOSYS:
    case ENOTTY:
      return Code::kUnsupported;
    case ENOENT:
    case ENXIO:
    case EPERM:
    case EACCES:
      return Code::kUnavailable;
    case ENOMEM:
    case ENOSPC:
      return Code::kOutOfMemory;
    case EAGAIN:
    case EINTR:
    case ETIMEDOUT:
      return Code::kRetry;
    case EBUSY:
      return Code::kBusy;
    case ENODEV:
      return Code::kDeviceLost;
    default:
      return Code::kIo;
  }
}

}  // namespace

std::string_view code_name(Code code) {
  switch (code) {
    case Code::kInvalidArgument:
      return "invalid argument";
    case Code::kUnsupported:
      return "unsupported";
    case Code::kUnavailable:
      return "unavailable";
    case Code::kOutOfMemory:
      return "out of memory";
    case Code::kRetry:
      return "retry";
    case Code::kBusy:
      return "busy";
    case Code::kDeviceLost:
      return "device lost";
    case Code::kIo:
      return "input/output error";
  }
  return "unknown";
}

std::string Error::to_string() const {
  std::string text = message;
  text += " (";
  text += code_name(code);
  text += ')';
  for (const std::string& reason : reasons) {
    text += "; ";
    text += reason;
  }
  return text;
}

tl::unexpected<Error> fail_errno(int error, std::string_view what) {
  std::string message(what);
  message += ": ";
  // Not strerror, which is not safe in threads.
  message += std::generic_category().message(error);
  return fail(code_of(error), std::move(message));
}

}  // namespace godwit
