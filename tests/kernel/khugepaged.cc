// SPDX-License-Identifier: MIT
#include "tests/kernel/khugepaged.h"

#include <string>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

std::string path(const char* name) { return std::string("/sys/kernel/mm/transparent_hugepage/khugepaged/") + name; }

}  // namespace

Khugepaged::Khugepaged()
    : settings_{{path("scan_sleep_millisecs"), "10"}, {path("alloc_sleep_millisecs"), "0"}, {path("pages_to_scan"), "4096"}} {}

unsigned long Khugepaged::collapsed() { return std::stoul(read_file(path("pages_collapsed"))); }

unsigned long Khugepaged::rounds() { return std::stoul(read_file(path("full_scans"))); }

}  // namespace godwit::guest
