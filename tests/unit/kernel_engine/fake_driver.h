// SPDX-License-Identifier: MIT
// A stand-in for the kernel module: pages of a small range of addresses, a ring, counters, and any
// version. A test moves pages behind the runtime's back, or loses events.
#pragma once

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "godwit/units.h"
#include "runtime/src/engine/kernel/driver.h"

namespace godwit::kernel::test {

class FakeDriver final : public Driver {
 public:
  static constexpr std::uint32_t kWords = 8;
  static constexpr std::uint32_t kCapacity = 8;

  std::uint32_t version = GODWIT_UAPI_VERSION;  // that the module was built with
  int query_error = 0;
  int migrate_error = 0;  // of every migration, which then moves nothing
  mutable std::map<std::uintptr_t, bool> in_vram;  // by page address
  mutable std::map<std::uint32_t, std::pair<std::uintptr_t, std::size_t>> watched;
  mutable std::array<std::uint64_t, GODWIT_STAT_COUNT> stats_now{};
  mutable int residency_calls = 0;

  FakeDriver() : memory_(kRecords + kCapacity * sizeof(drm_godwit_event)) {
    drm_godwit_ring& ring = header();
    ring.capacity = kCapacity;
    ring.record_size = sizeof(drm_godwit_event);
    ring.records_offset = kRecords;
    ring.generations_offset = sizeof(drm_godwit_ring);
    ring.generations = kWords;
  }

  drm_godwit_ring& header() { return *reinterpret_cast<drm_godwit_ring*>(memory_.data()); }

  /// As the kernel does: the word changes, then the page moves.
  void move(std::uintptr_t page, bool to_vram) const {
    auto* words = reinterpret_cast<std::uint64_t*>(
        const_cast<std::byte*>(memory_.data()) + sizeof(drm_godwit_ring));
    for (const auto& [word, range] : watched) {
      if (page >= range.first && page < range.first + range.second) ++words[word];
    }
    in_vram[page] = to_vram;
  }
  /// Stores an event, or loses it where the ring is full.
  void post(std::uint16_t cause, std::uintptr_t addr, std::size_t bytes,
            std::uint8_t to = GODWIT_PLACE_SYSTEM) {
    drm_godwit_ring& ring = header();
    ++sequence_;
    if (ring.head - ring.tail == kCapacity) {
      ++ring.lost;
      return;
    }
    auto* records = reinterpret_cast<drm_godwit_event*>(memory_.data() + kRecords);
    drm_godwit_event& event = records[ring.head % kCapacity];
    event = {};
    event.sequence = sequence_;
    event.addr = addr;
    event.length = bytes;
    event.pages = static_cast<std::uint32_t>(bytes / kPageBytes);
    event.type = GODWIT_EVENT_MIGRATE;
    event.cause = cause;
    event.to = to;
    ++ring.head;
  }

  [[nodiscard]] int call(unsigned long request, void* args) const noexcept override {
    switch (request) {
      case DRM_IOCTL_GODWIT_QUERY: return query_call(static_cast<drm_godwit_query*>(args));
      case DRM_IOCTL_GODWIT_ATTACH: return attach(static_cast<drm_godwit_attach*>(args));
      case DRM_IOCTL_GODWIT_MIGRATE: return migrate_call(static_cast<drm_godwit_migrate*>(args));
      case DRM_IOCTL_GODWIT_RESIDENCY: return look(static_cast<drm_godwit_residency*>(args));
      case DRM_IOCTL_GODWIT_WATCH: return watch(static_cast<drm_godwit_watch*>(args));
      case DRM_IOCTL_GODWIT_EVENTS:
        static_cast<drm_godwit_events*>(args)->map_length = memory_.size();
        return 0;
      case DRM_IOCTL_GODWIT_STATS: {
        auto* stats = static_cast<drm_godwit_stats*>(args);
        std::memcpy(reinterpret_cast<void*>(stats->values), stats_now.data(),
                    stats->count * sizeof(std::uint64_t));
        return 0;
      }
      default: return -EINVAL;
    }
  }
  [[nodiscard]] void* map(std::uint64_t, std::size_t) const noexcept override {
    return const_cast<std::byte*>(memory_.data());
  }
  void unmap(void*, std::size_t) const noexcept override {}
  [[nodiscard]] int fd() const noexcept override { return -1; }
  [[nodiscard]] const std::string& path() const noexcept override { return path_; }
  void close() noexcept override {}

 private:
  static constexpr std::size_t kRecords =
      sizeof(drm_godwit_ring) + kWords * sizeof(std::uint64_t);

  int query_call(drm_godwit_query* args) const {
    if (query_error != 0) return query_error;
    if (args->what != GODWIT_QUERY_DEVICE) return -EINVAL;
    drm_godwit_device_info info = {};
    info.uapi_version = version;
    info.kind = GODWIT_KIND_PRIVATE;
    std::memcpy(reinterpret_cast<void*>(args->data), &info, sizeof(info));
    return 0;
  }
  // The module's own rule, kernel/core/mirror.c.
  int attach(drm_godwit_attach* args) const {
    args->driver_version = version;
    const bool served = args->client_version >> 16 == version >> 16 &&
                        (args->client_version & 0xffff) <= (version & 0xffff);
    return served ? 0 : -EPROTONOSUPPORT;
  }
  int migrate_call(drm_godwit_migrate* args) const {
    if (migrate_error != 0) return migrate_error;
    auto* reasons = reinterpret_cast<std::uint8_t*>(args->reasons);
    if (reasons != nullptr) std::memset(reasons, GODWIT_STAY_NONE, args->length / kPageBytes);
    for (std::uintptr_t page = args->addr; page < args->addr + args->length; page += kPageBytes) {
      const bool to_vram = args->to == GODWIT_PLACE_VRAM;
      if (in_vram[page] == to_vram) {
        ++args->already;
        continue;
      }
      move(page, to_vram);
      ++args->moved;
      ++stats_now[to_vram ? GODWIT_STAT_PAGES_TO_VRAM : GODWIT_STAT_PAGES_HOME];
    }
    return 0;
  }
  int look(drm_godwit_residency* args) const {
    ++residency_calls;
    for (std::uintptr_t page = args->addr; page < args->addr + args->length; page += kPageBytes) {
      ++(in_vram[page] ? args->in_vram : args->in_system);
    }
    return 0;
  }
  int watch(drm_godwit_watch* args) const {
    if ((args->flags & GODWIT_WATCH_REMOVE) != 0) {
      return watched.erase(args->word) != 0 ? 0 : -ENOENT;
    }
    for (std::uint32_t word = 0; word < kWords; ++word) {
      if (watched.count(word) != 0) continue;
      watched[word] = {args->addr, args->length};
      args->word = word;
      return 0;
    }
    return -ENOSPC;
  }

  std::vector<std::byte> memory_;
  std::uint64_t sequence_ = 0;
  std::string path_ = "/dev/dri/renderD999";
};

}  // namespace godwit::kernel::test
