// SPDX-License-Identifier: MIT
// Prints how fast memory migrates, and where the time goes. Not a test: it has no opinion.
#include <chrono>
#include <cstdio>
#include <cstring>

#include "tests/kernel/guest.h"

namespace godwit::guest {
namespace {

double now_ms() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void line(const char* what, size_t mib, double ms, const drm_godwit_migrate& answer) {
  const auto ms_of = [](uint64_t ns) { return static_cast<double>(ns) / 1e6; };
  std::printf("%-18s %4zu MiB %8.2f ms %8.1f MiB/s  setup %.1f alloc %.1f copy %.1f finish %.1f\n",
              what, mib, ms, static_cast<double>(mib) * 1000 / ms, ms_of(answer.time_setup_ns),
              ms_of(answer.time_alloc_ns), ms_of(answer.time_copy_ns),
              ms_of(answer.time_finish_ns));
}

TEST(Speed, OfMigration) {
  for (const size_t mib : {2u, 16u, 64u}) {
    SoftDevice soft("private:128M");
    Device gpu(soft.index());
    for (const bool huge : {false, true}) {
      Memory memory(mib << 20, huge ? Memory::kHugePages : Memory::kAnonymous);
      for (int round = 0; round < 3; ++round) {
        memset(memory.data(), round, memory.size());
        double start = now_ms();
        auto answer = gpu.to_vram(memory.data(), memory.size());
        if (round) line(huge ? "2M to VRAM" : "4K to VRAM", mib, now_ms() - start, answer);
        start = now_ms();
        answer = gpu.to_ram(memory.data(), memory.size());
        if (round) line(huge ? "2M home" : "4K home", mib, now_ms() - start, answer);
        gpu.to_vram(memory.data(), memory.size());
        start = now_ms();
        for (size_t at = 0; at < memory.size(); at += kPage) {
          *reinterpret_cast<volatile uint8_t*>(memory.data() + at) = 1;
        }
        answer = {};
        if (round) line(huge ? "2M CPU fault home" : "4K CPU fault home", mib, now_ms() - start, answer);
      }
    }
  }
}

}  // namespace
}  // namespace godwit::guest
