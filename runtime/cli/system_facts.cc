// SPDX-License-Identifier: MIT
#include "runtime/cli/system_facts.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <string_view>
#include <system_error>
#include <tuple>

namespace godwit::cli {
namespace {

struct Feature {
  KernelVersion since;
  std::string_view text;
};

constexpr std::array kFeatures = {
    Feature{{6, 1}, "/dev/userfaultfd (Linux 6.1): userfaultfd for a group of users"},
    Feature{{6, 6}, "UFFDIO_POISON (Linux 6.6): level full needs it"},
    Feature{{6, 7}, "UFFD_FEATURE_WP_ASYNC and PAGEMAP_SCAN (Linux 6.7): every level needs them"},
    Feature{{6, 8}, "UFFDIO_MOVE (Linux 6.8): level full needs it"},
};

std::string first_line(const char* path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

bool effective_capability(unsigned capability) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("CapEff:")) continue;
    const std::size_t at = line.find_first_not_of(" \t", 7);
    if (at == std::string::npos) return false;
    std::uint64_t mask = 0;
    std::from_chars(line.data() + at, line.data() + line.size(), mask, 16);
    return (mask >> capability & 1) != 0;
  }
  return false;
}

std::string device_access() {
  const int fd = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (fd < 0) return std::generic_category().message(errno);
  ::close(fd);
  return "can be opened";
}

// "always [madvise] never"
std::string bracketed(const std::string& line) {
  const std::size_t open = line.find('[');
  const std::size_t close = line.find(']');
  if (open == std::string::npos || close == std::string::npos) return "not in this kernel";
  return line.substr(open + 1, close - open - 1);
}

}  // namespace

KernelVersion parse_kernel_version(const std::string& release) {
  KernelVersion version;
  const char* const end = release.data() + release.size();
  const auto major = std::from_chars(release.data(), end, version.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.') return {};
  const auto minor = std::from_chars(major.ptr + 1, end, version.minor);
  if (minor.ec != std::errc()) return {};
  return version;
}

std::vector<std::string> missing_from(KernelVersion version) {
  std::vector<std::string> result;
  for (const Feature& feature : kFeatures) {
    if (std::tie(version.major, version.minor) <
        std::tie(feature.since.major, feature.since.minor)) {
      result.emplace_back(feature.text);
    }
  }
  return result;
}

SystemFacts read_system_facts() {
  SystemFacts facts;
  utsname names{};
  if (::uname(&names) == 0) facts.kernel = names.release;
  facts.kernel_lacks = missing_from(parse_kernel_version(facts.kernel));
  facts.uid = ::geteuid();
  facts.cap_sys_ptrace = effective_capability(CAP_SYS_PTRACE);
  const std::string sysctl = first_line("/proc/sys/vm/unprivileged_userfaultfd");
  int value = 0;
  if (std::from_chars(sysctl.data(), sysctl.data() + sysctl.size(), value).ec == std::errc()) {
    facts.unprivileged_userfaultfd = value;
  }
  facts.userfaultfd_device = device_access();
  facts.transparent_huge_pages =
      bracketed(first_line("/sys/kernel/mm/transparent_hugepage/enabled"));
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && page > 0) {
    facts.ram_bytes = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
  }
  return facts;
}

}  // namespace godwit::cli
