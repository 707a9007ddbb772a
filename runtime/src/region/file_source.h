// SPDX-License-Identifier: MIT
// The part of a file that is behind a region.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "godwit/memory.h"
#include "godwit/result.h"

namespace godwit {

/// Owns the descriptor. Calls take offsets from the region's start, answer 0 or a negative errno,
/// never allocate, and may be made by several threads at once.
class FileSource {
 public:
  /// Errors: kInvalidArgument for a range that the file does not have, kIo with the system's reason.
  [[nodiscard]] static Result<std::unique_ptr<FileSource>> open(const std::string& path,
                                                                const MapOptions& options);
  ~FileSource();
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  /// Where the first byte is in memory; before the source is given to a block.
  void place(const std::byte* base) { base_ = base; }
  [[nodiscard]] std::size_t offset_of(const std::byte* address) const {
    return static_cast<std::size_t>(address - base_);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool shared() const { return sharing_ == Sharing::kShared; }

  /// Fills `to`; what lies behind the mapped part, or behind an end that has moved, is zeros.
  [[nodiscard]] int read(std::size_t at, std::span<std::byte> to) const noexcept;
  /// Writes what of `from` lies in the mapped part. -EBADF where the mapping is private.
  [[nodiscard]] int write(std::size_t at, std::span<const std::byte> from) const noexcept;
  /// What was written is on the disk. 0 where the mapping is private.
  [[nodiscard]] int flush() const noexcept;

 private:
  FileSource(std::string path, int fd, std::uint64_t offset, std::size_t bytes, Sharing sharing)
      : path_(std::move(path)), fd_(fd), offset_(offset), bytes_(bytes), sharing_(sharing) {}

  std::string path_;
  int fd_;
  std::uint64_t offset_;
  std::size_t bytes_;
  Sharing sharing_;
  const std::byte* base_ = nullptr;
};

}  // namespace godwit
