// SPDX-License-Identifier: MIT
// Square GEMM on the devices, operands in VRAM, against the CPU's BLAS libraries.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/src/device/device.h"
#include "tests/bench/cpu_blas.h"
#include "tests/bench/groups.h"
#include "tests/bench/world.h"

namespace godwit::bench {
namespace {

constexpr int kRepetitions = 7;
constexpr double kLongRun = 0.5;  // seconds: what takes longer is repeated three times only
constexpr std::array<std::size_t, 4> kSizes = {256, 512, 1024, 4096};
constexpr std::size_t kLargest = 1024;  // for what computes on the CPUs

/// Three n x n matrices in one device's VRAM.
class DeviceGemm {
 public:
  DeviceGemm(Device& device, ScalarType type, std::size_t n)
      : device_(device), type_(type), n_(n), bytes_(n * n * scalar_bytes(type)) {
    const std::size_t chunks = align_up(bytes_, kChunkBytes) / kChunkBytes;
    std::vector<float> floats(bytes_ / 4, 0.5F);
    std::vector<double> doubles(bytes_ / 8, 0.5);
    auto* source = type == ScalarType::kFloat ? reinterpret_cast<std::byte*>(floats.data())
                                              : reinterpret_cast<std::byte*>(doubles.data());
    for (std::size_t matrix = 0; matrix < 3; ++matrix) {
      for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
        chunks_[matrix].push_back((matrix * chunks + chunk) * kChunkBytes);
      }
      const CopyOp op{chunks_[matrix][0], source, bytes_};
      const int error = device.copy(Direction::kToDevice, {&op, 1});
      if (error != 0) give_up("copy of a matrix", error);
    }
  }

  void multiply() {
    GemmCommand command;
    command.type = type_;
    command.m = command.n = command.k = command.lda = command.ldb = command.ldc = n_;
    command.a = {chunks_[0], 0, bytes_};
    command.b = {chunks_[1], 0, bytes_};
    command.c = {chunks_[2], 0, bytes_};
    Ticket ticket = 0;
    int error = device_.submit(command, &ticket);
    if (error == 0) error = device_.wait(ticket, std::chrono::seconds(60));
    if (error != 0) give_up("GEMM on the device", error);
  }

 private:
  Device& device_;
  ScalarType type_;
  std::size_t n_;
  std::size_t bytes_;
  std::array<std::vector<std::uint64_t>, 3> chunks_;
};

/// Something that multiplies; the first one is what the others are compared with.
struct Contender {
  std::string name;
  std::function<void(ScalarType, std::size_t)> prepare;
  std::function<void()> multiply;
  std::string missing;
  std::size_t largest = kSizes.back();

  [[nodiscard]] bool takes(std::size_t n) const { return missing.empty() && n <= largest; }
};

template <typename Real>
std::function<void()> on_cpu(const CpuBlas& blas, std::size_t n) {
  auto matrices = std::make_shared<std::vector<Real>>(3 * n * n, Real{1} / 2);
  return [&blas, n, matrices] {
    Real* a = matrices->data();
    blas.multiply(n, a, a + n * n, a + 2 * n * n);
  };
}

Contender contender_of(const CpuBlas& blas, const char* name) {
  Contender contender;
  contender.name = name;
  if (!blas.usable()) contender.missing = blas.reason();
  return contender;
}

std::string head_of(ScalarType type, std::size_t n) {
  return std::string("gemm/") + (type == ScalarType::kFloat ? "float/" : "double/") +
         std::to_string(n) + "/";
}

/// Whether the filter lets any row through: opening a device takes a while.
bool wanted(const Plan& plan) {
  for (const ScalarType type : {ScalarType::kDouble, ScalarType::kFloat}) {
    for (const std::size_t n : kSizes) {
      for (const char* name : {"openblas", "reference", "soft", "vulkan"}) {
        if (plan.wants(head_of(type, n) + name)) return true;
      }
    }
  }
  return false;
}

void measure(const Plan& plan, ScalarType type, std::size_t n, std::vector<Contender>& contenders,
             Table& table) {
  const std::string head = head_of(type, n);
  bool any = false;
  for (const Contender& contender : contenders) any |= plan.wants(head + contender.name);
  if (!any) return;
  std::vector<Row> rows;
  std::vector<double> first(contenders.size(), 0);
  for (std::size_t index = 0; index < contenders.size(); ++index) {
    Contender& contender = contenders[index];
    rows.push_back({head + contender.name, "GFLOP/s", {}, {}, index == 0 ? "" : "OpenBLAS", {}});
    if (!contender.takes(n)) continue;
    contender.prepare(type, n);
    first[index] = seconds_of(contender.multiply);  // threads start, pages come
  }
  const double work =
      2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / 1e9;
  for (int round = 0; round < plan.times(kRepetitions); ++round) {
    double best = 0;
    for (std::size_t index = 0; index < contenders.size(); ++index) {
      if (!contenders[index].takes(n)) continue;
      if (round >= 3 && first[index] > kLongRun) continue;
      const double time = seconds_of(contenders[index].multiply);
      rows[index].value.add(work / time);
      if (index == 0) best = time;
      if (index != 0 && best != 0) rows[index].ratio.add(best / time);
    }
  }
  for (std::size_t index = 0; index < contenders.size(); ++index) {
    if (!plan.wants(rows[index].name)) continue;
    if (contenders[index].takes(n)) {
      table.add(rows[index]);
    } else if (!contenders[index].missing.empty()) {
      table.skip(rows[index].name, contenders[index].missing);
    }
    contenders[index].multiply = nullptr;
  }
}

}  // namespace

void measure_gemm(const Plan& plan, Table& table) {
  if (!wanted(plan)) return;
  const CpuBlas open(CpuBlas::Kind::kOpenBlas);
  const CpuBlas reference(CpuBlas::Kind::kReference);
  std::vector<Contender> contenders = {contender_of(open, "openblas"),
                                       contender_of(reference, "reference")};
  contenders[1].largest = kLargest;
  for (std::size_t index = 0; index < 2; ++index) {
    const CpuBlas& blas = index == 0 ? open : reference;
    contenders[index].prepare = [&contenders, index, &blas](ScalarType type, std::size_t n) {
      contenders[index].multiply =
          type == ScalarType::kFloat ? on_cpu<float>(blas, n) : on_cpu<double>(blas, n);
    };
  }
  DeviceOptions options;
  options.vram_bytes = std::size_t{512} << 20;
  std::vector<Result<std::unique_ptr<Device>>> devices;
  devices.push_back(make_soft_device(options));
  devices.push_back(make_vulkan_device(options));
  for (auto& device : devices) {
    const std::size_t index = contenders.size();
    Contender contender;
    contender.name = index == 2 ? "soft" : "vulkan";
    if (!device) contender.missing = device.error().to_string();
    if (device) contender.largest = (*device)->info().software ? kLargest : kSizes.back();
    contender.prepare = [&contenders, index, &device](ScalarType type, std::size_t n) {
      auto gemm = std::make_shared<DeviceGemm>(**device, type, n);
      contenders[index].multiply = [gemm] { gemm->multiply(); };
    };
    contenders.push_back(std::move(contender));
  }
  for (const ScalarType type : {ScalarType::kDouble, ScalarType::kFloat}) {
    for (const std::size_t n : kSizes) {
      // The large size shows a GPU; without one there is nothing to compare.
      const bool shown =
          n <= kLargest || std::any_of(contenders.begin() + 2, contenders.end(),
                                       [n](const Contender& c) { return c.takes(n); });
      if (shown && (!plan.smoke || n == kSizes[0])) measure(plan, type, n, contenders, table);
    }
  }
}

}  // namespace godwit::bench
