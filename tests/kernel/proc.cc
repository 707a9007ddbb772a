// SPDX-License-Identifier: MIT
#include "tests/kernel/proc.h"

#include <fcntl.h>
#include <sys/klog.h>
#include <unistd.h>

#include <sstream>

#include "tests/kernel/guest.h"

namespace godwit::guest {

uint64_t figure(const std::string& path, const std::string& name) {
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    uint64_t value = 0;
    if (words >> word && (word == name || word == name + ":") && words >> value) return value;
  }
  ADD_FAILURE() << path << " tells nothing of " << name;
  return 0;
}

uint64_t poisoned_pages() { return figure("/proc/meminfo", "HardwareCorrupted") * 1024 / kPage; }

size_t logged(const std::string& what) {
  std::string text(size_t{4} << 20, 0);
  const int length = klogctl(3, text.data(), static_cast<int>(text.size()));
  text.resize(length > 0 ? static_cast<size_t>(length) : 0);
  size_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

std::vector<uint64_t> entries_of(const void* addr, size_t bytes) {
  const int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  std::vector<uint64_t> entries(bytes / kPage);
  const size_t length = entries.size() * sizeof(uint64_t);
  const auto at = static_cast<off_t>(reinterpret_cast<uintptr_t>(addr) / kPage * sizeof(uint64_t));
  EXPECT_EQ(pread(fd, entries.data(), length, at), static_cast<ssize_t>(length));
  close(fd);
  return entries;
}

uint64_t entry_of(const void* addr) { return entries_of(addr, kPage).front(); }

}  // namespace godwit::guest
