// SPDX-License-Identifier: MIT
// For LD_PRELOAD: a program that can take its buffers from a file (fio, with
// --iomem=mmapshared:FILE) gets them from VRAM, where FILE is a render node of godwit.ko. A node
// has no memory at offset 0, which is what such programs map: an object is made for them, of the
// size that they ask for.
//
// With OBJECT_MMAP_MOVES set, a thread moves each object to RAM and back for as long as it is
// mapped. When it is unmapped, a line on standard error says where it was, how often it moved, and
// how many pages the device has moved to RAM.
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "godwit_drm.h"

namespace {

struct Mapped {
  void* data = nullptr;
  size_t bytes = 0;
  // Our own: the program may close its own.
  int node = -1;
  uint32_t handle = 0;
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> moves{0}, busy{0};
  std::thread mover;
};

std::mutex lock;
std::vector<Mapped*>& mapped() {
  static auto* all = new std::vector<Mapped*>;
  return *all;
}

void* kernel_mmap(void* at, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return reinterpret_cast<void*>(syscall(SYS_mmap, at, bytes, protection, flags, fd, offset));
}

bool is_node(int fd) {
  char name[16] = {};
  drm_version version = {};
  version.name = name;
  version.name_len = sizeof(name) - 1;
  return ioctl(fd, DRM_IOCTL_VERSION, &version) == 0 && strcmp(name, "godwit") == 0;
}

void move_about(Mapped* object) {
  for (uint32_t turn = 0; !object->stop; ++turn) {
    drm_godwit_gem_move args = {};
    args.handle = object->handle;
    args.place = turn % 2 == 0 ? GODWIT_PLACE_SYSTEM : GODWIT_PLACE_VRAM;
    ++(ioctl(object->node, DRM_IOCTL_GODWIT_GEM_MOVE, &args) == 0 ? object->moves : object->busy);
    // As often as anybody would. Without a pause a transfer that needs many of its pages at once may wait for a second.
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void* map_object(size_t bytes, int protection, int fd) {
  auto object = std::make_unique<Mapped>();
  object->bytes = bytes;
  object->node = dup(fd);
  drm_godwit_gem_create args = {};
  args.size = bytes;
  args.place = GODWIT_PLACE_VRAM;
  if (ioctl(object->node, DRM_IOCTL_GODWIT_GEM_CREATE, &args) != 0) {
    close(object->node);
    return MAP_FAILED;
  }
  object->handle = args.handle;
  object->data = kernel_mmap(nullptr, bytes, protection, MAP_SHARED, object->node,
                             static_cast<off_t>(args.map_offset));
  if (object->data == MAP_FAILED) {
    close(object->node);
    return MAP_FAILED;
  }
  if (getenv("OBJECT_MMAP_MOVES") != nullptr) object->mover = std::thread(move_about, object.get());
  const std::lock_guard<std::mutex> guard(lock);
  mapped().push_back(object.release());
  return mapped().back()->data;
}

uint64_t pages_home(int node) {
  uint64_t values[GODWIT_STAT_COUNT] = {};
  drm_godwit_stats args = {};
  args.scope = GODWIT_STATS_DEVICE;
  args.count = GODWIT_STAT_COUNT;
  args.values = reinterpret_cast<uintptr_t>(values);
  ioctl(node, DRM_IOCTL_GODWIT_STATS, &args);
  return values[GODWIT_STAT_PAGES_HOME];
}

void tell(Mapped* object) {
  object->stop = true;
  if (object->mover.joinable()) object->mover.join();
  drm_godwit_gem_info args = {};
  args.handle = object->handle;
  ioctl(object->node, DRM_IOCTL_GODWIT_GEM_INFO, &args);
  fprintf(stderr, "object_mmap: %zu bytes in %s, %llu moves, %llu refused, %llu pages home\n",
          object->bytes, args.place == GODWIT_PLACE_VRAM ? "vram" : "ram",
          static_cast<unsigned long long>(object->moves),
          static_cast<unsigned long long>(object->busy),
          static_cast<unsigned long long>(pages_home(object->node)));
  close(object->node);
}

}  // namespace

extern "C" void* mmap(void* at, size_t bytes, int protection, int flags, int fd,
                      off_t offset) noexcept {
  if (fd >= 0 && offset == 0 && (flags & MAP_SHARED) != 0 && is_node(fd))
    return map_object(bytes, protection, fd);
  return kernel_mmap(at, bytes, protection, flags, fd, offset);
}

extern "C" void* mmap64(void* at, size_t bytes, int protection, int flags, int fd,
                        off_t offset) noexcept {
  return mmap(at, bytes, protection, flags, fd, offset);
}

extern "C" int munmap(void* at, size_t bytes) noexcept {
  Mapped* gone = nullptr;
  {
    const std::lock_guard<std::mutex> guard(lock);
    for (auto& object : mapped()) {
      if (object == nullptr || object->data != at) continue;
      gone = object;
      object = nullptr;
    }
  }
  if (gone != nullptr) tell(gone);
  return static_cast<int>(syscall(SYS_munmap, at, bytes));
}
