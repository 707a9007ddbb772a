// SPDX-License-Identifier: MIT
#include "runtime/src/region/arena.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace godwit {
namespace {

constexpr std::size_t kSmallestArena = std::size_t{1} << 30;

std::size_t default_bytes() {
  const auto pages = static_cast<std::size_t>(::sysconf(_SC_PHYS_PAGES));
  return align_up(pages * kPageBytes * 16, kBlockBytes);
}

std::byte* align_pointer(std::byte* pointer, std::size_t alignment) {
  return reinterpret_cast<std::byte*>(
      align_up(reinterpret_cast<std::uintptr_t>(pointer), alignment));
}

}  // namespace

Result<Arena> Arena::reserve(std::size_t wanted) {
  std::size_t bytes = wanted == 0 ? default_bytes() : align_up(wanted, kBlockBytes);
  while (true) {
    const std::size_t span = bytes + kBlockBytes;  // room to align the base to a block
    void* memory = ::mmap(nullptr, span, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory != MAP_FAILED) {
      auto* start = static_cast<std::byte*>(memory);
      std::byte* base = align_pointer(start, kBlockBytes);
      if (base != start) ::munmap(start, static_cast<std::size_t>(base - start));
      const auto tail = static_cast<std::size_t>(start + span - (base + bytes));
      if (tail != 0) ::munmap(base + bytes, tail);
      ::madvise(base, bytes, MADV_HUGEPAGE);
      return Arena(base, bytes);
    }
    if (bytes / 2 < kSmallestArena || (wanted != 0 && bytes / 2 < std::min(wanted, kBlockBytes))) {
      return fail(Code::kOutOfMemory,
                  "cannot reserve " + std::to_string(bytes >> 20) +
                      " MiB of address space; raise the limit on virtual memory (ulimit -v) or "
                      "set GODWIT_ARENA to a smaller size");
    }
    bytes = align_down(bytes / 2, kBlockBytes);
  }
}

Arena::Arena(std::byte* base, std::size_t bytes) : base_(base), bytes_(bytes) {
  add_free(base, bytes);
}

Arena::Arena(Arena&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      free_(std::move(other.free_)),
      free_by_size_(std::move(other.free_by_size_)),
      regions_(std::move(other.regions_)) {}

Arena::~Arena() {
  if (bytes_ != 0) ::munmap(base_, bytes_);
}

void Arena::add_free(std::byte* base, std::size_t bytes) {
  free_.emplace(base, bytes);
  free_by_size_.emplace(bytes, base);
}

void Arena::remove_free(std::map<std::byte*, std::size_t>::iterator entry) {
  free_by_size_.erase({entry->second, entry->first});
  free_.erase(entry);
}

std::byte* Arena::allocate(std::size_t bytes, std::size_t alignment) {
  if (bytes == 0 || bytes > bytes_) return nullptr;
  const std::size_t length = align_up(bytes, kChunkBytes);
  // A region of a block or more starts at a block, so that huge pages serve all of it.
  const std::size_t natural = length >= kBlockBytes ? kBlockBytes : kChunkBytes;
  const std::size_t unit = std::max(alignment, natural);
  const std::lock_guard guard(mutex_);
  for (auto candidate = free_by_size_.lower_bound({length, nullptr});
       candidate != free_by_size_.end(); ++candidate) {
    const auto [size, start] = *candidate;
    std::byte* base = align_pointer(start, unit);
    const auto before = static_cast<std::size_t>(base - start);
    if (before + length > size) continue;
    remove_free(free_.find(start));
    if (before != 0) add_free(start, before);
    if (before + length != size) add_free(base + length, size - before - length);
    regions_.emplace(base, Region{base, length, Advice::kNormal});
    return base;
  }
  return nullptr;
}

std::size_t Arena::size_at(const void* region) const {
  const std::lock_guard guard(mutex_);
  const auto entry = regions_.find(static_cast<std::byte*>(const_cast<void*>(region)));
  return entry == regions_.end() ? 0 : entry->second.bytes;
}

bool Arena::release(void* region) {
  const std::lock_guard guard(mutex_);
  const auto entry = regions_.find(static_cast<std::byte*>(region));
  if (entry == regions_.end()) return false;
  std::byte* base = entry->second.base;
  std::size_t bytes = entry->second.bytes;
  regions_.erase(entry);
  const auto after = free_.lower_bound(base);
  if (after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == base) {
      base = before->first;
      bytes += before->second;
      remove_free(before);
    }
  }
  if (after != free_.end() && after->first == base + bytes) {
    bytes += after->second;
    remove_free(after);
  }
  add_free(base, bytes);
  return true;
}

Arena::Region Arena::find(const void* address) const {
  const std::lock_guard guard(mutex_);
  auto* at = static_cast<std::byte*>(const_cast<void*>(address));
  auto entry = regions_.upper_bound(at);
  if (entry == regions_.begin()) return {};
  --entry;
  const Region& region = entry->second;
  return at < region.base + region.bytes ? region : Region{};
}

bool Arena::set_advice(const void* address, Advice advice) {
  const std::lock_guard guard(mutex_);
  auto* at = static_cast<std::byte*>(const_cast<void*>(address));
  auto entry = regions_.upper_bound(at);
  if (entry == regions_.begin()) return false;
  --entry;
  if (at >= entry->second.base + entry->second.bytes) return false;
  entry->second.advice = advice;
  return true;
}

Arena::Region Arena::next(const void* from) const {
  const std::lock_guard guard(mutex_);
  const auto entry =
      regions_.lower_bound(static_cast<std::byte*>(const_cast<void*>(from)));
  return entry == regions_.end() ? Region{} : entry->second;
}

}  // namespace godwit
