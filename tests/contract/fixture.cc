// SPDX-License-Identifier: MIT
#include "tests/contract/fixture.h"

#include <chrono>
#include <thread>

#include "runtime/src/engine/kernel/render_node.h"
#include "runtime/src/host/user/user_host.h"

namespace godwit::contract {

/// A command of a second, on an emulated machine that is busy and under ThreadSanitizer.
constexpr std::chrono::minutes kPatience{2};

std::uint32_t pattern(std::size_t word, std::uint32_t seed) {
  return static_cast<std::uint32_t>(word * 2654435761U) ^ (seed * 0x9e3779b9U);
}

std::string describe(const MoveReport& report) {
  std::string text = std::to_string(report.moved) + " moved, " + std::to_string(report.already) +
                     " already, " + std::to_string(report.stayed) + " stayed";
  for (const Stay& stay : report.stays) {
    text += "; " + std::to_string(stay.pages) + " pages " +
            std::string(stay_reason_name(stay.reason));
  }
  return text;
}

void Contract::SetUp() { remake(kVram, {}); }

void Contract::TearDown() {
  if (engine_ == nullptr) return;
  auto device = engine_->device();
  if (device) {
    for (const std::string& line : (*device)->info().limits) {
      EXPECT_FALSE(line.starts_with("validation: ")) << line;
    }
  }
  engine_.reset();
}

Result<std::unique_ptr<Engine>> Contract::make_managed(std::size_t vram, FaultAround around) {
  std::unique_ptr<HostMemory> host;
  if (fake()) {
    auto fake_host = std::make_unique<FakeHost>(GetParam().level);
    fake_host_ = fake_host.get();
    host = std::move(fake_host);
  } else {
    auto made = make_user_host({.level = full() ? HostLevelWish::kFull : HostLevelWish::kResident,
                                .handlers = 2});
    if (!made) return tl::unexpected(made.error());
    host = std::move(*made);
  }
  ManagedEngineOptions options;
  options.name = fake() ? "fake" : "user";
  options.arena_bytes = std::size_t{256} << 20;
  options.pool_bytes = std::size_t{8} << 20;
  options.threads = 2;
  options.fault_around = around;
  options.make_device = [kind = GetParam().device, vram] {
    return make_device(kind, vram, nullptr);
  };
  auto engine = ManagedEngine::create(std::move(host), *telemetry_, std::move(options));
  if (!engine) return tl::unexpected(engine.error());
  managed_ = engine->get();
  return std::unique_ptr<Engine>(std::move(*engine));
}

Result<std::unique_ptr<Engine>> Contract::make_kernel() {
  auto driver = kernel::open_render_node("", GODWIT_UAPI_VERSION);
  if (!driver) return tl::unexpected(driver.error());
  drm_godwit_device_info info = {};
  EXPECT_EQ((*driver)->query(&info), 0);
  EXPECT_EQ(info.vram_total, kVram) << "this suite wants a device of 16 MiB";
  coherent_ = info.kind == GODWIT_KIND_COHERENT;
  KernelEngineOptions options;
  options.arena_bytes = std::size_t{256} << 20;
  options.make_device = [kind = GetParam().device](DeviceWindow* window) {
    return make_device(kind, 0, window);
  };
  auto engine = KernelEngine::create(std::move(*driver), *telemetry_, std::move(options));
  if (!engine) return tl::unexpected(engine.error());
  return std::unique_ptr<Engine>(std::move(*engine));
}

void Contract::remake(std::size_t vram, FaultAround around) {
  engine_.reset();
  managed_ = nullptr;
  telemetry_ = std::move(*Telemetry::create("", 1024));
  auto engine = kernel() ? make_kernel() : make_managed(vram, around);
  if (!engine && engine.error().code == Code::kUnavailable) {
    GTEST_SKIP() << "lacks " << (kernel() ? "the module: " : "userfaultfd: ")
                 << engine.error().to_string();
  }
  ASSERT_TRUE(engine) << engine.error().to_string();
  engine_ = std::move(*engine);
  auto device = engine_->device();
  if (!device) GTEST_SKIP() << "lacks a device: " << device.error().to_string();
}

Statistics& Contract::statistics() {
  engine_->refresh_statistics();
  if (managed_ != nullptr) {
    PageTable& table = managed_->core().table;
    for (std::size_t block = 0; block < table.pages() / kPagesPerBlock; ++block) {
      const BlockGuard guard(managed_->core(), block);
    }
  }
  return telemetry_->statistics();
}

bool Contract::vram_is_free() {
  if (managed_ != nullptr) {
    const VramFrames& frames = *managed_->core().frames;
    return frames.free_count() == frames.count();
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  do {
    if (statistics().vram_bytes == 0) return true;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < deadline);
  return false;
}

std::byte* Contract::region(std::size_t bytes) {
  auto made = engine_->allocate(bytes, 1);
  EXPECT_TRUE(made) << made.error().to_string();
  return static_cast<std::byte*>(*made);
}

void Contract::store(void* to, const void* from, std::size_t bytes) {
  if (!fake()) {
    std::memcpy(to, from, bytes);
    return;
  }
  const auto* next = static_cast<const std::byte*>(from);
  ASSERT_EQ(fake_host_->touch(to, bytes, true,
                              [&](std::byte* part, std::size_t count) {
                                std::memcpy(part, next, count);
                                next += count;
                              }),
            0);
}

void Contract::load(void* to, const void* from, std::size_t bytes) {
  if (!fake()) {
    std::memcpy(to, from, bytes);
    return;
  }
  auto* next = static_cast<std::byte*>(to);
  ASSERT_EQ(fake_host_->touch(from, bytes, false,
                              [&](const std::byte* part, std::size_t count) {
                                std::memcpy(next, part, count);
                                next += count;
                              }),
            0);
}

void Contract::fill(std::byte* base, std::size_t bytes, std::uint32_t seed) {
  std::vector<std::uint32_t> page(kPageBytes / 4);
  for (std::size_t done = 0; done < bytes; done += kPageBytes) {
    for (std::size_t word = 0; word < page.size(); ++word) {
      page[word] = pattern(done / 4 + word, seed);
    }
    store(base + done, page.data(), std::min(kPageBytes, bytes - done));
  }
}

std::string Contract::check(const std::byte* base, std::size_t bytes, std::uint32_t seed) {
  std::vector<std::uint32_t> page(kPageBytes / 4);
  for (std::size_t done = 0; done < bytes; done += kPageBytes) {
    load(page.data(), base + done, kPageBytes);
    for (std::size_t word = 0; word < page.size(); ++word) {
      const std::uint32_t wanted = pattern(done / 4 + word, seed);
      if (page[word] != wanted) {
        return "page " + std::to_string(done / kPageBytes) + " word " + std::to_string(word) +
               " is " + std::to_string(page[word]) + ", wanted " + std::to_string(wanted);
      }
    }
  }
  return "";
}

std::string Contract::check_zero(const std::byte* base, std::size_t bytes) {
  std::vector<std::uint32_t> page(kPageBytes / 4);
  for (std::size_t done = 0; done < bytes; done += kPageBytes) {
    load(page.data(), base + done, kPageBytes);
    for (const std::uint32_t word : page) {
      if (word != 0) return "page " + std::to_string(done / kPageBytes) + " is not zero";
    }
  }
  return "";
}

MoveReport Contract::to_device(const void* base, std::size_t bytes) {
  auto report = engine_->prefetch(base, bytes, Place::kDevice);
  EXPECT_TRUE(report) << report.error().to_string();
  return report ? *report : MoveReport{};
}

MoveReport Contract::to_host(const void* base, std::size_t bytes) {
  auto report = engine_->prefetch(base, bytes, Place::kHost);
  EXPECT_TRUE(report) << report.error().to_string();
  return report ? *report : MoveReport{};
}

Residency Contract::where(const void* address) {
  Residency place{};
  auto done = engine_->residency(address, 1, {&place, 1});
  EXPECT_TRUE(done) << done.error().to_string();
  return place;
}

std::size_t Contract::count(const void* base, std::size_t bytes, Residency place) {
  std::vector<Residency> pages(bytes / kPageBytes);
  auto done = engine_->residency(base, bytes, pages);
  EXPECT_TRUE(done) << done.error().to_string();
  return static_cast<std::size_t>(std::count(pages.begin(), pages.end(), place));
}

Result<> Contract::device_wait(const Command& command) {
  Device* device = *engine_->device();
  Ticket ticket = 0;
  int error = device->submit(command, &ticket);
  if (error == 0) error = device->finish(ticket, kPatience);
  if (error != 0) return fail_errno(-error, "a command on the device");
  return {};
}

Result<> Contract::device_add(void* base, std::size_t bytes, std::uint32_t value) {
  const Operand operand{.base = base, .bytes = bytes, .access = Access::kReadWrite};
  auto hold = engine_->acquire({&operand, 1});
  if (!hold) return tl::unexpected(hold.error());
  return device_wait(AddCommand{(*hold)->span(0), value});
}

Result<std::uint64_t> Contract::device_sum(const void* base, std::size_t bytes) {
  const Operand operand{.base = base, .bytes = bytes, .access = Access::kRead};
  auto hold = engine_->acquire({&operand, 1});
  if (!hold) return tl::unexpected(hold.error());
  std::uint64_t sum = 0;
  auto done = device_wait(SumCommand{(*hold)->span(0), &sum});
  if (!done) return tl::unexpected(done.error());
  return sum;
}

std::uint64_t Contract::expected_sum(std::size_t bytes, std::uint32_t seed) {
  std::uint64_t sum = 0;
  for (std::size_t word = 0; word < bytes / 4; ++word) sum += pattern(word, seed);
  return sum;
}

}  // namespace godwit::contract
