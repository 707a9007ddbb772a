// SPDX-License-Identifier: MIT
#include "tests/kernel/group.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/kernel/guest.h"
#include "tests/kernel/proc.h"

namespace godwit::guest {

Group::Group(const std::string& limit) {
  if (mkdtemp(at_.data()) == nullptr) {
    lacking_ = std::string("no folder for control groups: ") + strerror(errno);
    return;
  }
  if (mount("none", at_.c_str(), "cgroup2", 0, nullptr) != 0) {
    lacking_ = std::string("no control groups: ") + strerror(errno);
    return;
  }
  mounted_ = true;
  const int enabled = write_file(at_ + "/cgroup.subtree_control", "+memory");
  if (enabled != 0 || mkdir(path().c_str(), 0755) != 0) {
    lacking_ = std::string("no memory controller: ") + strerror(-enabled);
    return;
  }
  made_ = true;
  (void)write_file(path() + "/memory.swap.max", "0");
  EXPECT_EQ(write_file(path() + "/memory.max", limit), 0);
}

Group::~Group() {
  if (made_) {
    EXPECT_EQ(rmdir(path().c_str()), 0) << strerror(errno);
  }
  if (mounted_) umount2(at_.c_str(), MNT_DETACH);
  rmdir(at_.c_str());
}

bool Group::enter() const { return write_file(path() + "/cgroup.procs", "0") == 0; }

uint64_t Group::charged() const { return std::strtoull(read_file(path() + "/memory.current").c_str(), nullptr, 10); }

uint64_t Group::killed() const { return figure(path() + "/memory.events", "oom_kill"); }

}  // namespace godwit::guest
