// SPDX-License-Identifier: MIT
#include "runtime/src/device/vulkan/vulkan_transfer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace godwit::vulkan {
namespace {

constexpr const char* kNames[kPaths] = {"direct", "staging", "import"};
constexpr int kRounds = 4;  // the first warms up

// Host memory for measurements, not from malloc: that may be Godwit's own.
class Pages {
 public:
  explicit Pages(std::size_t bytes) : bytes_(bytes) {
    void* const pages =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages != MAP_FAILED) data_ = static_cast<std::byte*>(pages);
    if (data_ != nullptr) std::memset(data_, 0, bytes);
  }
  ~Pages() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_;
};

// Bytes a second of the fastest round, 0 if one fails.
template <typename Copy>
double fastest(std::size_t bytes, Copy&& copy) {
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    const Clock::time_point start = Clock::now();
    if (copy() != 0) return 0;
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (round > 0) best = std::max(best, static_cast<double>(bytes) / std::max(seconds, 1e-9));
  }
  return best;
}

std::string gigabytes(double rate) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GB/s", rate / 1e9);
  return text;
}

}  // namespace

Result<std::unique_ptr<Transfer>> Transfer::create(Gpu& gpu, Vram& vram,
                                                   const std::string& forced, Timeline& compute) {
  std::unique_ptr<Transfer> transfer(new Transfer(gpu, vram));
  if (!forced.empty() && std::find(kNames, kNames + kPaths, forced) == kNames + kPaths) {
    return fail(Code::kInvalidArgument, "transfer is \"" + forced +
                                            "\"; it can be direct, staging or import");
  }
  if (const DeviceWindow* window = vram.window(); window != nullptr) {
    // Who owns VRAM moves pages there; copies only write what the device is shown.
    const DeviceWindow::Facts facts = window->facts();
    transfer->rates_[static_cast<std::size_t>(Direction::kToDevice)] = facts.to_device_rate;
    transfer->rates_[static_cast<std::size_t>(Direction::kToHost)] = facts.to_host_rate;
    transfer->report_ = facts.transfer_path;
    transfer->direct_ = true;
    return transfer;
  }
  bool usable[kPaths] = {};
  std::vector<std::string> reasons;
  for (std::size_t i = 0; i < kPaths; ++i) {
    if (!forced.empty() && forced != kNames[i]) continue;
    if (static_cast<Path>(i) == Path::kDirect) {
      usable[i] = vram.mapped();
      if (!usable[i]) reasons.emplace_back("direct: the host cannot map VRAM");
      continue;
    }
    const Source source =
        static_cast<Path>(i) == Path::kImport ? Source::kImport : Source::kDriver;
    auto ring = Ring::create(gpu, vram, source, compute);
    if (ring) {
      transfer->rings_[i] = std::move(*ring);
      usable[i] = true;
    } else {
      reasons.push_back(std::string(kNames[i]) + ": " + ring.error().message);
    }
  }
  if (std::find(usable, usable + kPaths, true) == usable + kPaths) {
    return fail(Code::kUnavailable, "no way to copy to the Vulkan device", reasons);
  }
  const int error = transfer->measure(!forced.empty(), usable);
  if (error != 0) {
    const Code code = error == -ENOMEM ? Code::kOutOfMemory : Code::kUnavailable;
    return fail(code, "copies to the Vulkan device fail", reasons);
  }
  return transfer;
}

int Transfer::measure(bool forced, const bool (&usable)[kPaths]) {
  const std::size_t bytes = std::min<std::size_t>(kBlockBytes, vram_.bytes());
  const Pages host(bytes);
  const Pages other(bytes);
  if (host.data() == nullptr || other.data() == nullptr) return -ENOMEM;
  const CopyOp op{.vram = 0, .host = host.data(), .bytes = bytes};
  const std::span<const CopyOp> ops(&op, 1);
  const int error = check(ops);
  if (error != 0) return error;

  const double plain = fastest(bytes, [&] {
    std::memcpy(other.data(), host.data(), bytes);
    // A copy that nobody reads may be left out.
    asm volatile("" : : "r"(other.data()) : "memory");
    return 0;
  });
  double read_direct = 0;
  for (const Direction direction : {Direction::kToDevice, Direction::kToHost}) {
    report_ += direction == Direction::kToDevice ? "to device " : "; to host ";
    std::string measured;
    double& best = rates_[static_cast<std::size_t>(direction)];
    for (std::size_t i = 0; i < kPaths; ++i) {
      if (!usable[i]) continue;
      const Path candidate = static_cast<Path>(i);
      const double rate =
          fastest(bytes, [&] { return copy_by(candidate, direction, ops); });
      if (candidate == Path::kDirect && direction == Direction::kToHost) read_direct = rate;
      measured += std::string(measured.empty() ? "" : ", ") + kNames[i] + " " + gigabytes(rate);
      if (rate > best) {
        best = rate;
        path(direction) = candidate;
      }
    }
    if (best <= 0) return gpu_.lost() ? -ENODEV : -EIO;
    report_ += std::string(kNames[static_cast<std::size_t>(path(direction))]) + " (" + measured +
               ")";
  }
  if (forced) report_ += "; forced";
  direct_ = usable[static_cast<std::size_t>(Path::kDirect)] && read_direct * 2 >= plain;
  for (std::size_t i = 0; i < kPaths; ++i) {
    const Path candidate = static_cast<Path>(i);
    if (paths_[0] != candidate && paths_[1] != candidate) rings_[i].reset();
  }
  return clear(0, bytes);
}

int Transfer::check(std::span<const CopyOp> ops) noexcept {
  if (gpu_.lost()) return -ENODEV;
  for (const CopyOp& op : ops) {
    if (!vram_.contains(op.vram, op.bytes)) return -EINVAL;
    if (op.bytes > 0 && op.host == nullptr) return -EINVAL;
  }
  for (const CopyOp& op : ops) {
    for (std::uint64_t done = 0; done < op.bytes;) {
      Vram::Place place;
      const int error = vram_.locate(op.vram + done, &place);
      if (error != 0) return error;
      done += place.bytes;
    }
  }
  return 0;
}

int Transfer::copy(Direction direction, std::span<const CopyOp> ops) noexcept {
  const int error = check(ops);
  return error != 0 ? error : copy_by(path(direction), direction, ops);
}

int Transfer::copy_by(Path path, Direction direction, std::span<const CopyOp> ops) noexcept {
  if (path == Path::kDirect) return copy_direct(direction, ops);
  return rings_[static_cast<std::size_t>(path)]->copy(direction, ops);
}

int Transfer::copy_direct(Direction direction, std::span<const CopyOp> ops) noexcept {
  for (const CopyOp& op : ops) {
    for (std::uint64_t done = 0; done < op.bytes;) {
      Vram::Place place;
      const int error = vram_.locate(op.vram + done, &place);
      if (error != 0) return error;
      const std::uint64_t part = std::min<std::uint64_t>(op.bytes - done, place.bytes);
      if (direction == Direction::kToDevice) {
        std::memcpy(place.data, op.host + done, part);
      } else {
        std::memcpy(op.host + done, place.data, part);
      }
      done += part;
    }
  }
  return 0;
}

int Transfer::clear(std::uint64_t vram, std::uint64_t bytes) noexcept {
  if (gpu_.lost()) return -ENODEV;
  if (!vram_.contains(vram, bytes)) return -EINVAL;
  const Path by = path(Direction::kToDevice);
  if (by != Path::kDirect) return rings_[static_cast<std::size_t>(by)]->clear(vram, bytes);
  while (bytes > 0) {
    Vram::Place place;
    const int error = vram_.locate(vram, &place);
    if (error != 0) return error;
    const std::uint64_t part = std::min(bytes, place.bytes);
    std::memset(place.data, 0, part);
    vram += part;
    bytes -= part;
  }
  return 0;
}

const std::byte* Transfer::direct(std::uint64_t vram) const noexcept {
  if (!direct_ || vram >= vram_.bytes() || gpu_.lost()) return nullptr;
  Vram::Place place;
  if (vram_.locate(vram, &place) != 0) return nullptr;
  return place.data;
}

}  // namespace godwit::vulkan
