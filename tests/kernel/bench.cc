// SPDX-License-Identifier: MIT
// How fast memory migrates, where the time goes, and how that compares with the raw copies of the device in the same run.
//
//   bench [MIB...]
//
// Each number is the best of some rounds: what disturbs an emulated machine only ever makes it slower. A round has every size
// once and a look at the raw copies, so that a disturbance of some seconds costs each of them one round at most. Small sizes are
// measured several times in a row, as the raw copies are: the first of them finds caches and TLBs as another size has left them,
// and is told apart ("first"). Parts of a call are summed over the threads that took part, so that they can be more than the
// whole; "copy" is what was waited for.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <vector>

#include "tests/kernel/guest.h"
#include "tests/kernel/jobs.h"

namespace godwit::guest {
namespace {

constexpr int kRounds = 9;
// MiB that are measured in a row, or all of a size that has more: RAWCOPY_BURST of kernel/core/rawcopy.c, or the two cannot be
// compared.
constexpr size_t kBurst = 32;
// MiB of VRAM that the device has at least.
constexpr size_t kRoom = 64;

double now_ms() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The device's copies alone: the best, and the best of those that were the first of their size.
struct Raw {
  double alloc_ms = 0, to_ms = 0, from_ms = 0, first_to_ms = 0, first_from_ms = 0;
};
using RawTable = std::map<std::pair<size_t, size_t>, Raw>;  // by bytes and pages a copy

// The best of some looks at the driver's own measurement.
bool add_raw(const std::string& device, RawTable* table) {
  std::istringstream lines(read_file("/sys/kernel/debug/dri/" + device + "/godwit_raw_copy"));
  std::string header;
  std::getline(lines, header);
  size_t bytes = 0, each = 0;
  Raw now;
  bool any = false;
  while (lines >> bytes >> each >> now.alloc_ms >> now.to_ms >> now.from_ms >> now.first_to_ms >> now.first_from_ms) {
    any = true;
    const auto at = table->try_emplace({bytes, each}).first;
    for (double Raw::*const value : {&Raw::alloc_ms, &Raw::to_ms, &Raw::from_ms, &Raw::first_to_ms, &Raw::first_from_ms}) {
      double& best = at->second.*value;
      const double ms = now.*value / 1e6;
      if (best == 0 || ms < best) best = ms;
    }
  }
  return any;
}

// The best of all, with its parts, and the best of those that were the first of their size.
struct Result {
  double ms = 0, first_ms = 0;
  drm_godwit_migrate parts = {};
};

void better(Result* best, double ms, bool first, const drm_godwit_migrate& parts) {
  if (first && (best->first_ms == 0 || ms < best->first_ms)) best->first_ms = ms;
  if (best->ms != 0 && best->ms <= ms) return;
  best->ms = ms;
  best->parts = parts;
}

// A list through all pages, a node each: for a device that touches every page once.
void link_pages(const Memory& memory, size_t bytes) {
  for (size_t at = 0; at < bytes; at += kPage) {
    void* next = at + kPage < bytes ? memory.data() + at + kPage : nullptr;
    memcpy(memory.data() + at, &next, sizeof(next));
  }
}

void expect_moved(const drm_godwit_migrate& parts, size_t bytes) {
  if (parts.moved != bytes / kPage) std::printf("# %zu pages moved\n", size_t{parts.moved});
}

// Memory of one size and kind, and the best rounds with it by what was measured.
struct Subject {
  Subject(size_t megabytes, bool of_huge_pages)
      : mib(megabytes), huge(of_huge_pages), memory(mib << 20, huge ? Memory::kHugePages : Memory::kAnonymous) {}
  size_t mib;
  bool huge;
  Memory memory;
  std::map<std::string, Result> best;
};

// To VRAM and home by calls.
void measure_calls(const Device& gpu, int round, bool first, Subject* subject) {
  const Memory& memory = subject->memory;
  const size_t bytes = memory.size();
  memset(memory.data(), round + 1, bytes);
  double start = now_ms();
  const drm_godwit_migrate up = gpu.to_vram(memory.data(), bytes);
  const double up_ms = now_ms() - start;
  expect_moved(up, bytes);
  start = now_ms();
  const drm_godwit_migrate down = gpu.to_ram(memory.data(), bytes);
  const double down_ms = now_ms() - start;
  expect_moved(down, bytes);
  if (round == 0) return;  // the first one allocates what the others reuse
  better(&subject->best["to VRAM"], up_ms, first, up);
  better(&subject->best["home"], down_ms, first, down);
}

// To VRAM by the device's touch, home by the CPU's.
void measure_touches(const Device& gpu, int round, bool first, Subject* subject) {
  const Memory& memory = subject->memory;
  const size_t bytes = memory.size();
  link_pages(memory, bytes);
  double start = now_ms();
  const Done walked = execute(gpu, {op::walk(memory.data(), bytes / kPage)});
  const double walked_ms = now_ms() - start;
  if (!walked.ok()) std::printf("# the device's walk: error %d, status %d\n", walked.error, walked.status);
  const size_t there = gpu.in_vram(memory.data(), bytes);
  if (there != bytes / kPage) std::printf("# %zu pages came by faults of the device\n", there);
  start = now_ms();
  for (size_t at = 0; at < bytes; at += kPage) {
    *const_cast<volatile uint8_t*>(memory.data() + at) = 1;
  }
  const double touched_ms = now_ms() - start;
  if (round == 0) return;
  better(&subject->best["device fault"], walked_ms, first, {});
  better(&subject->best["CPU fault home"], touched_ms, first, {});
}

// One round.
void measure(const Device& gpu, int round, Subject* subject) {
  const size_t times = std::max<size_t>(1, kBurst / subject->mib);
  for (size_t time = 0; time < times; ++time) measure_calls(gpu, round, time == 0, subject);
  for (size_t time = 0; time < times; ++time) measure_touches(gpu, round, time == 0, subject);
}

void print(size_t mib, bool huge, const std::string& what, const Result& result, const Raw& raw) {
  const bool up = what == "to VRAM" || what == "device fault";
  const double limit = up ? raw.to_ms : raw.from_ms;
  const double first = up ? raw.first_to_ms : raw.first_from_ms;
  std::printf("%4zu MiB  %s  %-14s %8.2f ms %8.0f MiB/s", mib, huge ? "2 MiB" : "4 KiB",
              what.c_str(), result.ms, static_cast<double>(mib) * 1000 / result.ms);
  if (limit > 0) std::printf("  raw %7.2f ms, ratio %.2f (first %.2f ms, %.2f)", limit, limit / result.ms, result.first_ms,
                             first / result.first_ms);
  const auto ms = [](uint64_t ns) { return static_cast<double>(ns) / 1e6; };
  if (result.parts.moved != 0) {
    // What is in none of the parts: looking at the page tables, and telling what became of each page.
    std::printf("  setup %.2f alloc %.2f copy %.2f finish %.2f", ms(result.parts.time_setup_ns),
                ms(result.parts.time_alloc_ns), ms(result.parts.time_copy_ns),
                ms(result.parts.time_finish_ns));
  }
  std::printf("\n");
}

int bench(const std::vector<size_t>& sizes) {
  const size_t most = *std::max_element(sizes.begin(), sizes.end());
  // Where little is free, steps go one by one: what is measured shall not depend on which sizes were asked for.
  SoftDevice soft("private:" + std::to_string(std::max<size_t>(most, kRoom)) + "M");
  Device gpu(soft.index());
  if (gpu.fd() < 0) return 1;
  RawTable raw;
  const std::string name = gpu.info().name;
  if (!add_raw(name, &raw)) {
    std::printf("# no raw copies in debugfs: no limits to compare with\n");
  }
  std::vector<std::unique_ptr<Subject>> subjects;
  for (const size_t mib : sizes) {
    for (const bool huge : {false, true}) subjects.push_back(std::make_unique<Subject>(mib, huge));
  }
  for (int round = 0; round < kRounds; ++round) {
    for (const auto& subject : subjects) measure(gpu, round, subject.get());
    if (round > 0) add_raw(name, &raw);
  }
  for (const auto& subject : subjects) {
    const size_t mib = subject->mib;
    const Raw limit = raw[{mib << 20, subject->huge ? kHuge / kPage : 1}];
    for (const auto& [what, result] : subject->best) print(mib, subject->huge, what, result, limit);
    std::printf("%4zu MiB  %s  %-14s %8.2f ms  (pages of RAM, from the kernel's allocator)\n", mib,
                subject->huge ? "2 MiB" : "4 KiB", "alloc", limit.alloc_ms);
  }
  return ::testing::Test::HasFailure() ? 1 : 0;
}

}  // namespace
}  // namespace godwit::guest

int main(int argc, char** argv) {
  std::vector<size_t> sizes;
  for (int i = 1; i < argc; ++i) sizes.push_back(static_cast<size_t>(std::atoi(argv[i])));
  if (sizes.empty()) sizes = {2, 8, 32, 64, 128, 256};
  for (const size_t mib : sizes) {
    // The raw copies are measured for powers of two.
    if (mib < 2 || mib > 256 || (mib & (mib - 1)) != 0) {
      std::fprintf(stderr, "bench: %zu MiB is not a power of two from 2 to 256\n", mib);
      return 2;
    }
  }
  return godwit::guest::bench(sizes);
}
