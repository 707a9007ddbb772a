// SPDX-License-Identifier: MIT
// Memory cgroups.
#pragma once

#include <cstdint>
#include <string>

namespace godwit::guest {

// A control group with a limit of memory, without swap, in a hierarchy that is mounted for the test.
class Group {
 public:
  // limit: as memory.max takes it.
  explicit Group(const std::string& limit);
  // All processes of it must have ended.
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // Why there is none; empty where there is.
  const std::string& lacking() const { return lacking_; }
  // The calling process belongs to it from now on.
  bool enter() const;
  // Bytes that are charged to it.
  uint64_t charged() const;
  // Processes that the OOM killer has taken from it.
  uint64_t killed() const;

 private:
  std::string path() const { return at_ + "/godwit"; }
  std::string at_ = "/tmp/godwit.XXXXXX", lacking_;
  bool mounted_ = false, made_ = false;
};

}  // namespace godwit::guest
