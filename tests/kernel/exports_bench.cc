// SPDX-License-Identifier: MIT
// What exports of other memory cost those who move theirs.
//
//   exports_bench [EXPORTS...]
//
// Each number is the best of some rounds; the ratio is to a run without exports, in the same program.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <vector>

#include "tests/kernel/guest.h"
#include "tests/kernel/jobs.h"
#include "tests/kernel/peer.h"

namespace godwit::guest {
namespace {

constexpr int kRounds = 15;
constexpr size_t kOfOneDescriptor = 1024;
constexpr size_t kWindow = 16 * kPage;  // what comes home with a page that a CPU touches
constexpr size_t kWindows = 64;

double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A page each, which nobody imports.
class Exports {
 public:
  explicit Exports(size_t count) : memory_(std::max<size_t>(count, 1) * kPage) {
    for (size_t i = 0; i < count; ++i) {
      if (i % kOfOneDescriptor == 0) devices_.emplace_back();
      exports_.emplace_back(devices_.back(), memory_.page(i), kPage);
    }
  }

 private:
  const Memory memory_;
  std::list<Device> devices_;
  std::list<Export> exports_;
};

// Microseconds for one of each.
struct Costs {
  double touch = 0, migrate = 0, device = 0;
};

void better(double* best, double us) {
  if (*best == 0 || us < *best) *best = us;
}

Costs measure(const Device& gpu, size_t count) {
  const Exports exports(count);
  Costs best;
  Memory memory(kWindows * kWindow);
  for (int round = 0; round <= kRounds; ++round) {
    fill(memory.data(), memory.size(), 1);
    gpu.to_vram(memory.data(), memory.size());
    double start = now_us();
    for (size_t at = 0; at < memory.size(); at += kWindow) *const_cast<volatile uint8_t*>(memory.data() + at) = 1;
    const double touch = now_us() - start;
    start = now_us();
    for (size_t at = 0; at < memory.size(); at += kWindow) gpu.to_vram(memory.data() + at, kPage);
    const double migrate = now_us() - start;
    gpu.to_ram(memory.data(), memory.size());
    start = now_us();
    for (size_t at = 0; at < memory.size(); at += kWindow) {
      if (!execute(gpu, {op::fill(memory.data() + at, kPage, 1)}).ok()) std::printf("# the device could not\n");
    }
    const double device = now_us() - start;
    if (round == 0) continue;
    better(&best.touch, touch / kWindows);
    better(&best.migrate, migrate / kWindows);
    better(&best.device, device / kWindows);
  }
  return best;
}

int bench(const std::vector<size_t>& counts) {
  const SoftDevice soft("private:64M");
  const Device gpu(soft.index());
  if (gpu.fd() < 0) return 1;
  const Costs none = measure(gpu, 0);
  std::printf("%6d exports  CPU touch of 64 KiB %7.1f us        MIGRATE of a page %7.1f us        job of a page %7.1f us\n", 0,
              none.touch, none.migrate, none.device);
  for (const size_t count : counts) {
    const Costs costs = measure(gpu, count);
    std::printf("%6zu exports  CPU touch of 64 KiB %7.1f us (%.2f) MIGRATE of a page %7.1f us (%.2f) job of a page %7.1f us (%.2f)\n",
                count, costs.touch, costs.touch / none.touch, costs.migrate, costs.migrate / none.migrate, costs.device,
                costs.device / none.device);
  }
  return ::testing::Test::HasFailure() ? 1 : 0;
}

}  // namespace
}  // namespace godwit::guest

int main(int argc, char** argv) {
  std::vector<size_t> counts;
  for (int i = 1; i < argc; ++i) counts.push_back(static_cast<size_t>(std::atoi(argv[i])));
  if (counts.empty()) counts = {1000, 4000, 16000};
  const size_t most = *std::max_element(counts.begin(), counts.end());
  const rlimit files = {most + 1000, most + 1000};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
    std::fprintf(stderr, "exports_bench: no room for %zu descriptors (RLIMIT_NOFILE)\n", most);
    return 2;
  }
  return godwit::guest::bench(counts);
}
