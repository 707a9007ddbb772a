// SPDX-License-Identifier: MIT
#include "tests/kernel/khugepaged.h"

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

std::string path(const char* name) { return std::string("/sys/kernel/mm/transparent_hugepage/khugepaged/") + name; }

}  // namespace

Khugepaged::Khugepaged()
    : settings_{{{"scan_sleep_millisecs", "10", ""}, {"alloc_sleep_millisecs", "0", ""}, {"pages_to_scan", "4096", ""}}} {
  for (Setting& setting : settings_) {
    setting.before = read_file(path(setting.name));
    EXPECT_EQ(write_file(path(setting.name), setting.value), 0) << setting.name;
  }
}

Khugepaged::~Khugepaged() {
  for (const Setting& setting : settings_) EXPECT_EQ(write_file(path(setting.name), setting.before), 0) << setting.name;
}

unsigned long Khugepaged::collapsed() { return std::stoul(read_file(path("pages_collapsed"))); }

}  // namespace godwit::guest
