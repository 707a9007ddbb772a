// SPDX-License-Identifier: MIT
#include "runtime/src/device/vulkan/vulkan_ring.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace godwit::vulkan {
namespace {

// Gathers regions between one pair of buffers into few vkCmdCopyBuffer calls.
class Regions {
 public:
  Regions(Gpu& gpu, VkCommandBuffer commands, VkBuffer host, bool to_device)
      : gpu_(gpu), commands_(commands), host_(host), to_device_(to_device) {}

  void add(VkBuffer vram, std::uint64_t vram_offset, std::uint64_t host_offset,
           std::uint64_t bytes) {
    if (count_ == regions_.size() || (count_ > 0 && vram != vram_)) flush();
    vram_ = vram;
    VkBufferCopy& region = regions_[count_++];
    region.srcOffset = to_device_ ? host_offset : vram_offset;
    region.dstOffset = to_device_ ? vram_offset : host_offset;
    region.size = bytes;
  }

  void flush() {
    if (count_ == 0) return;
    gpu_.vk.vkCmdCopyBuffer(commands_, to_device_ ? host_ : vram_, to_device_ ? vram_ : host_,
                            count_, regions_.data());
    count_ = 0;
  }

 private:
  Gpu& gpu_;
  VkCommandBuffer commands_;
  VkBuffer host_;
  bool to_device_;
  VkBuffer vram_ = VK_NULL_HANDLE;
  std::uint32_t count_ = 0;
  std::array<VkBufferCopy, 32> regions_;
};

}  // namespace

Result<std::unique_ptr<Ring>> Ring::create(Gpu& gpu, Vram& vram, Source source,
                                           Timeline& compute) {
  std::unique_ptr<Ring> ring(new Ring(gpu, vram, compute));
  auto timeline = Timeline::create(gpu);
  if (!timeline) return tl::unexpected(std::move(timeline.error()));
  ring->timeline_ = std::move(*timeline);
  const int error = Buffer::create_host(gpu, kSlots * kSlotBytes, Use::kStaging, source,
                                        &ring->memory_);
  if (error == -EOPNOTSUPP) {
    return fail(Code::kUnavailable, source == Source::kImport
                                        ? "the device cannot import host memory"
                                        : "the device has no coherent host-visible memory");
  }
  if (error != 0) return fail(Code::kOutOfMemory, "no memory for the staging ring");
  for (std::size_t i = 0; i < kSlots; ++i) {
    Slot& slot = ring->slots_[i];
    slot.offset = i * kSlotBytes;
    VkCommandPoolCreateInfo pool{};
    pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    pool.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT;
    pool.queueFamilyIndex = gpu.transfer_queue().family;
    VkResult result = gpu.vk.vkCreateCommandPool(gpu.handle(), &pool, nullptr, &slot.pool);
    if (result == VK_SUCCESS) {
      VkCommandBufferAllocateInfo info{};
      info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
      info.commandPool = slot.pool;
      info.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
      info.commandBufferCount = kCommands;
      result = gpu.vk.vkAllocateCommandBuffers(gpu.handle(), &info, slot.commands);
    }
    if (result != VK_SUCCESS) {
      return fail(Code::kOutOfMemory, "no command buffers", {result_name(result)});
    }
  }
  return ring;
}

Ring::~Ring() {
  if (timeline_ != nullptr) timeline_->drain();
  for (const Slot& slot : slots_) {
    if (slot.pool != VK_NULL_HANDLE) {
      gpu_.vk.vkDestroyCommandPool(gpu_.handle(), slot.pool, nullptr);
    }
  }
}

int Ring::acquire(bool block, Slot** slot) noexcept {
  const Clock::time_point deadline = Clock::now() + kCopyBound * kCopyPatience;
  std::unique_lock guard(lock_);
  for (;;) {
    if (gpu_.lost()) return -ENODEV;
    for (Slot& candidate : slots_) {
      if (candidate.held) continue;
      candidate.held = true;
      *slot = &candidate;
      return 0;
    }
    if (!block) return -EAGAIN;
    if (Clock::now() >= deadline) return -ETIMEDOUT;
    freed_.wait_for(guard, kWaitSlice);
  }
}

void Ring::release(Slot& slot) noexcept {
  {
    const std::lock_guard guard(lock_);
    slot.held = false;
  }
  freed_.notify_one();
}

int Ring::finish(std::uint64_t value) noexcept {
  for (int patience = kCopyPatience;; --patience) {
    const int error = timeline_->wait(value, Clock::now() + kCopyBound);
    if (error != -ETIMEDOUT) return error;
    bool idle = true;
    if (gpu_.physical().shared_queue && compute_.poll(compute_.last(), &idle) != 0) idle = true;
    if (idle || patience == 0) {
      gpu_.lose();
      return -ETIMEDOUT;
    }
  }
}

Ring::Cursor Ring::touch_host(Direction direction, std::span<const CopyOp> ops, Cursor cursor,
                              std::uint64_t bytes, std::byte* slot) noexcept {
  while (bytes > 0) {
    const CopyOp& op = ops[cursor.op];
    const std::uint64_t part = std::min<std::uint64_t>(bytes, op.bytes - cursor.offset);
    std::byte* const host = op.host + cursor.offset;
    if (part > 0 && direction == Direction::kToDevice) std::memcpy(slot, host, part);
    if (part > 0 && direction == Direction::kToHost) std::memcpy(host, slot, part);
    slot += part;
    bytes -= part;
    cursor.offset += part;
    if (cursor.offset == op.bytes) cursor = {cursor.op + 1, 0};
  }
  return cursor;
}

int Ring::record(VkCommandBuffer commands, Direction direction, std::span<const CopyOp> ops,
                 Cursor cursor, std::uint64_t bytes, std::uint64_t slot_offset) noexcept {
  int error = begin_commands(gpu_, commands);
  if (error != 0) return error;
  Regions regions(gpu_, commands, memory_.handle(), direction == Direction::kToDevice);
  while (bytes > 0) {
    const CopyOp& op = ops[cursor.op];
    if (cursor.offset == op.bytes) {
      cursor = {cursor.op + 1, 0};
      continue;
    }
    Vram::Place place;
    error = vram_.locate(op.vram + cursor.offset, &place);
    if (error != 0) return error;
    const std::uint64_t part = std::min({bytes, op.bytes - cursor.offset, place.bytes});
    regions.add(place.buffer, place.offset, slot_offset, part);
    slot_offset += part;
    bytes -= part;
    cursor.offset += part;
  }
  regions.flush();
  return end_commands(gpu_, commands);
}

int Ring::start(Direction direction, std::span<const CopyOp> ops, Cursor* cursor,
                Batch* batch) noexcept {
  Slot& slot = *batch->slot;
  int error = gpu_.error_of(gpu_.vk.vkResetCommandPool(gpu_.handle(), slot.pool, 0));
  if (error != 0) return error;
  batch->begin = *cursor;
  const bool to_device = direction == Direction::kToDevice;
  // To the host, the slot is one piece: its bytes are stored only when all of them have arrived.
  const std::uint64_t limit = to_device ? kPieceBytes : kSlotBytes;
  for (std::size_t i = 0; batch->bytes < kSlotBytes && cursor->op < ops.size(); ++i) {
    std::uint64_t bytes = 0;
    Cursor end = *cursor;
    while (bytes < limit && end.op < ops.size()) {
      const std::uint64_t part =
          std::min<std::uint64_t>(limit - bytes, ops[end.op].bytes - end.offset);
      bytes += part;
      end.offset += part;
      if (end.offset == ops[end.op].bytes) end = {end.op + 1, 0};
    }
    if (bytes == 0) {
      *cursor = end;
      break;
    }
    const std::uint64_t offset = slot.offset + batch->bytes;
    if (to_device) touch_host(direction, ops, *cursor, bytes, memory_.data() + offset);
    error = record(slot.commands[i], direction, ops, *cursor, bytes, offset);
    if (error == 0) {
      error = timeline_->submit(gpu_.transfer_queue(), {&slot.commands[i], 1}, &batch->value);
    }
    if (error != 0) return error;
    batch->bytes += bytes;
    *cursor = end;
  }
  return 0;
}

int Ring::copy(Direction direction, std::span<const CopyOp> ops) noexcept {
  std::array<Batch, kSlots> batches;  // under way, oldest at `first`
  std::size_t first = 0;
  std::size_t count = 0;
  Cursor cursor;
  int error = 0;
  while (count > 0 || (error == 0 && cursor.op < ops.size())) {
    // A call leaves half of the slots to others: a fault handler may be among them.
    if (error == 0 && cursor.op < ops.size() && count < kSlots / 2) {
      Slot* slot = nullptr;
      const int status = acquire(count == 0, &slot);
      if (status == 0) {
        Batch& batch = batches[(first + count++) % kSlots];
        batch = Batch{.slot = slot, .begin = {}, .bytes = 0, .value = 0};
        error = start(direction, ops, &cursor, &batch);
        continue;
      }
      if (status != -EAGAIN) error = status;
      if (count == 0) continue;
    }
    Batch& batch = batches[first];
    // A slot goes back only when the device is done with it, or is lost.
    const int status = batch.value > 0 ? finish(batch.value) : 0;
    if (error == 0) error = status;
    if (error == 0 && direction == Direction::kToHost) {
      touch_host(direction, ops, batch.begin, batch.bytes,
                 memory_.data() + batch.slot->offset);
    }
    release(*batch.slot);
    first = (first + 1) % kSlots;
    --count;
  }
  return error;
}

int Ring::clear(std::uint64_t vram, std::uint64_t bytes) noexcept {
  if (bytes == 0) return 0;
  Slot* slot = nullptr;
  int error = acquire(true, &slot);
  if (error != 0) return error;
  const VkCommandBuffer commands = slot->commands[0];
  std::uint64_t value = 0;
  error = gpu_.error_of(gpu_.vk.vkResetCommandPool(gpu_.handle(), slot->pool, 0));
  if (error == 0) error = begin_commands(gpu_, commands);
  // Fills are in whole words; the ends that are not come from zeros in the slot.
  std::memset(memory_.data() + slot->offset, 0, sizeof(std::uint32_t));
  while (error == 0 && bytes > 0) {
    Vram::Place place;
    error = vram_.locate(vram, &place);
    if (error != 0) break;
    std::uint64_t part = std::min(bytes, place.bytes);
    const std::uint64_t odd = vram % 4;
    if (odd != 0 || part < 4) {
      part = std::min(part, 4 - odd);
      const VkBufferCopy region{slot->offset, place.offset, part};
      gpu_.vk.vkCmdCopyBuffer(commands, memory_.handle(), place.buffer, 1, &region);
    } else {
      part = align_down(part, 4);
      gpu_.vk.vkCmdFillBuffer(commands, place.buffer, place.offset, part, 0);
    }
    vram += part;
    bytes -= part;
  }
  if (error == 0) error = end_commands(gpu_, commands);
  if (error == 0) error = timeline_->submit(gpu_.transfer_queue(), {&commands, 1}, &value);
  if (error == 0) error = finish(value);
  release(*slot);
  return error;
}

}  // namespace godwit::vulkan
