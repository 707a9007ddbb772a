// SPDX-License-Identifier: MIT
#include <poll.h>
#include <sys/mman.h>

#include <atomic>

#include "tests/kernel/guest.h"
#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

class Ring {
 public:
  Ring(const Device& device, uint32_t capacity, uint64_t types = 0xfe) : device_(device) {
    drm_godwit_events args = {};
    args.capacity = capacity;
    args.types = types;
    EXPECT_EQ(device.call(DRM_IOCTL_GODWIT_EVENTS, &args), 0);
    length_ = args.map_length;
    void* at = mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_SHARED, device.fd(),
                    static_cast<off_t>(args.map_offset));
    EXPECT_NE(at, MAP_FAILED);
    header_ = static_cast<drm_godwit_ring*>(at);
  }
  ~Ring() { munmap(header_, length_); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  drm_godwit_ring* header() { return header_; }

  std::vector<drm_godwit_event> take() {
    std::vector<drm_godwit_event> events;
    auto* base = reinterpret_cast<uint8_t*>(header_);
    auto* records = reinterpret_cast<drm_godwit_event*>(base + header_->records_offset);
    const uint64_t head = std::atomic_ref(header_->head).load(std::memory_order_acquire);
    uint64_t tail = header_->tail;
    for (; tail != head; ++tail) events.push_back(records[tail % header_->capacity]);
    std::atomic_ref(header_->tail).store(tail, std::memory_order_release);
    return events;
  }

  uint64_t word(uint32_t index) {
    auto* base = reinterpret_cast<uint8_t*>(header_);
    return std::atomic_ref(
               reinterpret_cast<uint64_t*>(base + header_->generations_offset)[index])
        .load(std::memory_order_acquire);
  }

 private:
  const Device& device_;
  drm_godwit_ring* header_ = nullptr;
  size_t length_ = 0;
};

using Events = DeviceTest;

TEST_F(Events, EachMoveIsToldWithItsCause) {
  Ring ring(gpu_, 256, uint64_t{1} << GODWIT_EVENT_MIGRATE);
  Memory memory(kHuge);
  fill(memory.data(), memory.size(), 1);
  gpu_.to_vram(memory.data(), memory.size());
  volatile uint8_t* byte = memory.page(40);
  EXPECT_EQ(*byte, *byte);
  gpu_.evict(GODWIT_EVICT_RANGE, memory.data(), memory.size());
  const auto events = ring.take();
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].cause, GODWIT_CAUSE_PREFETCH);
  EXPECT_EQ(events[0].from, GODWIT_PLACE_SYSTEM);
  EXPECT_EQ(events[0].to, GODWIT_PLACE_VRAM);
  EXPECT_EQ(events[0].pages, kHuge / kPage);
  EXPECT_EQ(events[0].addr, reinterpret_cast<uintptr_t>(memory.data()));
  EXPECT_EQ(events[1].cause, GODWIT_CAUSE_CPU_FAULT);
  EXPECT_LE(events[1].addr, reinterpret_cast<uintptr_t>(memory.page(40)));
  EXPECT_GT(events[1].addr + events[1].length, reinterpret_cast<uintptr_t>(memory.page(40)));
  EXPECT_EQ(events[2].cause, GODWIT_CAUSE_REQUEST);
  EXPECT_EQ(events[2].to, GODWIT_PLACE_SYSTEM);
  for (size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].sequence, i + 1);
    if (i > 0) {
      EXPECT_GE(events[i].time_ns, events[i - 1].time_ns);
    }
  }
}

// The kernel unmaps them one by one; the device loses the whole block at the first.
TEST_F(Events, SmallPagesThatAreEvictedAreTakenFromTheDeviceByBlocks) {
  Ring ring(gpu_, 1024, uint64_t{1} << GODWIT_EVENT_INVALIDATE);
  Memory memory(2 * kHuge);
  madvise(memory.data(), memory.size(), MADV_NOHUGEPAGE);
  fill(memory.data(), memory.size(), 6);
  ASSERT_EQ(gpu_.to_vram(memory.data(), memory.size()).moved, memory.size() / kPage);
  ASSERT_TRUE(execute(gpu_, {op::checksum(memory.data(), memory.size())}).ok());
  ring.take();
  ASSERT_EQ(gpu_.evict(GODWIT_EVICT_CLIENT).stayed, 0u);
  const auto events = ring.take();
  uint64_t pages = 0;
  for (const drm_godwit_event& event : events) pages += event.pages;
  EXPECT_EQ(pages, memory.size() / kPage) << "each translation is lost once";
  EXPECT_LE(events.size(), 16u) << "by far not as many as pages";
  const Done again = execute(gpu_, {op::checksum(memory.data(), memory.size())});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again.results[0].value, fnv(memory.data(), memory.size()));
}

TEST_F(Events, AFullRingCountsWhatItLosesAndGoesOn) {
  Ring ring(gpu_, 4, uint64_t{1} << GODWIT_EVENT_MIGRATE);
  Memory memory(kPage);
  fill(memory.data(), memory.size(), 2);
  for (int i = 0; i < 5; ++i) {
    gpu_.to_vram(memory.data(), memory.size());
    gpu_.to_ram(memory.data(), memory.size());
  }
  EXPECT_EQ(ring.header()->lost, 6u);
  EXPECT_EQ(gpu_.stat(GODWIT_STAT_EVENTS_LOST), 6u);
  EXPECT_EQ(ring.take().size(), 4u);
  gpu_.to_vram(memory.data(), memory.size());
  const auto events = ring.take();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].sequence, 11u) << "the gap tells how many were lost";
}

TEST_F(Events, NonsenseInTheHeaderHarmsNobody) {
  Ring ring(gpu_, 4);
  Memory memory(kPage);
  fill(memory.data(), memory.size(), 3);
  for (const uint64_t tail : {uint64_t{1} << 40, ~uint64_t{0}, uint64_t{5}}) {
    ring.header()->tail = tail;
    ring.header()->head = tail * 3;
    ring.header()->capacity = 0xffffffff;
    ring.header()->records_offset = ~uint64_t{0};
    for (int i = 0; i < 10; ++i) {
      gpu_.to_vram(memory.data(), memory.size());
      gpu_.to_ram(memory.data(), memory.size());
    }
  }
  EXPECT_BYTES(memory.data(), memory.size(), 3u);
}

TEST_F(Events, PollTellsThatThereIsARecord) {
  Ring ring(gpu_, 64, uint64_t{1} << GODWIT_EVENT_MIGRATE);
  Memory memory(kPage);
  fill(memory.data(), memory.size(), 4);
  pollfd wait = {gpu_.fd(), POLLPRI, 0};
  EXPECT_EQ(poll(&wait, 1, 0), 0);
  gpu_.to_vram(memory.data(), memory.size());
  EXPECT_EQ(poll(&wait, 1, 1000), 1);
  ring.take();
  EXPECT_EQ(poll(&wait, 1, 0), 0);
}

TEST_F(Events, MappedRingGoesOnAfterItsDescriptorIsClosed) {
  Device other;
  Ring ring(other, 64, uint64_t{1} << GODWIT_EVENT_MIGRATE);
  Memory memory(kPage);
  fill(memory.data(), memory.size(), 5);
  other.to_vram(memory.data(), memory.size());
  other.close();
  EXPECT_BYTES(memory.data(), memory.size(), 5u);
  EXPECT_EQ(ring.take().size(), 2u) << "there, and back by a CPU fault";
}

// All of it, and no more; its pages come as they are touched.
TEST_F(Events, ARingIsMappedToItsEnd) {
  drm_godwit_events args = {};
  args.capacity = gpu_.limits().max_ring_records;
  args.types = uint64_t{1} << GODWIT_EVENT_MIGRATE;
  ASSERT_EQ(gpu_.call(DRM_IOCTL_GODWIT_EVENTS, &args), 0);
  const auto map = [&](size_t length, int protection, int flags = MAP_SHARED) {
    return mmap(nullptr, length, protection, flags, gpu_.fd(), static_cast<off_t>(args.map_offset));
  };
  const auto bytes = static_cast<size_t>(args.map_length);
  auto* ring = static_cast<uint8_t*>(map(bytes, PROT_READ | PROT_WRITE));
  auto* read_only = static_cast<uint8_t*>(map(bytes, PROT_READ));
  ASSERT_NE(ring, MAP_FAILED);
  ASSERT_NE(read_only, MAP_FAILED);
  const auto records = reinterpret_cast<drm_godwit_ring*>(ring)->records_offset;
  EXPECT_TRUE(all_zero(ring + records, bytes - records));
  ring[bytes - 1] = 7;
  EXPECT_EQ(read_only[bytes - 1], 7);
  EXPECT_EQ(map(bytes + kPage, PROT_READ), MAP_FAILED);
  EXPECT_EQ(map(bytes, PROT_READ, MAP_PRIVATE), MAP_FAILED);
  EXPECT_EQ(mremap(ring, bytes, bytes + kPage, MREMAP_MAYMOVE), MAP_FAILED);
  munmap(ring, bytes);
  munmap(read_only, bytes);
}

class Generations : public DeviceTest {
 protected:
  uint32_t watch(const void* addr, size_t length) {
    drm_godwit_watch args = {};
    args.addr = reinterpret_cast<uintptr_t>(addr);
    args.length = length;
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_WATCH, &args), 0);
    return args.word;
  }
};

TEST_F(Generations, TheWordChangesWheneverPagesOfTheRangeCouldHaveMoved) {
  Ring ring(gpu_, 4, uint64_t{1} << GODWIT_EVENT_JOB);
  Memory memory(2 * kHuge);
  fill(memory.data(), memory.size(), 1);
  const uint32_t word = watch(memory.data(), kHuge);
  uint64_t last = ring.word(word);
  const auto changed = [&](const char* by, bool expected) {
    const uint64_t now = ring.word(word);
    EXPECT_EQ(now != last, expected) << by;
    last = now;
  };
  changed("nothing", false);
  gpu_.to_vram(memory.data(), kHuge);
  changed("migration to VRAM", true);
  gpu_.to_vram(memory.data() + kHuge, kHuge);
  changed("migration of the neighbour", false);
  volatile uint8_t* byte = memory.data();
  EXPECT_EQ(*byte, *byte);
  changed("a CPU fault", true);
  gpu_.evict(GODWIT_EVICT_RANGE, memory.data(), kHuge);
  changed("eviction", true);
  mprotect(memory.data(), kPage, PROT_READ);
  changed("mprotect", true);
  munmap(memory.page(100), kPage);
  changed("munmap", true);
  gpu_.residency(memory.data(), kPage);
  changed("looking", false);
}

TEST_F(Generations, TheWordChangesWhenItsWatchEnds) {
  SoftDevice soft("private:16M");
  Device other(soft.index());
  Ring ring(other, 4);
  Memory memory(kHuge);
  fill(memory.data(), memory.size(), 2);
  drm_godwit_watch args = {};
  args.addr = reinterpret_cast<uintptr_t>(memory.data());
  args.length = memory.size();
  ASSERT_EQ(other.call(DRM_IOCTL_GODWIT_WATCH, &args), 0);
  other.to_vram(memory.data(), memory.size());
  const uint64_t there = ring.word(args.word);
  soft.remove();
  EXPECT_NE(ring.word(args.word), there);
  EXPECT_BYTES(memory.data(), memory.size(), 2u);
}

TEST_F(Generations, EveryWordCanBeTakenAndGivenBack) {
  Ring ring(gpu_, 4);
  Memory memory(kPage);
  std::vector<uint32_t> words;
  for (uint32_t i = 0; i < ring.header()->generations; ++i) {
    words.push_back(watch(memory.data(), kPage));
  }
  drm_godwit_watch args = {};
  args.addr = reinterpret_cast<uintptr_t>(memory.data());
  args.length = kPage;
  EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_WATCH, &args), -ENOSPC);
  for (const uint32_t word : words) {
    drm_godwit_watch remove = {};
    remove.flags = GODWIT_WATCH_REMOVE;
    remove.word = word;
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_WATCH, &remove), 0);
    EXPECT_EQ(gpu_.call(DRM_IOCTL_GODWIT_WATCH, &remove), -ENOENT);
  }
  watch(memory.data(), kPage);
}

}  // namespace
}  // namespace godwit::guest
