// SPDX-License-Identifier: MIT
// What the operating system grants, as far as an engine depends on it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace godwit::cli {

struct SystemFacts {
  std::string kernel;                     // "6.18.44"
  std::vector<std::string> kernel_lacks;  // one line each: what, since when Linux has it, what for
  std::uint32_t uid = 0;                  // effective
  bool cap_sys_ptrace = false;            // effective
  std::optional<int> unprivileged_userfaultfd;  // the sysctl; empty: this kernel has none
  std::string userfaultfd_device;               // "can be opened", or why not
  std::string transparent_huge_pages;           // "always", "madvise", "never"
  std::uint64_t ram_bytes = 0;
};

[[nodiscard]] SystemFacts read_system_facts();

/// The kernel's version as numbers; {0, 0} where it does not begin with two.
struct KernelVersion {
  unsigned major = 0;
  unsigned minor = 0;
};
[[nodiscard]] KernelVersion parse_kernel_version(const std::string& release);

/// What a kernel of that version lacks.
[[nodiscard]] std::vector<std::string> missing_from(KernelVersion version);

}  // namespace godwit::cli
