// SPDX-License-Identifier: MIT
// Every field of every call with at least one wrong value: the errno of godwit_drm.h, and nothing changed.
#include "tests/kernel/arguments.h"

#include <cerrno>

namespace godwit::guest {
namespace {

constexpr auto kSet = BadValue::kSet;
constexpr auto kAdd = BadValue::kAdd;
// Nothing is mapped there, and the kernel's half of the address space.
constexpr uint64_t kNoPointer = 16;
constexpr uint64_t kKernelAddress = 0xffff888000000000;
constexpr uint64_t kTooLong = GODWIT_MAX_RANGE + kPage;

uint64_t address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

// The rows that every call with a page range has.
#define PAGE_RANGE_ROWS(type)                                     \
  {GODWIT_FIELD(type, addr), kAdd, 1, -EINVAL},                   \
  {GODWIT_FIELD(type, addr), kAdd, kPage / 2, -EINVAL},           \
  {GODWIT_FIELD(type, addr), kSet, kKernelAddress, -EINVAL},      \
  {GODWIT_FIELD(type, addr), kSet, ~(kPage - 1), -EINVAL},        \
  {GODWIT_FIELD(type, length), kSet, 0, -EINVAL},                 \
  {GODWIT_FIELD(type, length), kAdd, 1, -EINVAL},                 \
  {GODWIT_FIELD(type, length), kSet, ~(kPage - 1), -EINVAL}

void make_ring(const Device& device) {
  drm_godwit_events events = {};
  events.capacity = 64;
  events.types = uint64_t{1} << GODWIT_EVENT_MIGRATE;
  EXPECT_EQ(device.call(DRM_IOCTL_GODWIT_EVENTS, &events), 0);
}

BadCall query() {
  using T = drm_godwit_query;
  return {"query", DRM_IOCTL_GODWIT_QUERY, sizeof(T),
          [](const Playground& at, void* to) {
            auto* args = static_cast<T*>(to);
            args->what = GODWIT_QUERY_DEVICE;
            args->size = sizeof(drm_godwit_device_info);
            args->data = address(at.scratch);
          },
          {{GODWIT_FIELD(T, what), kSet, 2, -EINVAL},
           {GODWIT_FIELD(T, what), kSet, 0xffffffff, -EINVAL},
           {GODWIT_FIELD(T, size), kSet, 4097, -E2BIG},
           {GODWIT_FIELD(T, data), kSet, kNoPointer, -EFAULT},
           {GODWIT_FIELD(T, data), kSet, kKernelAddress, -EFAULT}},
          {}, nullptr};
}

BadCall attach() {
  using T = drm_godwit_attach;
  return {"attach", DRM_IOCTL_GODWIT_ATTACH, sizeof(T),
          [](const Playground&, void* to) {
            static_cast<T*>(to)->client_version = GODWIT_UAPI_VERSION;
          },
          {{GODWIT_FIELD(T, client_version), kSet, 0, -EPROTONOSUPPORT},
           {GODWIT_FIELD(T, client_version), kAdd, 1, -EPROTONOSUPPORT},
           {GODWIT_FIELD(T, client_version), kAdd, 1 << 16, -EPROTONOSUPPORT},
           {GODWIT_FIELD(T, flags), kSet, GODWIT_ATTACH_DETACH, -ENOENT},
           {GODWIT_FIELD(T, flags), kSet, 2, -EINVAL},
           {GODWIT_FIELD(T, flags), kSet, 0x80000000, -EINVAL},
           {GODWIT_FIELD(T, pad), kSet, 1, -EINVAL}},
          {{GODWIT_FIELD(T, driver_version)},
           {GODWIT_FIELD(T, mirror_id)},
           {GODWIT_FIELD(T, client_id)}},
          nullptr};
}

BadCall migrate() {
  using T = drm_godwit_migrate;
  return {"migrate", DRM_IOCTL_GODWIT_MIGRATE, sizeof(T),
          [](const Playground& at, void* to) {
            auto* args = static_cast<T*>(to);
            args->addr = address(at.pages);
            args->length = at.bytes;
            args->to = GODWIT_PLACE_VRAM;
            args->reasons = address(at.scratch);
            args->reasons_size = at.bytes / kPage;
          },
          {PAGE_RANGE_ROWS(T),
           {GODWIT_FIELD(T, length), kSet, kTooLong, -E2BIG},
           {GODWIT_FIELD(T, to), kSet, GODWIT_PLACE_NONE, -EINVAL},
           {GODWIT_FIELD(T, to), kSet, GODWIT_PLACE_PEER, -EINVAL},
           {GODWIT_FIELD(T, to), kSet, GODWIT_PLACE_ABSENT, -EINVAL},
           {GODWIT_FIELD(T, to), kSet, 0xffffffff, -EINVAL},
           {GODWIT_FIELD(T, flags), kSet, 8, -EINVAL},
           {GODWIT_FIELD(T, flags), kSet, 0x80000000, -EINVAL},
           {GODWIT_FIELD(T, reasons), kSet, 0, -EINVAL},
           {GODWIT_FIELD(T, reasons), kSet, kNoPointer, -EFAULT, true},
           {GODWIT_FIELD(T, reasons_size), kAdd, ~uint64_t{0}, -EINVAL},
           {GODWIT_FIELD(T, reasons_size), kSet, 0, -EINVAL},
           {GODWIT_FIELD(T, reserved), kSet, 1, -EINVAL},
           {offsetof(T, reserved) + 8, 8, "drm_godwit_migrate.reserved[1]", kSet, 1, -EINVAL}},
          {{GODWIT_FIELD(T, moved)},
           {GODWIT_FIELD(T, moved_huge)},
           {GODWIT_FIELD(T, already)},
           {GODWIT_FIELD(T, stayed)},
           {GODWIT_FIELD(T, time_setup_ns)},
           {GODWIT_FIELD(T, time_alloc_ns)},
           {GODWIT_FIELD(T, time_copy_ns)},
           {GODWIT_FIELD(T, time_finish_ns)}},
          nullptr};
}

BadCall discard() {
  using T = drm_godwit_discard;
  return {"discard", DRM_IOCTL_GODWIT_DISCARD, sizeof(T),
          [](const Playground& at, void* to) {
            auto* args = static_cast<T*>(to);
            args->addr = address(at.pages);
            args->length = at.bytes;
          },
          {PAGE_RANGE_ROWS(T),
           {GODWIT_FIELD(T, length), kSet, kTooLong, -E2BIG},
           {GODWIT_FIELD(T, flags), kSet, 1, -EINVAL},
           {GODWIT_FIELD(T, pad), kSet, 1, -EINVAL}},
          {{GODWIT_FIELD(T, discarded)}, {GODWIT_FIELD(T, skipped)}},
          nullptr};
}

BadCall residency() {
  using T = drm_godwit_residency;
  return {"residency", DRM_IOCTL_GODWIT_RESIDENCY, sizeof(T),
          [](const Playground& at, void* to) {
            auto* args = static_cast<T*>(to);
            args->addr = address(at.pages);
            args->length = at.bytes;
            args->pages = address(at.scratch);
            args->pages_size = at.bytes / kPage * sizeof(uint32_t);
          },
          {PAGE_RANGE_ROWS(T),
           {GODWIT_FIELD(T, length), kSet, kTooLong, -E2BIG},
           {GODWIT_FIELD(T, pages), kSet, 0, -EINVAL},
           {GODWIT_FIELD(T, pages), kSet, kNoPointer, -EFAULT, true},
           {GODWIT_FIELD(T, pages_size), kAdd, ~uint64_t{0}, -EINVAL},
           {GODWIT_FIELD(T, pages_size), kSet, 0, -EINVAL},
           {GODWIT_FIELD(T, flags), kSet, 1, -EINVAL},
           {GODWIT_FIELD(T, pad), kSet, 1, -EINVAL}},
          {{GODWIT_FIELD(T, in_system)},
           {GODWIT_FIELD(T, in_vram)},
           {GODWIT_FIELD(T, in_peer)},
           {GODWIT_FIELD(T, mapped)}},
          nullptr};
}

BadCall evict_range() {
  using T = drm_godwit_evict;
  return {"evict a range", DRM_IOCTL_GODWIT_EVICT, sizeof(T),
          [](const Playground& at, void* to) {
            auto* args = static_cast<T*>(to);
            args->what = GODWIT_EVICT_RANGE;
            args->addr = address(at.pages);
            args->length = at.bytes;
          },
          {PAGE_RANGE_ROWS(T),
           {GODWIT_FIELD(T, length), kSet, kTooLong, -E2BIG},
           {GODWIT_FIELD(T, what), kSet, 0, -EINVAL},
           {GODWIT_FIELD(T, what), kSet, 4, -EINVAL},
           {GODWIT_FIELD(T, what), kSet, GODWIT_EVICT_CLIENT, -EINVAL},
           {GODWIT_FIELD(T, what), kSet, GODWIT_EVICT_DEVICE, -EINVAL},
           {GODWIT_FIELD(T, client), kSet, 1, -EINVAL},
           {GODWIT_FIELD(T, flags), kSet, 1, -EINVAL},
           {GODWIT_FIELD(T, pad), kSet, 1, -EINVAL}},
          {{GODWIT_FIELD(T, evicted)}, {GODWIT_FIELD(T, stayed)}},
          nullptr};
}

BadCall evict_client() {
  using T = drm_godwit_evict;
  return {"evict a client", DRM_IOCTL_GODWIT_EVICT, sizeof(T),
          [](const Playground&, void* to) {
            static_cast<T*>(to)->what = GODWIT_EVICT_CLIENT;
          },
          {{GODWIT_FIELD(T, what), kSet, GODWIT_EVICT_RANGE, -EINVAL},
           {GODWIT_FIELD(T, client), kSet, 0xffffffff, -ENOENT},
           {GODWIT_FIELD(T, addr), kSet, kPage, -EINVAL},
           {GODWIT_FIELD(T, length), kSet, kPage, -EINVAL},
           {GODWIT_FIELD(T, flags), kSet, 0x80000000, -EINVAL},
           {GODWIT_FIELD(T, pad), kSet, 0x80000000, -EINVAL}},
          {{GODWIT_FIELD(T, evicted)}, {GODWIT_FIELD(T, stayed)}},
          nullptr};
}

BadCall events() {
  using T = drm_godwit_events;
  return {"events", DRM_IOCTL_GODWIT_EVENTS, sizeof(T),
          [](const Playground&, void* to) {
            auto* args = static_cast<T*>(to);
            args->capacity = 64;
            args->types = uint64_t{1} << GODWIT_EVENT_MIGRATE;
          },
          {{GODWIT_FIELD(T, capacity), kSet, 0, -EINVAL},
           {GODWIT_FIELD(T, capacity), kSet, 63, -EINVAL},
           {GODWIT_FIELD(T, capacity), kSet, 1u << 31, -E2BIG},
           {GODWIT_FIELD(T, flags), kSet, 1, -EINVAL},
           {GODWIT_FIELD(T, types), kSet, 0, -EINVAL},
           {GODWIT_FIELD(T, types), kSet, 1, -EINVAL},
           {GODWIT_FIELD(T, types), kSet, uint64_t{1} << GODWIT_EVENT_COUNT, -EINVAL},
           {GODWIT_FIELD(T, types), kSet, uint64_t{1} << 63, -EINVAL}},
          {{GODWIT_FIELD(T, map_offset)}, {GODWIT_FIELD(T, map_length)}},
          nullptr};
}

BadCall second_events() {
  BadCall call = events();
  call.name = "events, a second time";
  call.before = make_ring;
  call.answer = -EEXIST;
  return call;
}

BadCall watch() {
  using T = drm_godwit_watch;
  return {"watch", DRM_IOCTL_GODWIT_WATCH, sizeof(T),
          [](const Playground& at, void* to) {
            auto* args = static_cast<T*>(to);
            args->addr = address(at.pages);
            args->length = at.bytes;
          },
          {PAGE_RANGE_ROWS(T),
           {GODWIT_FIELD(T, length), kSet, (uint64_t{64} << 30) + kPage, -E2BIG},
           {GODWIT_FIELD(T, flags), kSet, 2, -EINVAL},
           // A range, and what takes none.
           {GODWIT_FIELD(T, flags), kSet, GODWIT_WATCH_REMOVE, -EINVAL}},
          {{GODWIT_FIELD(T, word)}},
          make_ring};
}

BadCall watch_without_ring() {
  BadCall call = watch();
  call.name = "watch without a ring";
  call.before = nullptr;
  call.answer = -ENXIO;
  return call;
}

// The descriptors of those that are accepted stay open until the program ends.
BadCall export_bytes() {
  using T = drm_godwit_export;
  return {"export", DRM_IOCTL_GODWIT_EXPORT, sizeof(T),
          [](const Playground& at, void* to) {
            auto* args = static_cast<T*>(to);
            args->addr = address(at.pages) + 1;
            args->length = at.bytes - 2;
          },
          {{GODWIT_FIELD(T, addr), kSet, kKernelAddress, -EINVAL},
           {GODWIT_FIELD(T, addr), kSet, ~uint64_t{0}, -EINVAL},
           {GODWIT_FIELD(T, length), kSet, 0, -EINVAL},
           {GODWIT_FIELD(T, length), kSet, ~uint64_t{0}, -EINVAL},
           {GODWIT_FIELD(T, length), kSet, kTooLong, -E2BIG},
           {GODWIT_FIELD(T, length), kSet, (uint64_t{64} << 30) + kPage, -E2BIG},
           {GODWIT_FIELD(T, flags), kSet, 1, -EINVAL},
           {GODWIT_FIELD(T, flags), kSet, 0x80000000, -EINVAL},
           {GODWIT_FIELD(T, reserved), kSet, 1, -EINVAL},
           {offsetof(T, reserved) + 8, 8, "drm_godwit_export.reserved[1]", kSet, 1, -EINVAL}},
          {{GODWIT_FIELD(T, fd)}, {GODWIT_FIELD(T, offset)}},
          nullptr};
}

BadCall stats() {
  using T = drm_godwit_stats;
  return {"stats", DRM_IOCTL_GODWIT_STATS, sizeof(T),
          [](const Playground& at, void* to) {
            auto* args = static_cast<T*>(to);
            args->count = GODWIT_STAT_COUNT;
            args->values = address(at.scratch);
          },
          {{GODWIT_FIELD(T, scope), kSet, 2, -EINVAL},
           {GODWIT_FIELD(T, count), kSet, 513, -E2BIG},
           {GODWIT_FIELD(T, count), kSet, 0xffffffff, -E2BIG},
           {GODWIT_FIELD(T, values), kSet, kNoPointer, -EFAULT},
           {GODWIT_FIELD(T, values), kSet, kKernelAddress, -EFAULT}},
          {}, nullptr};
}

class Arguments : public ::testing::TestWithParam<BadCall (*)()> {};

TEST_P(Arguments, EveryFieldIsInTheTable) { expect_all_fields(GetParam()()); }

TEST_P(Arguments, WrongValuesAreRefusedAndChangeNothing) { expect_refusals(GetParam()()); }

TEST_P(Arguments, LongerStructuresAreTakenWhereTheRestIsZero) { expect_other_sizes(GetParam()()); }

INSTANTIATE_TEST_SUITE_P(Call, Arguments,
                         ::testing::Values(query, attach, migrate, discard, residency, evict_range,
                                           evict_client, events, second_events, watch,
                                           watch_without_ring, export_bytes, stats),
                         [](const auto& suite) {
                           std::string name;
                           for (const char* at = suite.param().name; *at != 0; ++at) {
                             if (isalnum(static_cast<unsigned char>(*at))) name += *at;
                           }
                           return name;
                         });

TEST(Calls, UnknownCallIsRefused) {
  Device device;
  uint64_t nothing[8] = {};
  EXPECT_EQ(device.call(_IOWR(DRM_IOCTL_BASE, DRM_COMMAND_BASE + 0x13, uint64_t[8]), nothing),
            -EINVAL);
  EXPECT_EQ(device.call(_IOWR(DRM_IOCTL_BASE, DRM_COMMAND_END - 1, uint64_t[8]), nothing), -EINVAL);
}

TEST(Calls, RemovingAWordThatIsNotWatchedIsRefused) {
  Device device;
  make_ring(device);
  drm_godwit_watch args = {};
  args.flags = GODWIT_WATCH_REMOVE;
  for (const uint32_t word : {0u, 511u, 512u, 0xffffffffu}) {
    args.word = word;
    EXPECT_EQ(device.call(DRM_IOCTL_GODWIT_WATCH, &args), -ENOENT) << word;
  }
}

TEST(Calls, PointerToTheArgumentsThatIsBadIsRefused) {
  Device device;
  EXPECT_EQ(device.call(DRM_IOCTL_GODWIT_MIGRATE, reinterpret_cast<drm_godwit_migrate*>(16)),
            -EFAULT);
  EXPECT_EQ(device.stat(GODWIT_STAT_MIRRORS), 0u);
}

}  // namespace
}  // namespace godwit::guest
