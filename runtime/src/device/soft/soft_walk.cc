// SPDX-License-Identifier: MIT
#include "runtime/src/device/soft/soft_walk.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "runtime/src/device/soft/soft_memory.h"

namespace godwit {
namespace {

constexpr std::uint64_t kField = sizeof(std::uint64_t);
constexpr std::uint64_t kNodesBetweenLooks = 1024;

std::uint64_t get(const std::byte* field) noexcept {
  std::uint64_t value = 0;
  std::memcpy(&value, field, sizeof(value));
  return value;
}

void put(std::byte* field, std::uint64_t value) noexcept {
  std::memcpy(field, &value, sizeof(value));
}

/// A pointer of the program, where the device has what it leads to.
class Place {
 public:
  Place() = default;
  Place(const WalkMemory& memory, std::uint64_t at, std::byte* vram) noexcept
      : span_(memory.span, vram), at_(at) {}
  /// A field is aligned to its size, so it does not cross a frame.
  [[nodiscard]] std::byte* field(std::uint64_t offset) const noexcept {
    return span_.address(at_ + offset);
  }

 private:
  SoftSpan span_{DeviceSpan{}, nullptr};
  std::uint64_t at_ = 0;
};

class Walk {
 public:
  Walk(const WalkCommand& command, std::byte* vram, const std::atomic<bool>& lost) noexcept
      : command_(command), vram_(vram), lost_(lost) {}

  void nodes() noexcept;
  void rows() noexcept;
  [[nodiscard]] const WalkResult& result() const noexcept { return result_; }

 private:
  [[nodiscard]] bool find(std::uint64_t pointer, std::uint64_t bytes, Place* place) const noexcept;
  [[nodiscard]] bool gone() const noexcept { return lost_.load(std::memory_order_relaxed); }
  void add(std::byte* field) noexcept {
    const std::uint64_t value = get(field) + command_.add;
    put(field, value);
    result_.sum += value;
  }
  /// The node's links are read and, where they are to be, changed: what comes after it.
  [[nodiscard]] std::uint64_t leave(std::uint64_t node, const Place& place) noexcept;
  void row(std::uint64_t at) noexcept;
  void pass_over(std::uint64_t pointer) noexcept {
    if (result_.stopped == 0) result_.stopped = pointer;
  }

  const WalkCommand& command_;
  std::byte* vram_;
  const std::atomic<bool>& lost_;
  WalkResult result_;
  std::array<std::uint64_t, WalkCommand::kMostPending> pending_{};
  std::size_t waiting_ = 0;
};

bool Walk::find(std::uint64_t pointer, std::uint64_t bytes, Place* place) const noexcept {
  if (pointer % kField != 0) return false;
  for (const WalkMemory& memory : command_.memory) {
    const std::uint64_t at = pointer - memory.base;  // wraps for a pointer below
    if (at >= memory.span.bytes || bytes > memory.span.bytes - at) continue;
    *place = Place(memory, at, vram_);
    return true;
  }
  return false;
}

std::uint64_t Walk::leave(std::uint64_t node, const Place& place) noexcept {
  std::byte* const first = place.field(command_.links[0]);
  const std::uint64_t next = get(first);
  if (command_.shape == WalkCommand::Shape::kList) {
    if (command_.turn) put(first, result_.last);
    result_.last = node;
    return next;
  }
  std::byte* const second = place.field(command_.links[1]);
  const std::uint64_t later = get(second);
  if (command_.turn) {
    put(first, later);
    put(second, next);
  }
  result_.last = node;
  if (next == 0) return later;
  if (later != 0) {
    if (waiting_ == pending_.size()) {
      result_.stopped = later;
      return 0;
    }
    pending_[waiting_++] = later;
  }
  return next;
}

void Walk::nodes() noexcept {
  const std::uint64_t size =
      std::uint64_t{std::max({command_.links[0], command_.links[1], command_.value})} + kField;
  std::uint64_t node = command_.head;
  while (node != 0) {
    if (result_.nodes % kNodesBetweenLooks == 0 && gone()) return;
    Place place;
    if (result_.nodes == command_.limit || !find(node, size, &place)) {
      result_.stopped = node;
      return;
    }
    ++result_.nodes;
    add(place.field(command_.value));
    node = leave(node, place);
    if (result_.stopped != 0) return;
    if (node == 0 && waiting_ != 0) node = pending_[--waiting_];
  }
}

void Walk::row(std::uint64_t at) noexcept {
  Place place;
  if (!find(at, command_.stride, &place)) {
    pass_over(at);
    return;
  }
  const std::uint64_t begin = get(place.field(command_.links[0]));
  const std::uint64_t bytes = get(place.field(command_.links[1])) - begin;
  if (bytes == 0) return;  // an empty vector points nowhere
  if (bytes % kField != 0 || bytes / kField > WalkCommand::kMostRowValues ||
      !find(begin, bytes, &place)) {
    pass_over(begin);
    return;
  }
  for (std::uint64_t value = 0; value < bytes; value += kField) add(place.field(value));
  result_.nodes += bytes / kField;
}

void Walk::rows() noexcept {
  if (command_.head == 0) return;
  for (std::uint32_t index = 0; index < command_.limit && !gone(); ++index) {
    row(command_.head + std::uint64_t{index} * command_.stride);
  }
}

}  // namespace

int check_soft_walk(const WalkCommand& command, std::uint64_t vram_bytes) noexcept {
  if (const int error = check_walk(command); error != 0) return error;
  for (const WalkMemory& memory : command.memory) {
    int error = check_span(memory.span);
    if (error == 0) error = check_frames(memory.span, 0, memory.span.bytes, vram_bytes);
    if (error != 0) return error;
  }
  return 0;
}

void run_walk(const WalkCommand& command, std::byte* vram, const std::atomic<bool>& lost) noexcept {
  Walk walk(command, vram, lost);
  if (command.shape == WalkCommand::Shape::kRows) {
    walk.rows();
  } else {
    walk.nodes();
  }
  *command.result = walk.result();
}

}  // namespace godwit
