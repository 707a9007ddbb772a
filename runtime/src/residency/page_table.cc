// SPDX-License-Identifier: MIT
#include "runtime/src/residency/page_table.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace godwit {
namespace {

// Zero bytes are the initial value of every array here: kNative, no frame, an open lock.
static_assert(static_cast<int>(PageState::kNative) == 0);

void* reserve(std::size_t bytes) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

Result<PageTable> PageTable::create(std::byte* base, std::size_t bytes) {
  PageTable table;
  table.base_ = base;
  table.pages_ = bytes / kPageBytes;
  table.states_ = static_cast<std::atomic<std::uint8_t>*>(reserve(table.pages_));
  table.frames_ = static_cast<std::atomic<std::uint32_t>*>(reserve(bytes / kChunkBytes * 4));
  table.blocks_ = static_cast<Block*>(reserve(bytes / kBlockBytes * sizeof(Block)));
  if (table.states_ == nullptr || table.frames_ == nullptr || table.blocks_ == nullptr) {
    return fail(Code::kOutOfMemory, "no address space for the page table of an arena of " +
                                        std::to_string(bytes >> 20) + " MiB");
  }
  return table;
}

PageTable::PageTable(PageTable&& other) noexcept
    : base_(other.base_),
      pages_(other.pages_),
      states_(std::exchange(other.states_, nullptr)),
      frames_(std::exchange(other.frames_, nullptr)),
      blocks_(std::exchange(other.blocks_, nullptr)) {}

PageTable::~PageTable() {
  const std::size_t bytes = pages_ * kPageBytes;
  if (states_ != nullptr) ::munmap(static_cast<void*>(states_), pages_);
  if (frames_ != nullptr) ::munmap(static_cast<void*>(frames_), bytes / kChunkBytes * 4);
  if (blocks_ != nullptr) {
    ::munmap(static_cast<void*>(blocks_), bytes / kBlockBytes * sizeof(Block));
  }
}

void PageTable::apply(std::size_t page, PageEvent event) noexcept {
  const PageState from = state(page);
  const std::uint8_t to = next_state(from, event);
  if (to == kForbidden) {
    char text[160];
    const int length = std::snprintf(
        text, sizeof(text), "godwit: bug: page %zu (%p) in state %s met event %s\n", page,
        static_cast<void*>(address(page)), page_state_name(from).data(),
        page_event_name(event).data());
    if (::write(STDERR_FILENO, text, static_cast<std::size_t>(length)) < 0) std::abort();
    std::abort();
  }
  states_[page].store(to, std::memory_order_relaxed);
}

void PageTable::lock(std::size_t index) noexcept {
  std::atomic<std::uint32_t>& word = blocks_[index].lock;
  std::uint32_t expected = 0;
  if (word.compare_exchange_strong(expected, 1, std::memory_order_acquire)) return;
  while (word.exchange(2, std::memory_order_acquire) != 0) word.wait(2, std::memory_order_relaxed);
}

bool PageTable::try_lock(std::size_t index) noexcept {
  std::uint32_t expected = 0;
  return blocks_[index].lock.compare_exchange_strong(expected, 1, std::memory_order_acquire);
}

bool PageTable::unlock(std::size_t index) noexcept {
  Block& target = blocks_[index];
  // The word first, the flag second: a handler sets the flag and then tries the word again.
  if (target.lock.exchange(0) == 2) target.lock.notify_one();
  return target.wake.load() && target.wake.exchange(false);
}

}  // namespace godwit
