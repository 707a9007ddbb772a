// SPDX-License-Identifier: MIT
#include "runtime/src/host/page_pool.h"

namespace godwit {
namespace {

// Slots in flight at once are few (one or two for each thread that moves pages); the rest of the
// address space is for the warm stock.
constexpr std::size_t kSlotsBeyondStock = 256;

}  // namespace

Result<std::unique_ptr<PagePool>> PagePool::create(HostMemory& host, std::size_t warm_bytes) {
  std::unique_ptr<PagePool> pool(new PagePool(host, warm_bytes));
  for (const SlotSize size : {SlotSize::kChunk, SlotSize::kBlock}) {
    Class& slots = pool->of(size);
    slots.slots = warm_bytes / bytes(size) + kSlotsBeyondStock;
    auto base = host.reserve_slots(slots.slots * bytes(size), size == SlotSize::kBlock);
    if (!base) return tl::unexpected(base.error());
    slots.base = *base;
    slots.full.reserve(slots.slots);
    slots.empty.reserve(slots.slots);
    for (std::size_t index = slots.slots; index-- > 0;) {
      slots.empty.push_back(static_cast<std::uint32_t>(index));
    }
  }
  return pool;
}

PagePool::~PagePool() {
  for (const SlotSize size : {SlotSize::kChunk, SlotSize::kBlock}) {
    if (of(size).base != nullptr) host_.release_slots(of(size).base, of(size).slots * bytes(size));
  }
}

std::byte* PagePool::take_empty(SlotSize size) noexcept {
  Class& slots = of(size);
  std::byte* slot = nullptr;
  {
    const std::lock_guard guard(mutex_);
    if (!slots.empty.empty()) {
      slot = slots.base + slots.empty.back() * bytes(size);
      slots.empty.pop_back();
      return slot;
    }
    if (slots.full.empty()) return nullptr;
    slot = slots.base + slots.full.back() * bytes(size);
    slots.full.pop_back();
    warm_ -= bytes(size);
  }
  if (host_.purge_slot(slot, bytes(size)) == 0) return slot;
  give_mixed(size, slot);
  return nullptr;
}

std::byte* PagePool::take_full(SlotSize size) noexcept {
  Class& slots = of(size);
  std::byte* slot = nullptr;
  {
    const std::lock_guard guard(mutex_);
    if (!slots.full.empty()) {
      slot = slots.base + slots.full.back() * bytes(size);
      slots.full.pop_back();
      warm_ -= bytes(size);
      return slot;
    }
    if (slots.empty.empty()) return nullptr;
    slot = slots.base + slots.empty.back() * bytes(size);
    slots.empty.pop_back();
  }
  if (host_.populate_slot(slot, bytes(size)) == 0) return slot;
  give_mixed(size, slot);
  return nullptr;
}

void PagePool::give_empty(SlotSize size, std::byte* slot) noexcept {
  // A block's slot must not keep the page table of small pages: no huge page would come there any
  // more. Cheap where there is none.
  if (size == SlotSize::kBlock) return give_mixed(size, slot);
  Class& slots = of(size);
  const std::lock_guard guard(mutex_);
  slots.empty.push_back(static_cast<std::uint32_t>(
      static_cast<std::size_t>(slot - slots.base) / bytes(size)));
}

void PagePool::give_full(SlotSize size, std::byte* slot) noexcept {
  Class& slots = of(size);
  {
    const std::lock_guard guard(mutex_);
    if (warm_ + bytes(size) <= warm_limit_) {
      warm_ += bytes(size);
      slots.full.push_back(static_cast<std::uint32_t>(
          static_cast<std::size_t>(slot - slots.base) / bytes(size)));
      return;
    }
  }
  give_mixed(size, slot);
}

void PagePool::give_mixed(SlotSize size, std::byte* slot) noexcept {
  // A purge that fails leaves pages behind; the next take_out into the slot then answers -EEXIST,
  // which stays visible as a page that could not be moved.
  if (host_.purge_slot(slot, bytes(size)) != 0) return;
  Class& slots = of(size);
  const std::lock_guard guard(mutex_);
  slots.empty.push_back(static_cast<std::uint32_t>(
      static_cast<std::size_t>(slot - slots.base) / bytes(size)));
}

std::size_t PagePool::warm_bytes() const noexcept {
  const std::lock_guard guard(mutex_);
  return warm_;
}

}  // namespace godwit
