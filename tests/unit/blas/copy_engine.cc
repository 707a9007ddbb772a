// SPDX-License-Identifier: MIT
#include "tests/unit/blas/copy_engine.h"

#include <sys/mman.h>

#include <algorithm>
#include <map>

#include "godwit/units.h"

namespace godwit::test {

class CopyEngine::CopyHold final : public Hold {
 public:
  explicit CopyHold(CopyEngine& engine) : engine_(engine) {}
  ~CopyHold() override {
    for (const auto& [chunk, frame] : dirty_) {
      const CopyOp op{frame, engine_.arena_ + chunk * kChunkBytes, kChunkBytes};
      (void)engine_.device_->copy(Direction::kToHost, std::span(&op, 1));
    }
    engine_.give_back(frames_);
  }
  [[nodiscard]] const DeviceSpan& span(std::size_t operand) const override {
    return spans_[operand];
  }

 private:
  friend class CopyEngine;
  CopyEngine& engine_;
  std::vector<std::uint64_t> frames_;
  std::map<std::size_t, std::uint64_t> dirty_;  // chunk of the arena, frame
  std::vector<std::vector<std::uint64_t>> tables_;
  std::vector<DeviceSpan> spans_;
};

CopyEngine::CopyEngine(std::uint64_t vram_bytes, std::size_t arena_bytes)
    : vram_bytes_(vram_bytes), bytes_(arena_bytes) {
  // One chunk more, so that the arena can start at a chunk.
  auto* memory = static_cast<std::byte*>(
      ::mmap(nullptr, arena_bytes + kChunkBytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  arena_ = memory + (kChunkBytes - reinterpret_cast<std::uintptr_t>(memory) % kChunkBytes) %
                        kChunkBytes;
  DeviceOptions options;
  options.vram_bytes = std::max<std::uint64_t>(vram_bytes, kBlockBytes);
  options.threads = 2;
  device_ = std::move(*make_soft_device(options));
  for (std::uint64_t frame = vram_bytes; frame != 0; frame -= kChunkBytes) {
    free_.push_back(frame - kChunkBytes);
  }
  // Neighbours in memory should not be neighbours in VRAM.
  for (std::size_t index = 0; index + 3 < free_.size(); index += 4) {
    std::swap(free_[index], free_[index + 2]);
  }
}

CopyEngine::~CopyEngine() = default;  // the arena stays: tests are short

std::size_t CopyEngine::frames_in_use() {
  const std::lock_guard lock(mutex_);
  return vram_bytes_ / kChunkBytes - free_.size();
}

bool CopyEngine::manages(const void* address) const noexcept {
  const auto* byte = static_cast<const std::byte*>(address);
  return byte >= arena_ && byte < arena_ + bytes_;
}

Result<> CopyEngine::residency(const void*, std::size_t, std::span<Residency> pages) const {
  std::fill(pages.begin(), pages.end(), where);
  return {};
}

bool CopyEngine::take(std::size_t count, std::vector<std::uint64_t>& frames) {
  const std::lock_guard lock(mutex_);
  if (free_.size() < count) return false;
  for (; count != 0; --count) {
    frames.push_back(free_.back());
    free_.pop_back();
  }
  return true;
}

void CopyEngine::give_back(const std::vector<std::uint64_t>& frames) {
  const std::lock_guard lock(mutex_);
  free_.insert(free_.end(), frames.begin(), frames.end());
}

Result<std::unique_ptr<Hold>> CopyEngine::acquire(std::span<const Operand> operands) {
  std::map<std::size_t, std::uint64_t> frame_of;
  auto hold = std::make_unique<CopyHold>(*this);
  {
    const std::lock_guard lock(mutex_);
    acquired.insert(acquired.end(), operands.begin(), operands.end());
    if (refuse_acquires > 0) {
      --refuse_acquires;
      return fail(Code::kOutOfMemory, "refused for a test");
    }
  }
  const auto each_chunk = [this](const Operand& operand, const auto& visit) {
    const auto* base = static_cast<const std::byte*>(operand.base);
    for (std::size_t run = 0; run < operand.count; ++run) {
      const auto start = static_cast<std::size_t>(base + run * operand.stride - arena_);
      for (std::size_t chunk = start / kChunkBytes;
           chunk <= (start + operand.bytes - 1) / kChunkBytes; ++chunk) {
        visit(chunk);
      }
    }
  };
  for (const Operand& operand : operands) {
    if (operand.access != Access::kRead && resident) {
      return fail(Code::kUnsupported, "this level lends pages for reading only");
    }
    each_chunk(operand, [&](std::size_t chunk) { frame_of[chunk] = 0; });
  }
  if (!take(frame_of.size(), hold->frames_)) {
    return fail(Code::kOutOfMemory, "no frames");
  }
  std::size_t next = 0;
  for (auto& [chunk, frame] : frame_of) {
    frame = hold->frames_[next++];
    const CopyOp op{frame, arena_ + chunk * kChunkBytes, kChunkBytes};
    if (device_->copy(Direction::kToDevice, std::span(&op, 1)) != 0) {
      return fail(Code::kDeviceLost, "copy failed");
    }
  }
  hold->tables_.reserve(operands.size());
  for (const Operand& operand : operands) {
    const auto start = static_cast<std::size_t>(static_cast<const std::byte*>(operand.base) -
                                                arena_);
    const std::size_t first = start / kChunkBytes;
    std::vector<std::uint64_t> table((start + operand.extent() - 1) / kChunkBytes + 1 - first,
                                     DeviceSpan::kNoFrame);
    each_chunk(operand, [&](std::size_t chunk) {
      table[chunk - first] = frame_of[chunk];
      if (operand.access != Access::kRead) hold->dirty_[chunk] = frame_of[chunk];
    });
    hold->tables_.push_back(std::move(table));
    hold->spans_.push_back({hold->tables_.back(), start % kChunkBytes, operand.extent()});
  }
  return std::unique_ptr<Hold>(std::move(hold));
}

Result<std::unique_ptr<Hold>> CopyEngine::scratch(std::size_t bytes) {
  auto hold = std::make_unique<CopyHold>(*this);
  {
    const std::lock_guard lock(mutex_);
    ++scratches;
  }
  if (!take((bytes + kChunkBytes - 1) / kChunkBytes, hold->frames_)) {
    return fail(Code::kOutOfMemory, "no frames for scratch");
  }
  hold->tables_.push_back(hold->frames_);
  hold->spans_.push_back({hold->tables_.back(), 0, bytes});
  return std::unique_ptr<Hold>(std::move(hold));
}

}  // namespace godwit::test
