// SPDX-License-Identifier: MIT
#include "runtime/src/engine/file_maps.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "runtime/src/transfer/file_pages.h"
#include "runtime/src/transfer/migrator.h"

namespace godwit {
namespace {

Error file_error(const FileSource& source, const char* verb, int error) {
  return {Code::kIo, std::string(verb) + " " + source.path() + ": " + std::strerror(-error), {}};
}

/// Empty pages of a range within a block, chunk by chunk.
template <typename Each>
void each_empty(Core& core, PageRange range, Each each) {
  for (std::size_t page = range.first; page < range.end();) {
    const std::size_t chunk_end =
        std::min(align_down(page, kPagesPerChunk) + kPagesPerChunk, range.end());
    std::size_t end = page;
    while (end < chunk_end && core.table.state(end) == PageState::kEmpty) ++end;
    if (end > page) each(PageRange{page, end - page});
    page = std::max(end, page + 1);
  }
}

}  // namespace

Result<> FileMaps::attach(std::byte* region, std::size_t bytes,
                          std::unique_ptr<FileSource> source) {
  source->place(region);
  const FileSource& placed = *source;
  if (core_.full_level()) {
    core_.has_files.store(true);
    for (std::size_t at = 0; at < bytes; at += kBlockBytes) {
      const std::size_t block = core_.table.page_of(region + at) / kPagesPerBlock;
      const BlockGuard guard(core_, block);
      core_.table.block(block).source = &placed;
      if (const int error = mover_.arm(block); error != 0) {
        core_.table.block(block).source = nullptr;
        give_up(region, at);
        return tl::unexpected(file_error(placed, "map: no page faults for", error));
      }
    }
  } else {
    std::vector<std::byte> piece(std::min(kBlockBytes, align_up(placed.bytes(), kPageBytes)));
    for (std::size_t at = 0; at < placed.bytes(); at += piece.size()) {
      const std::size_t count = std::min(piece.size(), bytes - at);
      if (const int error = placed.read(at, {piece.data(), count}); error != 0) {
        return tl::unexpected(file_error(placed, "map: cannot read", error));
      }
      core_.host->store(region + at, {piece.data(), count});
      core_.statistics().file_pages_read += count / kPageBytes;
    }
  }
  const std::lock_guard guard(mutex_);
  maps_[region] = std::move(source);
  return {};
}

FileSource* FileMaps::find(const std::byte* region) {
  const std::lock_guard guard(mutex_);
  const auto found = maps_.find(region);
  return found == maps_.end() ? nullptr : found->second.get();
}

Result<std::size_t> FileMaps::sync(const std::byte* region, PageRange range) {
  const FileSource* source = find(region);
  if (source == nullptr || !source->shared()) return std::size_t{0};
  std::size_t written = 0;
  int first_error = 0;
  for (std::size_t block = range.first / kPagesPerBlock; block * kPagesPerBlock < range.end();
       ++block) {
    std::size_t more = 0;
    const BlockGuard guard(core_, block);
    const int error = store_to_file(core_, *source, part_in_block(range, block), &more);
    if (error != 0 && first_error == 0) first_error = error;
    written += more;
  }
  if (first_error == 0) first_error = source->flush();
  if (first_error != 0) {
    return tl::unexpected(file_error(*source, "sync: not all pages could be written to", first_error));
  }
  return written;
}

void FileMaps::give_up(const std::byte* region, std::size_t bytes) noexcept {
  for (std::size_t at = 0; at < bytes; at += kBlockBytes) {
    const std::size_t block = core_.table.page_of(region + at) / kPagesPerBlock;
    const BlockGuard guard(core_, block);
    core_.table.block(block).source = nullptr;
  }
}

void FileMaps::detach(const std::byte* region) noexcept {
  const FileSource* source = find(region);
  if (source == nullptr) return;
  give_up(region, align_up(source->bytes(), kBlockBytes));
  const std::lock_guard guard(mutex_);
  maps_.erase(region);
}

void FileMaps::load_all() noexcept {
  if (!core_.full_level() || !core_.has_files.load()) return;
  const std::lock_guard maps(mutex_);
  for (const auto& [region, source] : maps_) {
    const FileSource& file = *source;
    for (std::size_t at = 0; at < file.bytes(); at += kBlockBytes) {
      const std::size_t first = core_.table.page_of(region + at);
      const BlockGuard guard(core_, first / kPagesPerBlock);
      each_empty(core_, {first, kPagesPerBlock}, [&](PageRange run) {
        // What cannot be read is read, or refused, when somebody touches it.
        (void)load_to_host(core_, file, run);
      });
    }
  }
}

}  // namespace godwit
