// SPDX-License-Identifier: MIT
#include "runtime/cli/report_folder.h"

#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "runtime/cli/human.h"

namespace godwit::cli {
namespace {

namespace fs = std::filesystem;

std::string error_text(int error) { return std::generic_category().message(error); }

}  // namespace

Result<ReportFolder> ReportFolder::create(std::uint64_t bytes) {
  std::vector<std::string> places = {"/dev/shm"};
  if (const char* temporary = ::getenv("TMPDIR"); temporary != nullptr && *temporary == '/') {
    places.emplace_back(temporary);
  }
  places.emplace_back("/tmp");
  std::vector<std::string> reasons;
  for (const std::string& place : places) {
    struct statvfs room {};
    if (::statvfs(place.c_str(), &room) != 0) {
      reasons.push_back(place + ": " + error_text(errno));
      continue;
    }
    const std::uint64_t free_bytes = std::uint64_t{room.f_bavail} * room.f_frsize;
    if (free_bytes < bytes) {
      reasons.push_back(place + ": " + size_text(free_bytes) + " free, needs " + size_text(bytes));
      continue;
    }
    std::string path = place + "/godwit-XXXXXX";
    if (::mkdtemp(path.data()) != nullptr) return ReportFolder(std::move(path));
    reasons.push_back(place + ": " + error_text(errno));
  }
  return fail(Code::kIo, "no place for statistics", std::move(reasons));
}

ReportFolder::ReportFolder(ReportFolder&& other) noexcept
    : path_(std::exchange(other.path_, std::string())) {}

std::vector<std::string> ReportFolder::files() const {
  std::vector<std::string> result;
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end;
       entry.increment(error)) {
    // Opening anything else (a pipe) could wait for ever.
    std::error_code ignored;
    if (entry->path().extension() == ".stats" && !entry->is_symlink(ignored) &&
        entry->is_regular_file(ignored)) {
      result.push_back(entry->path().string());
    }
  }
  std::sort(result.begin(), result.end());
  return result;
}

void ReportFolder::remove() noexcept {
  if (path_.empty()) return;
  // A process that outlives the program can put a file in between two steps.
  for (int attempt = 0; attempt < 3; ++attempt) {
    std::error_code error;
    fs::remove_all(path_, error);
    if (!error) break;
  }
  path_.clear();
}

}  // namespace godwit::cli
