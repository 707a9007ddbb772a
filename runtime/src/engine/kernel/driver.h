// SPDX-License-Identifier: MIT
// The calls of the kernel module's interface, kernel/include/uapi/drm/godwit_drm.h, on one render
// node. The calls themselves are virtual: tests answer them in the module's place.
#pragma once

#include <godwit_drm.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "godwit/result.h"

namespace godwit::kernel {

/// Thread-safe. Numbers that are returned are 0 or a negative errno.
class Driver {
 public:
  virtual ~Driver() = default;
  /// One ioctl. What a signal interrupted is repeated.
  [[nodiscard]] virtual int call(unsigned long request, void* args) const noexcept = 0;
  /// A shared mapping of the node, or nullptr.
  [[nodiscard]] virtual void* map(std::uint64_t offset, std::size_t bytes) const noexcept = 0;
  virtual void unmap(void* at, std::size_t bytes) const noexcept = 0;
  /// Of the node, for poll(): POLLPRI while the event ring is not empty. -1: none.
  [[nodiscard]] virtual int fd() const noexcept = 0;
  /// How messages name it, for example "/dev/dri/renderD128".
  [[nodiscard]] virtual const std::string& path() const noexcept = 0;
  /// In a forked child: the parent's address space is no longer served through this descriptor.
  virtual void close() noexcept = 0;

  // The calls, typed. `args` holds the outputs also where a call failed.
  [[nodiscard]] int query(drm_godwit_device_info* info) const noexcept;
  [[nodiscard]] int query(drm_godwit_limits* limits) const noexcept;
  [[nodiscard]] int migrate(drm_godwit_migrate* args) const noexcept {
    return call(DRM_IOCTL_GODWIT_MIGRATE, args);
  }
  [[nodiscard]] int residency(std::uintptr_t addr, std::span<std::uint32_t> pages,
                              drm_godwit_residency* args) const noexcept;
  [[nodiscard]] int advise(std::uintptr_t addr, std::size_t bytes, std::uint32_t advice,
                           std::uint32_t value) const noexcept;
  [[nodiscard]] int discard(std::uintptr_t addr, std::size_t bytes,
                            drm_godwit_discard* args) const noexcept;
  /// The descriptor of a new view.
  [[nodiscard]] int view(std::uintptr_t addr, std::size_t bytes) const noexcept;
  [[nodiscard]] int stats(std::span<std::uint64_t> values) const noexcept;
};

/// Makes sure that driver and caller understand each other, and attaches the address space. Asks
/// before it attaches, so that a refusal can name both versions. `version` as GODWIT_UAPI_VERSION.
/// Errors: kUnavailable, with what would help.
[[nodiscard]] Result<drm_godwit_device_info> shake_hands(const Driver& driver,
                                                         std::uint32_t version);

/// "1.0"
[[nodiscard]] std::string version_text(std::uint32_t version);

}  // namespace godwit::kernel
