// SPDX-License-Identifier: MIT
// Matrices between host memory and VRAM in packed form: columns one after the other, without the
// gaps between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "godwit/result.h"
#include "runtime/src/blas/matrix.h"
#include "runtime/src/device/device.h"

namespace godwit {

class BufferPool;

/// Host memory that is never managed, so that a device may copy to and from it at any time.
/// Goes back to its pool, which must outlive it.
class HostBuffer {
 public:
  HostBuffer() = default;
  HostBuffer(HostBuffer&& other) noexcept
      : pool_(other.pool_), data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  HostBuffer& operator=(HostBuffer&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~HostBuffer();
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  friend class BufferPool;
  HostBuffer(BufferPool* pool, std::byte* data, std::size_t bytes)
      : pool_(pool), data_(data), bytes_(bytes) {}
  BufferPool* pool_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

/// Thread-safe. Keeps a few small buffers: most products are small and come in great numbers.
class BufferPool {
 public:
  static constexpr std::size_t kKeptBytes = std::size_t{4} << 20;
  static constexpr std::size_t kKept = 8;

  BufferPool() = default;
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// At least `bytes`, contents undefined. kOutOfMemory.
  [[nodiscard]] Result<HostBuffer> get(std::size_t bytes);

 private:
  friend class HostBuffer;
  void put(std::byte* data, std::size_t bytes) noexcept;

  std::mutex mutex_;
  std::vector<std::byte*> kept_;
};

/// The Error for a negative errno of a device.
[[nodiscard]] tl::unexpected<Error> fail_device(int error, const char* what);

/// The part of a span from `offset` on.
[[nodiscard]] DeviceSpan subspan(const DeviceSpan& span, std::uint64_t offset,
                                 std::uint64_t bytes);

/// Copies between a matrix and the first bytes() of a span, packed there. The CPU touches the
/// matrix; the device touches only `pool`'s memory, unless `direct`: then columns that are long
/// enough are copied straight from or to the matrix, which must not be managed memory.
class Stager {
 public:
  Stager(Device& device, BufferPool& pool) : device_(device), pool_(pool) {}
  [[nodiscard]] Result<> upload(const Matrix& from, const DeviceSpan& to, bool direct);
  /// A failure may leave a part of `to` written.
  [[nodiscard]] Result<> download(const DeviceSpan& from, const Matrix& to, bool direct);
  /// Bytes copied so far.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  [[nodiscard]] Result<> transfer(Direction direction, const Matrix& matrix,
                                  const DeviceSpan& span, bool direct);
  void add(const DeviceSpan& span, std::uint64_t at, std::byte* host, std::uint64_t bytes);
  [[nodiscard]] Result<> flush(Direction direction);

  Device& device_;
  BufferPool& pool_;
  std::vector<CopyOp> ops_;
  std::uint64_t bytes_ = 0;
};

/// Stores a packed matrix (`packed` has rows() as its leading dimension) in another, column by
/// column, and nothing between the columns.
void scatter(const Matrix& packed, const Matrix& to) noexcept;

}  // namespace godwit
