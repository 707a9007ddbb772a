// SPDX-License-Identifier: MIT
// Regions with the bytes of a file, which were read at once. Pages of the kernel's own file mappings
// do not migrate until they are written, so these are pages of the process.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "runtime/src/engine/kernel/mover.h"
#include "runtime/src/engine/kernel/view_window.h"
#include "runtime/src/region/file_source.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit::kernel {

/// Thread-safe.
class LoadedFiles {
 public:
  LoadedFiles(Mover& mover, Telemetry& telemetry) : mover_(mover), telemetry_(telemetry) {}

  /// Fills a new region. Errors: kIo.
  [[nodiscard]] Result<> load(std::byte* region, std::unique_ptr<FileSource> source);
  /// Writes pages of the range back whose bytes differ from the file's, and says how many these were. A
  /// page in VRAM is read there, through `window` (null: no device was ever used), and stays. 0 for a
  /// region without a file, or whose mapping is private. Errors: kIo.
  [[nodiscard]] Result<std::size_t> sync(const std::byte* region, PageRun run,
                                         ViewWindow* window);
  void forget(const std::byte* region);
  /// Held over a fork.
  [[nodiscard]] std::mutex& mutex() { return mutex_; }

 private:
  [[nodiscard]] const FileSource* find(const std::byte* region);

  Mover& mover_;
  Telemetry& telemetry_;
  std::mutex mutex_;  // the map; a leaf
  std::map<const std::byte*, std::unique_ptr<FileSource>> files_;
};

}  // namespace godwit::kernel
