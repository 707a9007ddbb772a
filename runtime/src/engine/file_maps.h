// SPDX-License-Identifier: MIT
// Which regions have a file behind them. Such a region has blocks of its own.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/src/region/file_source.h"
#include "runtime/src/transfer/block_mover.h"

namespace godwit {

class FileMaps {
 public:
  FileMaps(Core& core, BlockMover& mover) : core_(core), mover_(mover) {}

  /// Puts the file behind a new region of whole blocks: at the full level its pages come when they
  /// are touched; at the resident level, and where the fault handlers have ended, all of them now.
  [[nodiscard]] Result<> attach(std::byte* region, std::size_t bytes,
                                std::unique_ptr<FileSource> source);
  /// Writes pages of the range back that differ from the file's; how many these were. 0 for a region
  /// without a file, or whose mapping is private.
  [[nodiscard]] Result<std::size_t> sync(const std::byte* region, PageRange range);
  /// The region has no file any more: pages that were not loaded read as zeros.
  void detach(const std::byte* region) noexcept;
  /// Before a fork: every page that the child could see is in RAM.
  void load_all() noexcept;

 private:
  [[nodiscard]] int await_touches(std::size_t block, const FileSource& source) noexcept;
  [[nodiscard]] int load_now(std::size_t block, const FileSource& source,
                             std::vector<std::byte>& room);
  void give_up(const std::byte* region, std::size_t bytes) noexcept;
  [[nodiscard]] FileSource* find(const std::byte* region);

  Core& core_;
  BlockMover& mover_;
  std::mutex mutex_;  // the map; taken before a block's lock, never by fault handlers
  std::map<const std::byte*, std::unique_ptr<FileSource>> maps_;
};

}  // namespace godwit
