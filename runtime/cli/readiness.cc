// SPDX-License-Identifier: MIT
#include "runtime/cli/readiness.h"

#include <fmt/format.h>
#include <pthread.h>

#include <csignal>
#include <thread>
#include <utility>

#include "runtime/src/engine/engine.h"

namespace godwit::cli {
namespace {

// Enough to see that a device works, and soon given back.
constexpr std::uint64_t kProbeVram = std::uint64_t{4} << 20;

Result<std::string> check_engine(const ContextOptions& options) {
  auto context = Context::create(options);
  if (!context) {
    Error error = std::move(context.error());
    error.reasons.emplace_back("`godwit info` tells more");
    return tl::unexpected(std::move(error));
  }
  const EngineInfo info = (*context)->engine().info();
  return fmt::format("{}, {}, by {}", info.name, info.level, info.access);
}

Result<std::string> check_device(ContextOptions options) {
  if (options.vram_bytes == 0) options.vram_bytes = kProbeVram;
  auto device = make_wished_device(options);
  if (!device) {
    Error error = std::move(device.error());
    error.message = fmt::format("--device={} cannot be used: {}", options.device, error.message);
    return tl::unexpected(std::move(error));
  }
  const DeviceInfo info = (*device)->info();
  return fmt::format("{}: {}", info.kind, info.name);
}

template <typename Function>
void on_deaf_thread(Function function) {
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(function));
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  thread.join();
}

}  // namespace

Result<std::unique_ptr<Device>> make_wished_device(const ContextOptions& options) {
  DeviceOptions device;
  device.vram_bytes = options.vram_bytes;
  if (options.device == "soft") return make_soft_device(device);
  if (options.device == "auto") {
    auto vulkan = make_vulkan_device(device);
    // A software driver computes on the same CPUs, and the soft device is faster at that.
    if (vulkan && !(*vulkan)->info().software) return vulkan;
    return make_soft_device(device);
  }
  if (options.device.starts_with("vulkan:")) device.select = options.device.substr(7);
  return make_vulkan_device(device);
}

Result<Readiness> check_readiness(const ContextOptions& options, bool name_device) {
  Result<Readiness> answer = Readiness{};
  on_deaf_thread([&] {
    auto engine = check_engine(options);
    if (!engine) {
      answer = tl::unexpected(std::move(engine.error()));
      return;
    }
    answer->engine = *engine;
    if (options.device == "auto" && !name_device) return;
    auto device = check_device(options);
    if (!device) {
      answer = tl::unexpected(std::move(device.error()));
      return;
    }
    answer->device = *device;
  });
  return answer;
}

}  // namespace godwit::cli
