// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/driver.h"

#include <cerrno>
#include <cstring>

namespace godwit::kernel {
namespace {

template <typename Answer>
int ask(const Driver& driver, std::uint32_t what, Answer* answer) noexcept {
  *answer = {};
  drm_godwit_query args = {};
  args.what = what;
  args.size = sizeof(*answer);
  args.data = reinterpret_cast<std::uintptr_t>(answer);
  return driver.call(DRM_IOCTL_GODWIT_QUERY, &args);
}

std::uint32_t major(std::uint32_t version) { return version >> 16; }

}  // namespace

int Driver::query(drm_godwit_device_info* info) const noexcept {
  return ask(*this, GODWIT_QUERY_DEVICE, info);
}

int Driver::query(drm_godwit_limits* limits) const noexcept {
  return ask(*this, GODWIT_QUERY_LIMITS, limits);
}

int Driver::residency(std::uintptr_t addr, std::span<std::uint32_t> pages,
                      drm_godwit_residency* args) const noexcept {
  const std::size_t bytes = pages.size() * 4096;
  *args = {};
  args->addr = addr;
  args->length = bytes;
  args->pages = reinterpret_cast<std::uintptr_t>(pages.data());
  args->pages_size = pages.size_bytes();
  return call(DRM_IOCTL_GODWIT_RESIDENCY, args);
}

int Driver::advise(std::uintptr_t addr, std::size_t bytes, std::uint32_t advice,
                   std::uint32_t value) const noexcept {
  drm_godwit_advise args = {};
  args.addr = addr;
  args.length = bytes;
  args.advice = advice;
  args.value = value;
  return call(DRM_IOCTL_GODWIT_ADVISE, &args);
}

int Driver::discard(std::uintptr_t addr, std::size_t bytes,
                    drm_godwit_discard* args) const noexcept {
  *args = {};
  args->addr = addr;
  args->length = bytes;
  return call(DRM_IOCTL_GODWIT_DISCARD, args);
}

int Driver::view(std::uintptr_t addr, std::size_t bytes) const noexcept {
  drm_godwit_view args = {};
  args.addr = addr;
  args.length = bytes;
  const int error = call(DRM_IOCTL_GODWIT_VIEW, &args);
  return error != 0 ? error : args.fd;
}

int Driver::stats(std::span<std::uint64_t> values) const noexcept {
  drm_godwit_stats args = {};
  args.scope = GODWIT_STATS_CLIENT;
  args.count = static_cast<std::uint32_t>(values.size());
  args.values = reinterpret_cast<std::uintptr_t>(values.data());
  return call(DRM_IOCTL_GODWIT_STATS, &args);
}

std::string version_text(std::uint32_t version) {
  return std::to_string(major(version)) + "." + std::to_string(version & 0xffff);
}

Result<drm_godwit_device_info> shake_hands(const Driver& driver, std::uint32_t version) {
  drm_godwit_device_info info = {};
  if (const int error = driver.query(&info); error != 0) {
    return fail(Code::kUnavailable,
                driver.path() + ": the driver does not say what it is: " + std::strerror(-error));
  }
  const std::string both = driver.path() + ": the module serves interface " +
                           version_text(info.uapi_version) + ", this library was built for " +
                           version_text(version);
  if (major(info.uapi_version) != major(version)) {
    return fail(Code::kUnavailable,
                both + ": the two cannot work together; install " +
                    (major(info.uapi_version) < major(version) ? "the newer module"
                                                               : "the newer library"));
  }
  if (info.uapi_version < version) {
    return fail(Code::kUnavailable, both + ", which is newer; load a module of that version");
  }
  drm_godwit_attach args = {};
  args.client_version = version;
  switch (const int error = driver.call(DRM_IOCTL_GODWIT_ATTACH, &args); error) {
    case 0: return info;
    case -EPROTONOSUPPORT: return fail(Code::kUnavailable, both + ", and refuses that");
    default:
      return fail(Code::kUnavailable, driver.path() + ": cannot attach this process: " +
                                          std::strerror(-error));
  }
}

}  // namespace godwit::kernel
