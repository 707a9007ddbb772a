// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/loaded_files.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace godwit::kernel {
namespace {

tl::unexpected<Error> file_error(const FileSource& source, const char* verb, int error) {
  return fail(Code::kIo, std::string(verb) + " " + source.path() + ": " + std::strerror(-error));
}

}  // namespace

Result<> LoadedFiles::load(std::byte* region, std::unique_ptr<FileSource> source) {
  source->place(region);
  for (std::size_t at = 0; at < source->bytes(); at += kBlockBytes) {
    const std::size_t bytes = std::min(kBlockBytes, source->bytes() - at);
    if (const int error = source->read(at, {region + at, bytes}); error != 0) {
      return file_error(*source, "map: cannot read", error);
    }
    telemetry_.statistics().file_pages_read += (bytes + kPageBytes - 1) / kPageBytes;
  }
  const std::lock_guard guard(mutex_);
  files_[region] = std::move(source);
  return {};
}

const FileSource* LoadedFiles::find(const std::byte* region) {
  const std::lock_guard guard(mutex_);
  const auto found = files_.find(region);
  return found == files_.end() ? nullptr : found->second.get();
}

Result<std::size_t> LoadedFiles::sync(const std::byte* region, PageRun run, ViewWindow* window) {
  const FileSource* source = find(region);
  if (source == nullptr || !source->shared()) return std::size_t{0};
  std::vector<Residency> places(run.bytes / kPageBytes);
  if (auto known = mover_.residency(run, places); !known) return tl::unexpected(known.error());
  std::array<std::byte, kPageBytes> file{};
  std::size_t written = 0;
  int first_error = 0;
  for (std::size_t page = 0; page < places.size(); ++page) {
    const auto* address = reinterpret_cast<const std::byte*>(run.addr + page * kPageBytes);
    const std::size_t at = source->offset_of(address);
    if (at >= source->bytes()) break;
    const std::byte* now = address;
    if (places[page] == Residency::kDevice && window != nullptr) {
      auto offset = window->offset_of(reinterpret_cast<std::uintptr_t>(address));
      if (!offset) return tl::unexpected(offset.error());
      now = window->base() + *offset;
    }
    const std::size_t bytes = std::min(kPageBytes, source->bytes() - at);
    int error = source->read(at, {file.data(), bytes});
    if (error == 0 && std::memcmp(file.data(), now, bytes) != 0) {
      error = source->write(at, {now, bytes});
      if (error == 0) ++written;
    }
    if (error != 0 && first_error == 0) first_error = error;
  }
  telemetry_.statistics().file_pages_written += written;
  if (first_error == 0) first_error = source->flush();
  if (first_error != 0) {
    return file_error(*source, "sync: not all pages could be written to", first_error);
  }
  return written;
}

void LoadedFiles::forget(const std::byte* region) {
  const std::lock_guard guard(mutex_);
  files_.erase(region);
}

}  // namespace godwit::kernel
