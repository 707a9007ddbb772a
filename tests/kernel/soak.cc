// SPDX-License-Identifier: MIT
// Processes that do everything at random to memory that migrates, against a copy of every byte that never does.
//
//   soak [SECONDS [SEED [PROCESSES [OPERATIONS]]]]
//
// Each process draws its operations from the seed, so a seed repeats what each did and in which order; how they interleave is
// the scheduler's. Without a seed it is taken from the clock, and printed. OPERATIONS bounds each process instead of time. With
// an odd seed khugepaged hurries, so that there are more huge pages, and more that change meanwhile.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>

#include "tests/kernel/khugepaged.h"
#include "tests/kernel/soak_model.h"

namespace godwit::guest {
namespace {

struct Plan {
  double seconds = 30;  // as a part of the suite
  uint64_t seed = 0;
  int processes = 8;
  uint64_t operations = UINT64_MAX;
};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A process of the soak; its exit status says whether every byte was right.
[[noreturn]] void work(const Plan& plan, int number, double end, const std::vector<int>& devices) {
  SoakModel model(plan.seed + static_cast<uint64_t>(number) * 1000003, devices);
  uint64_t done = 0;
  while (now() < end && done < plan.operations) {
    ++done;
    const char* operation = model.step();
    if (!model.error().empty()) {
      std::printf("FAIL soak: process %d, operation %llu (%s): %s; repeat with seed %llu\n", number,
                  static_cast<unsigned long long>(done), operation, model.error().c_str(),
                  static_cast<unsigned long long>(plan.seed));
      fflush(nullptr);
      _exit(1);
    }
  }
  model.check_all();
  if (!model.error().empty()) {
    std::printf("FAIL soak: process %d, at the end: %s; repeat with seed %llu\n", number,
                model.error().c_str(), static_cast<unsigned long long>(plan.seed));
    fflush(nullptr);
    _exit(1);
  }
  std::printf("process %d: %llu operations, %s\n", number, static_cast<unsigned long long>(done),
              model.summary().c_str());
  fflush(nullptr);
  _exit(0);
}

// Moves memory until it is killed.
[[noreturn]] void be_a_victim(uint64_t seed, const std::vector<int>& devices) {
  SoakModel model(seed, devices);
  for (;;) model.step();
}

int soak(const Plan& plan) {
  std::printf("soak: %.0f s, %d processes, seed %llu\n", plan.seconds, plan.processes,
              static_cast<unsigned long long>(plan.seed));
  fflush(nullptr);
  std::optional<Khugepaged> khugepaged;
  if (plan.seed & 1) khugepaged.emplace();
  const unsigned long collapsed = Khugepaged::collapsed();
  SoftDevice first("private:24M"), second("private:12M");
  const std::vector<int> devices = {first.index(), second.index()};
  const double end = now() + plan.seconds;
  std::vector<pid_t> children;
  for (int number = 0; number < plan.processes; ++number) {
    const pid_t child = fork();
    if (child == 0) work(plan, number, end, devices);
    children.push_back(child);
  }
  // One more is killed at any moment, over and over.
  std::mt19937_64 random(plan.seed);
  size_t killed = 0;
  while (plan.operations == UINT64_MAX && now() < end) {
    const pid_t victim = fork();
    if (victim == 0) be_a_victim(random(), devices);
    usleep(static_cast<useconds_t>(random() % 400000));
    kill(victim, SIGKILL);
    waitpid(victim, nullptr, 0);
    ++killed;
  }
  int bad = 0;
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    bad += !exited_well(status);
  }
  for (const int index : devices) {
    Device device(index);
    const uint64_t total = device.info().vram_total;
    if (wait_for_free(device, total) != total) {
      std::printf("FAIL soak: %s has VRAM in use at the end\n", device.info().name);
      ++bad;
    }
    std::printf("%s: %llu pages to VRAM, %llu home, %llu evicted, %llu CPU faults, %llu retries\n",
                device.info().name,
                static_cast<unsigned long long>(device.stat(GODWIT_STAT_PAGES_TO_VRAM, true)),
                static_cast<unsigned long long>(device.stat(GODWIT_STAT_PAGES_HOME, true)),
                static_cast<unsigned long long>(device.stat(GODWIT_STAT_PAGES_EVICTED, true)),
                static_cast<unsigned long long>(device.stat(GODWIT_STAT_CPU_FAULTS, true)),
                static_cast<unsigned long long>(device.stat(GODWIT_STAT_RETRIES, true)));
  }
  std::printf("%lu huge pages were collapsed\n", Khugepaged::collapsed() - collapsed);
  std::printf("%zu processes were killed\n%s soak\n", killed, bad ? "FAIL" : "PASS");
  return bad ? 1 : 0;
}

}  // namespace
}  // namespace godwit::guest

int main(int argc, char** argv) {
  godwit::guest::Plan plan;
  plan.seed = static_cast<uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  if (argc > 1) plan.seconds = std::atof(argv[1]);
  if (argc > 2) plan.seed = std::strtoull(argv[2], nullptr, 0);
  if (argc > 3) plan.processes = std::atoi(argv[3]);
  if (argc > 4) plan.operations = std::strtoull(argv[4], nullptr, 0);
  return godwit::guest::soak(plan);
}
