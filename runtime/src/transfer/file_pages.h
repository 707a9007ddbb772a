// SPDX-License-Identifier: MIT
// Pages whose contents are a file's: to the side that touched them, and back to the file. The lock
// of the pages' block is held; nothing here allocates.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/src/region/file_source.h"
#include "runtime/src/transfer/core.h"

namespace godwit {

/// Brings empty pages of one chunk to RAM, wakes, and marks what came as populated. 0, or the
/// negative errno for the first page that did not.
[[nodiscard]] int load_to_host(Core& core, const FileSource& source, PageRange run) noexcept;

/// Brings a file's pages to VRAM at `vram`, past the program's memory. The caller marks them.
[[nodiscard]] int load_to_device(Core& core, const FileSource& source, PageRange run,
                                 std::uint64_t vram) noexcept;

/// Writes the pages of a block whose bytes differ from the file's, wherever they are; adds how many
/// to *written. 0 or a negative errno: some pages are not written.
[[nodiscard]] int store_to_file(Core& core, const FileSource& source, PageRange range,
                                std::size_t* written) noexcept;

}  // namespace godwit
