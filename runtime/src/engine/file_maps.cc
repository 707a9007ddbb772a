// SPDX-License-Identifier: MIT
#include "runtime/src/engine/file_maps.h"

#include <algorithm>
#include <cerrno>
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
  if (core_.full_level()) core_.has_files.store(true);
  std::vector<std::byte> room;
  for (std::size_t at = 0; at < bytes; at += kBlockBytes) {
    const std::size_t block = core_.table.page_of(region + at) / kPagesPerBlock;
    int error = core_.full_level() ? await_touches(block, placed) : -ESHUTDOWN;
    const bool at_once = error == -ESHUTDOWN;
    if (at_once) error = load_now(block, placed, room);
    if (error == 0) continue;
    give_up(region, at);
    return tl::unexpected(
        file_error(placed, at_once ? "map: cannot read" : "map: no page faults for", error));
  }
  const std::lock_guard guard(mutex_);
  maps_[region] = std::move(source);
  return {};
}

/// The pages of the block come when they are touched. -ESHUTDOWN: nobody serves faults any more.
int FileMaps::await_touches(std::size_t block, const FileSource& source) noexcept {
  const BlockGuard guard(core_, block);
  // A last handler that ends from here on loads the block itself: that needs to know the file.
  core_.table.block(block).source = &source;
  const int error = mover_.arm(block);
  if (error != 0) core_.table.block(block).source = nullptr;
  return error;
}

/// All of the block's pages, where no fault is told of them. Touches them, so the lock is not held.
int FileMaps::load_now(std::size_t block, const FileSource& source,
                       std::vector<std::byte>& room) {
  const PageRange pages{block * kPagesPerBlock, kPagesPerBlock};
  std::byte* address = core_.table.address(pages.first);
  const std::size_t at = source.offset_of(address);
  if (at >= source.bytes()) return 0;
  room.resize(std::min(kBlockBytes, align_up(source.bytes() - at, kPageBytes)));
  if (const int error = source.read(at, room); error != 0) return error;
  core_.host->store(address, room);
  core_.statistics().file_pages_read += room.size() / kPageBytes;
  const BlockGuard guard(core_, block);
  // In a block that had regions before.
  each_empty(core_, {pages.first, room.size() / kPageBytes},
             [&](PageRange run) { core_.table.apply(run, PageEvent::kPopulate); });
  return 0;
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
