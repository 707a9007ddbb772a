// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/kernel_hold.h"

#include <sys/mman.h>

#include <algorithm>
#include <string>

namespace godwit::kernel {

std::uint64_t chunk_bytes_of(const std::vector<PageRun>& runs) {
  std::uint64_t bytes = 0;
  std::uintptr_t counted = 0;  // the first chunk that is not counted yet
  for (const PageRun& run : runs) {
    const std::uintptr_t first = std::max(counted, align_down(run.addr, kChunkBytes));
    counted = align_up(run.end(), kChunkBytes);
    bytes += counted - first;
  }
  return bytes;
}

KernelHold::~KernelHold() {
  if (memory_ != nullptr) ::munmap(memory_, memory_bytes_);
  admission_.leave(promised_);
}

Result<> KernelHold::add(const void* base, std::size_t extent, const std::vector<PageRun>& runs,
                         ViewWindow& window) {
  operands_.emplace_back();
  if (runs.empty()) return {};
  Placed& placed = operands_.back();
  const std::uintptr_t first = align_down(runs.front().addr, kChunkBytes);
  const std::uintptr_t end = align_up(runs.back().end(), kChunkBytes);
  placed.chunks.assign((end - first) / kChunkBytes, DeviceSpan::kNoFrame);
  for (const PageRun& run : runs) {
    for (std::uintptr_t at = align_down(run.addr, kChunkBytes); at < run.end();
         at += kChunkBytes) {
      std::uint64_t& chunk = placed.chunks[(at - first) / kChunkBytes];
      if (chunk != DeviceSpan::kNoFrame) continue;
      // Not the chunk's first byte, which can be below all memory of the process.
      auto offset = window.offset_of(std::max(at, run.addr));
      if (!offset) return tl::unexpected(offset.error());
      chunk = align_down(*offset, kChunkBytes);
    }
  }
  placed.span.chunks = placed.chunks;
  placed.span.offset = reinterpret_cast<std::uintptr_t>(base) - first;
  placed.span.bytes = extent;
  return {};
}

Result<std::byte*> KernelHold::make_memory(std::size_t bytes) {
  const std::size_t whole = align_up(bytes, kChunkBytes);
  // A chunk more, so that the first byte can begin a chunk.
  void* at = ::mmap(nullptr, whole + kChunkBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    return fail(Code::kOutOfMemory,
                "no address space for " + std::to_string(bytes) + " bytes of operands");
  }
  memory_ = static_cast<std::byte*>(at);
  memory_bytes_ = whole + kChunkBytes;
  (void)::madvise(memory_, memory_bytes_, MADV_DONTFORK);
  return reinterpret_cast<std::byte*>(
      align_up(reinterpret_cast<std::uintptr_t>(at), kChunkBytes));
}

}  // namespace godwit::kernel
