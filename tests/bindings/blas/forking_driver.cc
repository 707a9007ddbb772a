// SPDX-License-Identifier: MIT
// A Vulkan driver that forks as it is loaded, as one does that has a helper load its kernel module,
// and then has nothing to offer.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

namespace {

[[gnu::constructor]] void start() {
  // What is buffered is not the child's to print.
  std::fflush(nullptr);
  const pid_t helper = fork();
  if (helper == 0) _exit(0);
  int status = -1;
  const bool ended = helper > 0 && waitpid(helper, &status, 0) == helper && status == 0;
  std::printf("driver: helper %s\n", ended ? "ran" : "failed");
  std::fflush(stdout);
}

}  // namespace

extern "C" [[gnu::visibility("default")]] void* vk_icdGetInstanceProcAddr(void*, const char*) {
  return nullptr;
}
