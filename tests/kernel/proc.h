// SPDX-License-Identifier: MIT
// What the kernel tells in files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace godwit::guest {

// The number behind a name in a file like /proc/meminfo ("Name:   7 kB": 7) or /proc/vmstat ("name 7"); the first one. Fails the
// test where there is none.
uint64_t figure(const std::string& path, const std::string& name);

// Pages of the machine that have lost their bytes.
uint64_t poisoned_pages();

// How often the kernel's log says it.
size_t logged(const std::string& what);

// The pagemap of pages of this process: RAM, VRAM, swap, and what is moving differ in it.
std::vector<uint64_t> entries_of(const void* addr, size_t bytes);
uint64_t entry_of(const void* addr);

}  // namespace godwit::guest
