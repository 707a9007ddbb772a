// SPDX-License-Identifier: MIT
#include "runtime/src/engine/kernel/move_rates.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

#include "godwit/units.h"

namespace godwit::kernel {
namespace {

std::string rate_text(std::size_t bytes, double to_vram, double home) {
  char text[128];
  (void)std::snprintf(text, sizeof(text),
                      "migration by the kernel, %zu KiB at once: %.2f GB/s to VRAM, %.2f GB/s home",
                      bytes >> 10, to_vram / 1e9, home / 1e9);
  return text;
}

double rate_of(const Driver& driver, Account& account, std::uintptr_t base, std::size_t bytes,
               std::uint32_t to) {
  drm_godwit_migrate args = {};
  args.addr = base;
  args.length = bytes;
  args.to = to;
  const std::uint64_t start = monotonic_ns();
  Account::Move move(account);
  const int error = driver.migrate(&args);
  move.moved_own(args.moved, to == GODWIT_PLACE_VRAM);
  const double seconds = static_cast<double>(monotonic_ns() - start) * 1e-9;
  return error != 0 || seconds <= 0 ? 0 : static_cast<double>(args.moved * kPageBytes) / seconds;
}

}  // namespace

DeviceWindow::Facts measure_moves(const Driver& driver, Account& account, std::uint64_t vram,
                                  std::uint64_t physical) {
  DeviceWindow::Facts facts;
  facts.vram_bytes = vram;
  facts.vram_physical = physical;
  const std::size_t bytes =
      std::min<std::size_t>(2 * kBlockBytes, align_down(vram / 4, kPageBytes));
  // A block more, so that huge pages can begin at the first byte.
  const std::size_t mapped = bytes + kBlockBytes;
  void* at = ::mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) return facts;
  const std::uintptr_t base = align_up(reinterpret_cast<std::uintptr_t>(at), kBlockBytes);
  std::memset(reinterpret_cast<void*>(base), 1, bytes);
  for (int round = 0; round < 2 && bytes != 0; ++round) {
    facts.to_device_rate = std::max(
        facts.to_device_rate, rate_of(driver, account, base, bytes, GODWIT_PLACE_VRAM));
    facts.to_host_rate = std::max(
        facts.to_host_rate, rate_of(driver, account, base, bytes, GODWIT_PLACE_SYSTEM));
  }
  ::munmap(at, mapped);
  facts.transfer_path = rate_text(bytes, facts.to_device_rate, facts.to_host_rate);
  return facts;
}

}  // namespace godwit::kernel
