// SPDX-License-Identifier: MIT
#include "runtime/src/blas/staging.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "godwit/units.h"

namespace godwit {
namespace {

/// Columns of at least this size are worth a copy of their own.
constexpr std::uint64_t kDirectBytes = kChunkBytes;
/// Pieces that are handed to the device at once.
constexpr std::size_t kMaxOps = 1024;

/// Moves bytes [at, at + bytes) of the packed form of a matrix between it and `packed`.
template <typename Move>
void each_piece(const Matrix& matrix, std::uint64_t at, std::uint64_t bytes, const Move& move) {
  const std::uint64_t run = matrix.dense() ? matrix.bytes() : matrix.column_bytes();
  std::uint64_t done = 0;
  while (done < bytes) {
    const std::uint64_t position = at + done;
    const std::uint64_t within = position % run;
    const std::uint64_t piece = std::min(run - within, bytes - done);
    // The matrix is const only for those who read it.
    move(const_cast<std::byte*>(matrix.column(position / run)) + within, done, piece);
    done += piece;
  }
}

}  // namespace

HostBuffer::~HostBuffer() {
  if (data_ != nullptr) pool_->put(data_, bytes_);
}

BufferPool::~BufferPool() {
  for (std::byte* data : kept_) ::munmap(data, kKeptBytes);
}

Result<HostBuffer> BufferPool::get(std::size_t bytes) {
  if (bytes <= kKeptBytes) {
    bytes = kKeptBytes;
    const std::lock_guard lock(mutex_);
    if (!kept_.empty()) {
      std::byte* data = kept_.back();
      kept_.pop_back();
      return HostBuffer(this, data, bytes);
    }
  }
  bytes = align_up(bytes, kPageBytes);
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) {
    return fail(Code::kOutOfMemory,
                "no memory for a buffer of " + std::to_string(bytes) + " bytes");
  }
  return HostBuffer(this, static_cast<std::byte*>(data), bytes);
}

void BufferPool::put(std::byte* data, std::size_t bytes) noexcept {
  if (bytes == kKeptBytes) {
    const std::lock_guard lock(mutex_);
    if (kept_.size() < kKept) {
      kept_.reserve(kKept);
      kept_.push_back(data);
      return;
    }
  }
  ::munmap(data, bytes);
}

tl::unexpected<Error> fail_device(int error, const char* what) {
  const std::string message = std::string(what) + ": ";
  switch (-error) {
    case ENODEV: return fail(Code::kDeviceLost, message + "the device is lost");
    case ETIMEDOUT: return fail(Code::kDeviceLost, message + "the device does not answer");
    case ENOMEM: return fail(Code::kOutOfMemory, message + "the device is out of memory");
    case EOPNOTSUPP: return fail(Code::kUnsupported, message + "this device cannot do it");
    default: return fail(Code::kIo, message + std::strerror(-error));
  }
}

DeviceSpan subspan(const DeviceSpan& span, std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t at = span.offset + offset;
  DeviceSpan part;
  part.chunks = span.chunks.subspan(std::min(at / kChunkBytes, span.chunks.size()));
  part.offset = at % kChunkBytes;
  part.bytes = bytes;
  return part;
}

Result<> Stager::upload(const Matrix& from, const DeviceSpan& to, bool direct) {
  return transfer(Direction::kToDevice, from, to, direct);
}

Result<> Stager::download(const DeviceSpan& from, const Matrix& to, bool direct) {
  return transfer(Direction::kToHost, to, from, direct);
}

Result<> Stager::transfer(Direction direction, const Matrix& matrix, const DeviceSpan& span,
                          bool direct) {
  if (matrix.empty()) return {};
  ops_.clear();
  const std::uint64_t total = matrix.bytes();
  const std::uint64_t run = matrix.dense() ? total : matrix.column_bytes();
  bytes_ += total;
  if (direct && run >= kDirectBytes) {
    for (std::uint64_t at = 0; at < total; at += run) {
      add(span, at, const_cast<std::byte*>(matrix.column(at / run)), run);
      if (ops_.size() < kMaxOps) continue;
      if (Result<> done = flush(direction); !done) return done;
    }
    return flush(direction);
  }
  Result<HostBuffer> buffer = pool_.get(BufferPool::kKeptBytes);
  if (!buffer) return tl::unexpected(buffer.error());
  std::byte* const packed = buffer->data();
  for (std::uint64_t at = 0; at < total; at += buffer->bytes()) {
    const std::uint64_t bytes = std::min<std::uint64_t>(buffer->bytes(), total - at);
    add(span, at, packed, bytes);
    if (direction == Direction::kToDevice) {
      each_piece(matrix, at, bytes,
                 [packed](std::byte* host, std::uint64_t offset, std::uint64_t piece) {
                   std::memcpy(packed + offset, host, piece);
                 });
    }
    if (Result<> done = flush(direction); !done) return done;
    if (direction == Direction::kToHost) {
      each_piece(matrix, at, bytes,
                 [packed](std::byte* host, std::uint64_t offset, std::uint64_t piece) {
                   std::memcpy(host, packed + offset, piece);
                 });
    }
  }
  return {};
}

void Stager::add(const DeviceSpan& span, std::uint64_t at, std::byte* host,
                 std::uint64_t bytes) {
  std::uint64_t position = span.offset + at;
  while (bytes != 0) {
    const std::uint64_t within = position % kChunkBytes;
    const std::uint64_t piece = std::min(kChunkBytes - within, bytes);
    const std::uint64_t vram = span.chunks[position / kChunkBytes] + within;
    if (!ops_.empty() && ops_.back().vram + ops_.back().bytes == vram &&
        ops_.back().host + ops_.back().bytes == host) {
      ops_.back().bytes += piece;
    } else {
      ops_.push_back({vram, host, piece});
    }
    position += piece;
    host += piece;
    bytes -= piece;
  }
}

Result<> Stager::flush(Direction direction) {
  if (ops_.empty()) return {};
  const int error = device_.copy(direction, ops_);
  ops_.clear();
  if (error != 0) return fail_device(error, "copying an operand");
  return {};
}

void scatter(const Matrix& packed, const Matrix& to) noexcept {
  if (packed.empty()) return;
  if (to.dense()) {
    std::memcpy(const_cast<std::byte*>(to.base()), packed.base(), to.bytes());
    return;
  }
  for (std::uint64_t index = 0; index < to.columns(); ++index) {
    std::memcpy(const_cast<std::byte*>(to.column(index)), packed.column(index),
                to.column_bytes());
  }
}

}  // namespace godwit
