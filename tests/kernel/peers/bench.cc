// SPDX-License-Identifier: MIT
// Other devices and VRAM: straight, against the same transfer with a stop in RAM, and how many
// bytes each way took through RAM.
//
//   bench [MIB]        needs the cards: ./dev vm --pci=64M,64M
//
// Times are the best of some rounds. "Through RAM" is counted, not assumed: bytes of a bounce
// buffer, and pages that the device's counters say were moved meanwhile.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>

#include "tests/kernel/peers/camera.h"
#include "tests/kernel/peers/target.h"
#include "tests/kernel/peers/verbs.h"

namespace godwit::guest {
namespace {

constexpr int kRounds = 5;
constexpr off_t kAt = 1 << 20;

double now_ms() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// One way of a transfer. Answers bytes of a bounce buffer that it used, or -1 where it failed.
using Body = std::function<ssize_t()>;

struct Measured {
  double ms = 0;
  uint64_t through_ram = 0;
  bool ok = true;
};

uint64_t pages_moved(const Device& device) {
  return device.stat(GODWIT_STAT_PAGES_TO_VRAM, true) + device.stat(GODWIT_STAT_PAGES_HOME, true);
}

Measured measure(const Device& device, const std::function<void()>& before, const Body& body) {
  Measured best;
  for (int round = 0; round < kRounds; ++round) {
    before();
    const uint64_t pages = pages_moved(device);
    const double start = now_ms();
    const ssize_t bounced = body();
    const double ms = now_ms() - start;
    if (bounced < 0) best.ok = false;
    best.through_ram = static_cast<uint64_t>(bounced) + (pages_moved(device) - pages) * kPage;
    best.ms = round == 0 ? ms : std::min(best.ms, ms);
  }
  return best;
}

void row(const char* name, size_t bytes, const Measured& straight, const Measured& staged) {
  constexpr double kMiB = 1 << 20;
  if (!straight.ok || !staged.ok) {
    std::printf("%-34s failed: %s\n", name, strerror(errno));
    return;
  }
  std::printf("%-34s %7.2f %9.1f %9.1f %7.2f %11.2f %11.2f\n", name,
              static_cast<double>(bytes) / kMiB, straight.ms, staged.ms, staged.ms / straight.ms,
              static_cast<double>(straight.through_ram) / kMiB,
              static_cast<double>(staged.through_ram) / kMiB);
}

ssize_t all(ssize_t done, size_t wanted, size_t bounced) {
  return done == static_cast<ssize_t>(wanted) ? static_cast<ssize_t>(bounced) : -1;
}

void disk_rows(Kind kind, int card, size_t bytes) {
  const Place place(kind, card);
  Disk disk;
  if (!place.ready() || disk.fd() < 0) return;
  const Target target(place, bytes);
  Memory bounce(bytes);
  fill(target.data(), bytes, 1);
  fill(bounce.data(), bytes, 2);
  const auto there = [&] { (void)target.to_vram(); };
  // Bytes that are in VRAM afterwards, whichever way they took.
  const auto read = [&]() -> ssize_t {
    const ssize_t done = pread(disk.fd(), target.data(), bytes, kAt);
    return target.to_vram() ? all(done, bytes, 0) : -1;
  };
  const auto read_staged = [&]() -> ssize_t {
    const ssize_t done = pread(disk.fd(), bounce.data(), bytes, kAt);
    memcpy(target.data(), bounce.data(), bytes);
    return target.to_vram() ? all(done, bytes, bytes) : -1;
  };
  const auto write = [&] { return all(pwrite(disk.fd(), target.data(), bytes, kAt), bytes, 0); };
  const auto write_staged = [&] {
    memcpy(bounce.data(), target.data(), bytes);
    return all(pwrite(disk.fd(), bounce.data(), bytes, kAt), bytes, bytes);
  };
  const std::string name = std::string(name_of(kind)) + (card == 0 ? "" : ", other root port");
  row(("NVMe to " + name).c_str(), bytes, measure(place.device(), there, read),
      measure(place.device(), there, read_staged));
  row((name + " to NVMe").c_str(), bytes, measure(place.device(), there, write),
      measure(place.device(), there, write_staged));
}

void nic_rows(Kind kind, size_t bytes) {
  const Place place(kind, 0);
  Connection link;
  if (!place.ready() || !link.ready()) return;
  const Target target(place, bytes);
  Memory source(bytes), bounce(bytes);
  fill(source.data(), bytes, 3);
  fill(bounce.data(), bytes, 4);
  fill(target.data(), bytes, 5);
  (void)target.to_vram();
  Region near(link, source.data(), bytes, Region::kPinned);
  Region middle(link, bounce.data(), bytes, Region::kPinned);
  Region far(link, target.data(), bytes, Region::kOnDemand);
  if (!near || !middle || !far) return;
  const auto there = [&] { (void)target.to_vram(); };
  row((std::string("NIC (rxe) to ") + name_of(kind)).c_str(), bytes,
      measure(place.device(), there,
              [&]() -> ssize_t {
                const int status = link.write(near, far, bytes);
                return target.to_vram() && status == 0 ? 0 : -1;
              }),
      measure(place.device(), there, [&]() -> ssize_t {
        const int status = link.write(near, middle, bytes);
        memcpy(target.data(), bounce.data(), bytes);
        return target.to_vram() && status == 0 ? static_cast<ssize_t>(bytes) : -1;
      }));
}

void camera_row() {
  Camera camera;
  const Place place(Kind::kExplicit, 0);
  if (!camera.missing().empty() || !place.ready()) return;
  const size_t bytes = (camera.frame_bytes() + kPage - 1) / kPage * kPage;
  const Object object(place.device(), bytes);
  Memory bounce(bytes);
  const int fd = object.dma_buf();
  if (fd < 0) return;
  const auto there = [&] { object.move(GODWIT_PLACE_VRAM); };
  row("camera to explicit, a frame", bytes,
      measure(place.device(), there,
              [&]() -> ssize_t { return camera.capture_dma_buf(fd, bytes) == 0 ? 0 : -1; }),
      measure(place.device(), there, [&]() -> ssize_t {
        const int status = camera.capture(bounce.data(), bytes);
        memcpy(object.data(), bounce.data(), bytes);
        return status == 0 ? static_cast<ssize_t>(bytes) : -1;
      }));
  close(fd);
}

}  // namespace
}  // namespace godwit::guest

int main(int argc, char** argv) {
  using namespace godwit::guest;
  const size_t bytes = (argc > 1 ? strtoul(argv[1], nullptr, 10) : 8) << 20;
  if (pci_devices("0x1af4", "0x1110").empty()) {
    std::fprintf(stderr, "bench: no cards: this takes ./dev vm --pci=64M,64M\n");
    return 1;
  }
  std::printf("%-34s %7s %9s %9s %7s %11s %11s\n", "path", "MiB", "ms", "staged ms", "ratio",
              "through RAM", "staged: RAM");
  disk_rows(Kind::kCoherent, 0, bytes);
  disk_rows(Kind::kExplicit, 0, bytes);
  disk_rows(Kind::kPrivate, 0, bytes);
  if (make_nic().empty()) {
    nic_rows(Kind::kCoherent, bytes / 4);
    nic_rows(Kind::kExplicit, bytes / 4);
    nic_rows(Kind::kPrivate, bytes / 4);
  }
  camera_row();
  return 0;
}
