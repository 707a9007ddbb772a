// SPDX-License-Identifier: MIT
// A program that does nothing but malloc and free; the benchmark runs it with different LD_PRELOAD.
//   malloc_bench small|large THREADS OPERATIONS
// Prints nanoseconds for one malloc and free, and the file that malloc comes from.
#include <dlfcn.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t kLargeBytes = std::size_t{1} << 20;
constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kLeastSmall = 16;
constexpr std::size_t kMostSmall = 1024;

std::uint64_t next(std::uint64_t& state) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

/// 4096 blocks of random sizes are alive; each operation replaces a random one of them.
void small(std::uint64_t seed, long operations) {
  std::array<void*, 4096> blocks{};
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ULL + 1;
  for (long done = 0; done < operations; ++done) {
    const std::uint64_t random = next(state);
    void*& block = blocks[random % blocks.size()];
    std::free(block);
    block = std::malloc(kLeastSmall + (random >> 20) % (kMostSmall - kLeastSmall + 1));
    if (block == nullptr) std::abort();
    *static_cast<volatile char*>(block) = 1;
  }
  for (void* block : blocks) std::free(block);
}

void large(long operations) {
  for (long done = 0; done < operations; ++done) {
    auto* block = static_cast<volatile char*>(std::malloc(kLargeBytes));
    if (block == nullptr) std::abort();
    for (std::size_t at = 0; at < kLargeBytes; at += kPageBytes) block[at] = 1;
    std::free(const_cast<char*>(block));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const bool is_small = std::string_view(argv[1]) == "small";
  const int threads = std::atoi(argv[2]);
  const long operations = std::atol(argv[3]);
  const auto work = [&](std::uint64_t seed, long count) {
    is_small ? small(seed, count) : large(count);
  };
  work(99, operations / 10 + 1);  // the allocator's own first steps
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> others;
  for (int index = 1; index < threads; ++index) {
    others.emplace_back(work, static_cast<std::uint64_t>(index), operations);
  }
  work(0, operations);
  for (std::thread& other : others) other.join();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Dl_info info{};
  void* function = ::dlsym(RTLD_DEFAULT, "malloc");
  const bool known = ::dladdr(function, &info) != 0 && info.dli_fname != nullptr;
  std::printf("%.3f %s\n", seconds * 1e9 / static_cast<double>(operations),
              known ? info.dli_fname : "?");
  return 0;
}
