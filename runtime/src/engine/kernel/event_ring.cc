// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/event_ring.h"

#include <cerrno>
#include <cstring>

namespace godwit::kernel {

Result<std::unique_ptr<EventRing>> EventRing::create(const Driver& driver, std::uint32_t capacity,
                                                     std::uint64_t types) {
  drm_godwit_events args = {};
  args.capacity = capacity;
  args.types = types;
  if (const int error = driver.call(DRM_IOCTL_GODWIT_EVENTS, &args); error != 0) {
    return fail(Code::kUnavailable, driver.path() + ": no event ring of " +
                                        std::to_string(capacity) + " records: " +
                                        std::strerror(-error));
  }
  void* at = driver.map(args.map_offset, args.map_length);
  if (at == nullptr) {
    return fail(Code::kUnavailable, driver.path() + ": the event ring cannot be mapped");
  }
  auto* header = static_cast<drm_godwit_ring*>(at);
  const std::uint64_t records = std::uint64_t{header->capacity} * sizeof(drm_godwit_event);
  const std::uint64_t words = std::uint64_t{header->generations} * sizeof(std::uint64_t);
  if (header->capacity == 0 || header->record_size != sizeof(drm_godwit_event) ||
      header->records_offset > args.map_length ||
      records > args.map_length - header->records_offset ||
      header->generations_offset > args.map_length ||
      words > args.map_length - header->generations_offset) {
    const std::string size = std::to_string(header->record_size);
    driver.unmap(at, args.map_length);
    return fail(Code::kUnavailable, driver.path() + ": an event ring with records of " + size +
                                        " bytes, this library's have " +
                                        std::to_string(sizeof(drm_godwit_event)));
  }
  return std::unique_ptr<EventRing>(new EventRing(driver, header, args.map_length));
}

EventRing::EventRing(const Driver& driver, drm_godwit_ring* header, std::size_t bytes)
    : driver_(driver),
      header_(header),
      bytes_(bytes),
      capacity_(header->capacity),
      records_(reinterpret_cast<drm_godwit_event*>(reinterpret_cast<std::byte*>(header) +
                                                   header->records_offset)),
      words_(reinterpret_cast<std::uint64_t*>(reinterpret_cast<std::byte*>(header) +
                                              header->generations_offset)),
      word_count_(header->generations) {}

EventRing::~EventRing() { driver_.unmap(header_, bytes_); }

EventRing::Taken EventRing::take(std::vector<drm_godwit_event>* events) {
  Taken taken;
  const std::uint64_t head = std::atomic_ref(header_->head).load(std::memory_order_acquire);
  std::uint64_t tail = std::atomic_ref(header_->tail).load(std::memory_order_relaxed);
  // More than the ring holds is nonsense of the program's: begin again where the kernel is.
  if (head - tail > capacity_) tail = head;
  for (; tail != head; ++tail) {
    const drm_godwit_event& event = records_[tail % capacity_];
    // Sequence numbers count lost events, too.
    if (event.sequence > last_sequence_) taken.lost += event.sequence - last_sequence_ - 1;
    last_sequence_ = event.sequence;
    events->push_back(event);
    ++taken.events;
  }
  std::atomic_ref(header_->tail).store(tail, std::memory_order_release);
  return taken;
}

int EventRing::watch(std::uintptr_t addr, std::size_t bytes) const noexcept {
  drm_godwit_watch args = {};
  args.addr = addr;
  args.length = bytes;
  const int error = driver_.call(DRM_IOCTL_GODWIT_WATCH, &args);
  if (error != 0) return error;
  if (args.word >= word_count_) return -ERANGE;
  return static_cast<int>(args.word);
}

void EventRing::unwatch(std::uint32_t word) const noexcept {
  drm_godwit_watch args = {};
  args.flags = GODWIT_WATCH_REMOVE;
  args.word = word;
  (void)driver_.call(DRM_IOCTL_GODWIT_WATCH, &args);
}

std::uint64_t EventRing::generation(std::uint32_t word) const noexcept {
  return std::atomic_ref(words_[word]).load(std::memory_order_acquire);
}

}  // namespace godwit::kernel
