// SPDX-License-Identifier: MIT
#include "runtime/src/transfer/file_pages.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <span>

namespace godwit {
namespace {

/// A chunk of RAM to copy through; null where the system has none.
class Slot {
 public:
  explicit Slot(PagePool& pool) : pool_(pool), bytes_(pool.take_full(SlotSize::kChunk)) {}
  ~Slot() {
    if (bytes_ != nullptr) pool_.give_full(SlotSize::kChunk, bytes_);
  }
  Slot(const Slot&) = delete;
  Slot& operator=(const Slot&) = delete;
  [[nodiscard]] std::byte* data() const { return bytes_; }

 private:
  PagePool& pool_;
  std::byte* bytes_;
};

std::size_t offset_of(Core& core, const FileSource& source, std::size_t page) {
  return source.offset_of(core.table.address(page));
}

/// A copy of the page's bytes in `room`, made without touching managed memory. Null: none, with *error
/// 0 where the page has no contents of its own.
const std::byte* bytes_of(Core& core, std::size_t page, std::byte* room, int* error) {
  *error = 0;
  std::byte* address = core.table.address(page);
  const PageState state = core.table.state(page);
  switch (state) {
    case PageState::kEmpty:
      if (!core.kernel_populates()) return nullptr;
      [[fallthrough]];
    case PageState::kNative:
    case PageState::kHost:
    case PageState::kBoth: {
      std::uint8_t present = 1;
      // Given up, by a discard or by a system call that the runtime does not see, and not touched
      // since.
      if (core.host->scan_present(address, {&present, 1}) == 0 && present == 0) return nullptr;
      *error = core.host->peek(address, room);
      if (*error == 0) return room;
      if (state == PageState::kEmpty) *error = 0;  // poisoned: it never had any
      return nullptr;
    }
    case PageState::kDevice: {
      const std::uint32_t frame = core.table.frame(page / kPagesPerChunk);
      const CopyOp op{VramFrames::offset(frame) + page % kPagesPerChunk * kPageBytes, room,
                      kPageBytes};
      *error = core.device->copy(Direction::kToHost, {&op, 1});
      return *error == 0 ? room : nullptr;
    }
    case PageState::kLost: *error = -EIO; return nullptr;
    default: return nullptr;
  }
}

}  // namespace

int load_to_host(Core& core, const FileSource& source, PageRange run) noexcept {
  const Slot slot(*core.pool);
  if (slot.data() == nullptr) return -ENOMEM;
  const std::size_t bytes = run.count * kPageBytes;
  int error = source.read(offset_of(core, source, run.first), {slot.data(), bytes});
  if (error != 0) return error;
  std::size_t copied = 0;
  error = core.host->copy_in(core.table.address(run.first), slot.data(), bytes, false, &copied);
  const PageRange in{run.first, copied / kPageBytes};
  core.table.apply(in, PageEvent::kPopulate);
  core.statistics().file_pages_read += in.count;
  return error;
}

int load_to_device(Core& core, const FileSource& source, PageRange run,
                   std::uint64_t vram) noexcept {
  const Slot slot(*core.pool);
  if (slot.data() == nullptr) return -ENOMEM;
  const std::size_t bytes = run.count * kPageBytes;
  int error = source.read(offset_of(core, source, run.first), {slot.data(), bytes});
  if (error != 0) return error;
  const CopyOp op{vram, slot.data(), bytes};
  error = core.device->copy(Direction::kToDevice, {&op, 1});
  if (error == 0) core.statistics().file_pages_read += run.count;
  return error;
}

int store_to_file(Core& core, const FileSource& source, PageRange range,
                  std::size_t* written) noexcept {
  const Slot slot(*core.pool);
  if (slot.data() == nullptr) return -ENOMEM;
  std::byte* file = slot.data();
  std::byte* room = slot.data() + kPageBytes;
  int first_error = 0;
  for (std::size_t page = range.first; page < range.end(); ++page) {
    const std::size_t at = offset_of(core, source, page);
    if (at >= source.bytes()) break;
    const std::size_t bytes = std::min(kPageBytes, source.bytes() - at);
    int error = 0;
    const std::byte* now = bytes_of(core, page, room, &error);
    if (now != nullptr) {
      error = source.read(at, {file, bytes});
      if (error == 0 && std::memcmp(file, now, bytes) != 0) {
        error = source.write(at, {now, bytes});
        if (error == 0) ++*written;
      }
    }
    if (error != 0 && first_error == 0) first_error = error;
  }
  core.statistics().file_pages_written += *written;
  return first_error;
}

}  // namespace godwit
