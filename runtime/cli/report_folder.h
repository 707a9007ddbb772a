// SPDX-License-Identifier: MIT
// The folder in which each process of the program leaves its statistics file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "godwit/result.h"

namespace godwit::cli {

/// A folder of mode 0700 in memory where the system has such a file system; removed with its
/// contents by remove() or the destructor.
class ReportFolder {
 public:
  /// `bytes`: how much room there should be. Errors: kIo, kOutOfMemory with a reason for each
  /// place.
  [[nodiscard]] static Result<ReportFolder> create(std::uint64_t bytes);
  ~ReportFolder() { remove(); }
  ReportFolder(ReportFolder&& other) noexcept;
  ReportFolder& operator=(ReportFolder&&) = delete;

  [[nodiscard]] const std::string& path() const { return path_; }
  /// The statistics files, in the order of their names.
  [[nodiscard]] std::vector<std::string> files() const;
  /// Never fails: what a process creates at this very moment is left behind.
  void remove() noexcept;

 private:
  explicit ReportFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

}  // namespace godwit::cli
