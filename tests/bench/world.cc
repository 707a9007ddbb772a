// SPDX-License-Identifier: MIT
#include "tests/bench/world.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "runtime/src/host/user/user_host.h"

namespace godwit::bench {

void give_up(const char* what, int error) {
  (void)std::fflush(stdout);
  (void)std::fprintf(stderr, "bench: %s: %s\n", what, std::strerror(error < 0 ? -error : error));
  std::exit(1);
}

Result<std::unique_ptr<World>> World::make(const WorldOptions& options) {
  auto host = make_user_host({.level = HostLevelWish::kFull, .handlers = options.handlers});
  if (!host) return tl::unexpected(host.error());
  auto telemetry = Telemetry::create("", 0);
  if (!telemetry) return tl::unexpected(telemetry.error());
  auto world = std::make_unique<World>();
  world->telemetry_ = std::move(*telemetry);
  ManagedEngineOptions engine_options;
  engine_options.arena_bytes = options.arena;
  engine_options.pool_bytes = std::max(options.pool, kBlockBytes);
  engine_options.threads = options.threads;
  engine_options.fault_around = options.around;
  engine_options.make_device = [vram = options.vram] {
    DeviceOptions device_options;
    device_options.vram_bytes = vram;
    return the_device(device_options);
  };
  auto engine =
      ManagedEngine::create(std::move(*host), *world->telemetry_, std::move(engine_options));
  if (!engine) return tl::unexpected(engine.error());
  world->engine_ = std::move(*engine);
  auto device = world->engine_->device();
  if (!device) return tl::unexpected(device.error());
  return world;
}

std::byte* World::written_region(std::size_t bytes) {
  auto made = engine_->allocate(bytes, kBlockBytes);
  if (!made) give_up("no region", ENOMEM);
  std::memset(*made, 1, bytes);
  return static_cast<std::byte*>(*made);
}

void World::touch_vram() {
  Device& device = **engine_->device();
  const int error = device.clear(0, device.info().vram_bytes);
  if (error != 0) give_up("clear VRAM", error);
}

void World::move(const std::byte* base, std::size_t bytes, Place to) {
  auto report = engine_->prefetch(base, bytes, to);
  if (!report) {
    (void)std::fprintf(stderr, "bench: prefetch: %s\n", report.error().to_string().c_str());
    std::exit(1);
  }
  if (report->stayed != 0) {
    (void)std::fprintf(stderr, "bench: %zu of %zu pages stayed behind in a prefetch:",
                       report->stayed, bytes / kPageBytes);
    for (std::size_t reason = 0; reason < kStayReasonCount; ++reason) {
      if (report->stayed_for[reason] == 0) continue;
      (void)std::fprintf(stderr, " %zu %s", report->stayed_for[reason],
                         std::string(stay_reason_name(static_cast<StayReason>(reason))).c_str());
    }
    (void)std::fprintf(stderr, "\n");
    std::exit(1);
  }
}

Plain::Plain(std::size_t bytes, Pages pages) : bytes_(bytes) {
  memory_ = ::mmap(nullptr, bytes + kBlockBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory_ == MAP_FAILED) give_up("mmap", errno);
  data_ = reinterpret_cast<std::byte*>(
      align_up(reinterpret_cast<std::uintptr_t>(memory_), kBlockBytes));
  (void)::madvise(memory_, bytes + kBlockBytes,
                  pages == Pages::kHuge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  std::memset(data_, 1, bytes);
}

Plain::~Plain() { ::munmap(memory_, bytes_ + kBlockBytes); }

std::size_t huge_bytes(const std::byte* base, std::size_t bytes) {
  const auto first = reinterpret_cast<std::uintptr_t>(base);
  std::ifstream maps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  std::size_t total = 0;
  while (std::getline(maps, line)) {
    unsigned long start = 0;
    unsigned long end = 0;
    std::size_t kib = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx ", &start, &end) == 2) {
      inside = start < first + bytes && end > first;
    } else if (inside && std::sscanf(line.c_str(), "AnonHugePages: %zu kB", &kib) == 1) {
      total += kib << 10;
    }
  }
  return std::min(total, bytes);
}

}  // namespace godwit::bench
