// SPDX-License-Identifier: MIT
#include "runtime/src/device/soft/soft_device.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <new>
#include <thread>
#include <utility>

namespace godwit {
namespace {

/// What a user-space address can span on the machines that we know.
constexpr std::uint64_t kMostVram = std::uint64_t{1} << 46;

/// How long the constructor copies in each direction to learn the rate.
constexpr std::chrono::milliseconds kMeasureTime{1};

// When a copy goes past the caches. VRAM is not read by the thread that copies to it; host memory
// is read soon, most likely, unless there is more of it than stays in a cache.
constexpr std::size_t kStreamToDevice = std::size_t{1} << 20;
constexpr std::size_t kStreamToHost = std::size_t{8} << 20;
/// A shorter piece gains nothing.
constexpr std::size_t kStreamPiece = kChunkBytes;

bool streams(Direction direction, std::size_t total) {
  return total >= (direction == Direction::kToDevice ? kStreamToDevice : kStreamToHost);
}

std::uint64_t ram_bytes() {
  const long pages = sysconf(_SC_PHYS_PAGES);
  const long page = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return std::uint64_t{1} << 30;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page);
}

double rate_of(std::byte* to, const std::byte* from, std::size_t bytes,
               Direction direction) noexcept {
  const bool stream = streams(direction, bytes);
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + kMeasureTime;
  soft_copy(to, from, bytes, stream);  // warms both sides
  double best = 0;
  Clock::time_point begin = Clock::now();
  do {
    soft_copy(to, from, bytes, stream);
    const Clock::time_point end = Clock::now();
    const double seconds = std::chrono::duration<double>(end - begin).count();
    if (seconds > 0) best = std::max(best, static_cast<double>(bytes) / seconds);
    begin = end;
  } while (begin < deadline);
  return best;
}

std::string rate_text(double to_device, double to_host) {
  char text[128];
  std::snprintf(text, sizeof text,
                "copy by the calling thread, 2 MiB at a time: %.1f GB/s to "
                "VRAM, %.1f GB/s from it",
                to_device / 1e9, to_host / 1e9);
  return text;
}

}  // namespace

Result<std::unique_ptr<Device>> make_soft_device(const DeviceOptions& options) {
  return SoftDevice::create(options);
}

Result<std::unique_ptr<Device>> SoftDevice::create(const DeviceOptions& options) {
  std::uint64_t bytes = options.vram_bytes;
  if (bytes > kMostVram) {
    return fail(Code::kInvalidArgument, "soft device: VRAM of " + std::to_string(bytes) +
                                            " bytes; at most " + std::to_string(kMostVram));
  }
  if (bytes == 0) bytes = ram_bytes() / 4;
  bytes = std::max<std::uint64_t>(align_up(bytes, kChunkBytes), kChunkBytes);

  unsigned threads = options.threads;
  if (threads > SoftPool::kMaxThreads) {
    return fail(Code::kInvalidArgument, "soft device: " + std::to_string(threads) +
                                            " threads; at most " +
                                            std::to_string(SoftPool::kMaxThreads));
  }
  if (threads == 0) {
    threads = std::clamp(std::thread::hardware_concurrency(), 1U, SoftPool::kMaxThreads);
  }

  SoftMapping vram;
  if (options.window == nullptr && vram.map(bytes) != 0) {
    return fail(Code::kOutOfMemory, "soft device: cannot map " + std::to_string(bytes) +
                                        " bytes of VRAM; ask for less");
  }
  SoftMapping alive;
  if (alive.map(kPageBytes, SoftMapping::InChild::kZero) != 0) {
    return fail(Code::kOutOfMemory, "soft device: cannot map a page");
  }
  try {
    return std::unique_ptr<Device>(
        new SoftDevice(threads, std::move(vram), options.window, std::move(alive)));
  } catch (const std::bad_alloc&) {
    return fail(Code::kOutOfMemory, "soft device: cannot map the device object");
  }
}

SoftDevice::SoftDevice(unsigned threads, SoftMapping vram, const DeviceWindow* window,
                       SoftMapping alive) noexcept
    : vram_(std::move(vram)),
      window_(window),
      memory_(window == nullptr ? vram_.data() : window->base()),
      memory_bytes_(window == nullptr ? vram_.bytes() : window->bytes()),
      alive_(std::move(alive)),
      queue_(threads, memory_, memory_bytes_) {
  *alive_.data() = std::byte{1};
  if (window == nullptr) measure_copies();
}

SoftDevice::~SoftDevice() {
  if (here()) return;
  queue_.abandon();
  vram_.forget();
}

void* SoftDevice::operator new(std::size_t bytes) {
  void* object = mmap(nullptr, align_up(bytes, kPageBytes), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (object == MAP_FAILED) throw std::bad_alloc();
  return object;
}

void SoftDevice::operator delete(void* object, std::size_t bytes) noexcept {
  if (object != nullptr) munmap(object, align_up(bytes, kPageBytes));
}

void SoftDevice::measure_copies() noexcept {
  SoftMapping host;
  const std::size_t bytes = std::min(kBlockBytes, vram_.bytes());
  if (host.map(bytes) != 0) return;  // the rates stay unknown
  to_device_rate_ = rate_of(vram_.data(), host.data(), bytes, Direction::kToDevice);
  to_host_rate_ = rate_of(host.data(), vram_.data(), bytes, Direction::kToHost);
  (void)madvise(vram_.data(), bytes, MADV_DONTNEED);  // it was zero and is zero
}

DeviceInfo SoftDevice::info() const {
  DeviceInfo info;
  info.kind = "soft";
  info.name = "soft: " + std::to_string(queue_.threads()) + " threads";
  info.vram_bytes = vram_.bytes();
  info.vram_physical = ram_bytes();
  info.direct = true;
  info.transfer_path = rate_text(to_device_rate_, to_host_rate_);
  info.to_device_rate = to_device_rate_;
  info.to_host_rate = to_host_rate_;
  if (window_ != nullptr) {
    DeviceWindow::Facts facts = window_->facts();
    info.vram_bytes = facts.vram_bytes;
    info.vram_physical = facts.vram_physical;
    info.transfer_path = std::move(facts.transfer_path);
    info.to_device_rate = facts.to_device_rate;
    info.to_host_rate = facts.to_host_rate;
  }
  info.float_rate = queue_.float_rate();
  info.double_rate = queue_.double_rate();
  info.limits = {
      "commands waiting: " + std::to_string(SoftQueue::kSlots),
      window_ == nullptr ? "VRAM is taken from RAM when it is first used, and not reserved before"
                         : "computes on the kernel module's views, and faults as a device does",
      "after fork the child has no device",
  };
  return info;
}

const std::byte* SoftDevice::direct(std::uint64_t vram) const noexcept {
  return gone() || !in_range(vram, 1) ? nullptr : memory_ + vram;
}

int SoftDevice::copy(Direction direction, std::span<const CopyOp> ops) noexcept {
  // Once, before the first byte: an operation that has begun is completed, whatever is lost then.
  if (gone()) return -ENODEV;
  std::size_t total = 0;
  for (const CopyOp& op : ops) {
    if (!in_range(op.vram, op.bytes) || (op.host == nullptr && op.bytes != 0)) return -EINVAL;
    total += op.bytes;
  }
  for (const CopyOp& op : ops) {
    if (op.bytes == 0) continue;
    const bool stream = op.bytes >= kStreamPiece && streams(direction, total);
    std::byte* const vram = memory_ + op.vram;
    if (direction == Direction::kToDevice) {
      soft_copy(vram, op.host, op.bytes, stream);
    } else {
      soft_copy(op.host, vram, op.bytes, stream);
    }
  }
  return 0;
}

int SoftDevice::copy_async(Direction direction, std::span<const CopyOp> ops,
                           Ticket* ticket) noexcept {
  if (ticket == nullptr) return gone() ? -ENODEV : -EINVAL;
  const int error = copy(direction, ops);
  if (error == 0) *ticket = 0;
  return error;
}

int SoftDevice::clear(std::uint64_t vram, std::size_t bytes) noexcept {
  if (gone()) return -ENODEV;
  if (!in_range(vram, bytes)) return -EINVAL;
  soft_clear(memory_ + vram, bytes, bytes >= kStreamToDevice);
  return 0;
}

int SoftDevice::submit(const Command& command, Ticket* ticket) noexcept {
  return here() ? queue_.submit(command, ticket) : -ENODEV;
}

int SoftDevice::wait(Ticket ticket, std::chrono::nanoseconds timeout) noexcept {
  return here() ? queue_.wait(ticket, timeout) : -ENODEV;
}

bool SoftDevice::done(Ticket ticket) noexcept { return !here() || queue_.done(ticket); }

void SoftDevice::lose() noexcept {
  if (here()) queue_.lose();
}

}  // namespace godwit
