// SPDX-License-Identifier: MIT
// What only the kernel engine can do, in the VM: memory that Godwit did not allocate, versions, events,
// a device that is unplugged. Processes: process_test.cc.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "godwit/context.h"
#include "tests/contract/kernel/engine_fixture.h"

namespace godwit {
namespace {

/// Static data, which nobody allocated.
alignas(kPageBytes) std::array<std::uint32_t, kBytes / 4> static_words;

TEST_F(KernelEngineTest, TheDeviceWorksOnStackMemory) {
  std::array<std::uint32_t, 50'000> words;  // NOLINT: filled below
  works_on(words.data(), words.size(), true);
}

TEST_F(KernelEngineTest, TheDeviceWorksOnStaticData) {
  works_on(static_words.data(), static_words.size(), true);
}

TEST_F(KernelEngineTest, TheDeviceWorksOnPlainMalloc) {
  for (const std::size_t bytes : {std::size_t{4096}, std::size_t{100'000}, 4 * kBytes}) {
    auto* words = static_cast<std::uint32_t*>(std::malloc(bytes));
    works_on(words, bytes / 4, bytes > kPageBytes);  // a page of its own stays
    std::free(words);
  }
}

class FileMemory {
 public:
  FileMemory() : fd_(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)) {
    std::vector<std::uint32_t> words(kBytes / 4, 7);
    if (fd_ < 0 || ::write(fd_, words.data(), kBytes) != static_cast<ssize_t>(kBytes)) {
      ADD_FAILURE() << "no file of " << kBytes << " bytes";
    }
  }
  ~FileMemory() { ::close(fd_); }
  FileMemory(const FileMemory&) = delete;
  FileMemory& operator=(const FileMemory&) = delete;
  std::uint32_t* map(int flags) const {
    return static_cast<std::uint32_t*>(
        ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, flags, fd_, 0));
  }
  int fd() const { return fd_; }

 private:
  int fd_;
};

TEST_F(KernelEngineTest, TheDeviceWorksOnFilePagesThatWereCopiedOnWrite) {
  const FileMemory file;
  std::uint32_t* words = file.map(MAP_PRIVATE);
  works_on(words, kBytes / 4, true);
  std::uint32_t first = 0;
  ASSERT_EQ(::pread(file.fd(), &first, 4, 0), 4);
  EXPECT_EQ(first, 7U) << "a private mapping changed the file";
  ::munmap(words, kBytes);
}

TEST_F(KernelEngineTest, TheDeviceWorksOnSharedFilesInPlace) {
  const FileMemory file;
  std::uint32_t* words = file.map(MAP_SHARED);
  works_on(words, kBytes / 4, false);
  EXPECT_EQ(in_vram(words, kBytes), 0U);
  std::uint32_t first = 0;
  ASSERT_EQ(::pread(file.fd(), &first, 4, 0), 4);
  EXPECT_EQ(first, word_at(0) + 5);
  ::munmap(words, kBytes);
}

TEST_F(KernelEngineTest, DiscardOfPlainMemoryTakesWholePagesOrNothing) {
  void* at = mmap(nullptr, 4 * kPageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(at, MAP_FAILED);
  auto* bytes = static_cast<unsigned char*>(at);
  std::memset(bytes, 7, 4 * kPageBytes);
  const auto refused = engine_->discard(bytes + 100, kPageBytes);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  EXPECT_NE(refused.error().to_string().find("whole pages"), std::string::npos) << refused.error().to_string();
  for (std::size_t i = 0; i < 4 * kPageBytes; ++i) ASSERT_EQ(bytes[i], 7) << i;
  ASSERT_DONE(engine_->discard(bytes + kPageBytes, 2 * kPageBytes));
  for (std::size_t i = 0; i < 4 * kPageBytes; ++i) {
    ASSERT_EQ(bytes[i], i / kPageBytes % 3 == 0 ? 7 : 0) << i;
  }
  munmap(at, 4 * kPageBytes);
}

/// Pages that io_uring holds for DMA, as a driver of a disk or NIC would.
class PinnedPages {
 public:
  PinnedPages(void* base, std::size_t bytes) {
    io_uring_params params = {};
    ring_ = static_cast<int>(::syscall(SYS_io_uring_setup, 1, &params));
    const iovec buffer{base, bytes};
    if (ring_ < 0 ||
        ::syscall(SYS_io_uring_register, ring_, IORING_REGISTER_BUFFERS, &buffer, 1) != 0) {
      ADD_FAILURE() << "io_uring does not take the buffer: " << std::strerror(errno);
    }
  }
  ~PinnedPages() {
    if (ring_ >= 0) ::close(ring_);
  }
  PinnedPages(const PinnedPages&) = delete;
  PinnedPages& operator=(const PinnedPages&) = delete;

 private:
  int ring_ = -1;
};

TEST_F(KernelEngineTest, APageThatIsPinnedForDmaStaysIsUsedInPlaceAndTheRestMoves) {
  constexpr std::size_t kPages = kBytes / kPageBytes;
  auto* words = static_cast<std::uint32_t*>(*engine_->allocate(kBytes, kBlockBytes));
  ::madvise(words, kBytes, MADV_NOHUGEPAGE);
  for (std::size_t i = 0; i < kBytes / 4; ++i) words[i] = word_at(i);
  std::byte* page = reinterpret_cast<std::byte*>(words) + 100 * kPageBytes;
  {
    const PinnedPages pinned(page, kPageBytes);
    const auto moved = engine_->prefetch(words, kBytes, Place::kDevice);
    ASSERT_TRUE(moved) << moved.error().to_string();
    EXPECT_EQ(moved->moved, kPages - 1);
    EXPECT_EQ(moved->stayed_for[static_cast<std::size_t>(StayReason::kPinned)], 1U);
    ASSERT_EQ(moved->stays.size(), 1U);
    EXPECT_EQ(moved->stays[0].address, page);
    ASSERT_DONE(add(words, kBytes, 5));
    EXPECT_EQ(in_vram(words, kBytes), kPages - 1);
  }
  for (std::size_t i = 0; i < kBytes / 4; ++i) ASSERT_EQ(words[i], word_at(i) + 5) << i;
}

TEST_F(KernelEngineTest, AHoleIsRefusedByName) {
  auto* at = static_cast<std::byte*>(::mmap(nullptr, 4 * kPageBytes, PROT_READ | PROT_WRITE,
                                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ::munmap(at + kPageBytes, kPageBytes);
  auto added = add(at, 4 * kPageBytes, 1);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Code::kInvalidArgument);
  EXPECT_NE(added.error().message.find("1 pages"), std::string::npos) << added.error().message;
  ::munmap(at, 4 * kPageBytes);
}

TEST_F(KernelEngineTest, MemoryThatCameBackAtTheSameAddressIsTheNewOne) {
  void* at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (std::uint32_t round = 1; round <= 3; ++round) {
    ASSERT_DONE(add(at, kBytes, round));
    EXPECT_EQ(*static_cast<volatile std::uint32_t*>(at), round);
    ASSERT_DONE(add(at, kBytes, 100));
    void* again = ::mmap(at, kBytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    ASSERT_EQ(again, at);
  }
  ::munmap(at, kBytes);
}

TEST_F(KernelEngineTest, ARangeThatIsKnownToBeInVramIsNotAskedAboutAgain) {
  auto* words = static_cast<std::uint32_t*>(*engine_->allocate(4 * kBytes, 1));
  std::memset(words, 0, 4 * kBytes);
  ASSERT_DONE(add(words, 4 * kBytes, 1));
  const auto moves = [&] {
    return of(telemetry_->statistics(), Cause::kDeviceAccess).operations.load();
  };
  const std::uint64_t before = moves();
  EXPECT_EQ(in_vram(words, 4 * kBytes), 4 * kBytes / kPageBytes);
  ASSERT_DONE(add(words, 4 * kBytes, 1));
  EXPECT_EQ(moves(), before);
  EXPECT_EQ(static_cast<volatile std::uint32_t*>(words)[1000], 2U);  // comes home: known no more
  ASSERT_DONE(add(words, 4 * kBytes, 1));
  EXPECT_GT(moves(), before);
  EXPECT_EQ(static_cast<volatile std::uint32_t*>(words)[1000], 3U);
}

TEST_F(KernelEngineTest, EventsThatAreLostAreMadeUpForByAskingTheKernel) {
  make(4);
  auto* region = static_cast<std::byte*>(*engine_->allocate(kBytes, kBlockBytes));
  std::memset(region, 1, kBytes);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (engine_->events()->recoveries() == 0 && std::chrono::steady_clock::now() < deadline) {
    for (std::size_t page = 0; page < 64; ++page) {
      auto moved = engine_->prefetch(region + page * kPageBytes, kPageBytes, Place::kDevice);
      ASSERT_TRUE(moved) << moved.error().to_string();
    }
    ASSERT_TRUE(engine_->prefetch(region, kBytes, Place::kHost));
  }
  EXPECT_GT(engine_->events()->lost(), 0U);
  EXPECT_GT(engine_->events()->recoveries(), 0U);
  ASSERT_TRUE(engine_->prefetch(region, kBytes, Place::kDevice));
  EXPECT_EQ(in_vram(region, kBytes), kBytes / kPageBytes);
  engine_->refresh_statistics();
  std::uint64_t values[GODWIT_STAT_COUNT] = {};
  ASSERT_EQ(engine_->driver().stats(values), 0);
  EXPECT_GT(values[GODWIT_STAT_EVENTS_LOST], 0U);
  EXPECT_EQ(telemetry_->statistics().vram_bytes, values[GODWIT_STAT_VRAM_BYTES]);
}

TEST_F(KernelEngineTest, AWalkOfTheCpuIsBroughtAhead) {
  auto* region = static_cast<std::byte*>(*engine_->allocate(4 * kBlockBytes, kBlockBytes));
  // Small pages: a huge one comes home at once.
  ::madvise(region, 4 * kBlockBytes, MADV_NOHUGEPAGE);
  std::memset(region, 3, 4 * kBlockBytes);
  ASSERT_TRUE(engine_->prefetch(region, 4 * kBlockBytes, Place::kDevice));
  ASSERT_EQ(in_vram(region, 4 * kBlockBytes), 4 * kPagesPerBlock);
  // Touches three chunks and waits: what follows comes without being touched.
  for (std::size_t chunk = 0; chunk < 3; ++chunk) {
    EXPECT_EQ(static_cast<volatile unsigned char*>(
                  reinterpret_cast<unsigned char*>(region))[chunk * kChunkBytes], 3);
  }
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  std::size_t home = 0;
  do {
    home = 4 * kPagesPerBlock - in_vram(region, 4 * kBlockBytes);
  } while (home <= 3 * kPagesPerChunk && std::chrono::steady_clock::now() < deadline);
  EXPECT_GT(home, 3 * kPagesPerChunk);
  for (std::size_t at = 0; at < 4 * kBlockBytes; at += kPageBytes) {
    ASSERT_EQ(static_cast<unsigned char>(region[at]), 3) << at;
  }
}

// ---- versions ----------------------------------------------------------------------------------

TEST(Versions, AModuleThatIsOlderThanTheLibraryIsRefusedWithBothNumbers) {
  auto driver = kernel::open_render_node("", GODWIT_UAPI_VERSION + 1);
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().code, Code::kUnavailable);
  const std::string both = "interface " + kernel::version_text(GODWIT_UAPI_VERSION) +
                           ", this library was built for " +
                           kernel::version_text(GODWIT_UAPI_VERSION + 1);
  EXPECT_NE(driver.error().to_string().find(both), std::string::npos)
      << driver.error().to_string();
  driver = kernel::open_render_node("", (GODWIT_UAPI_MAJOR + 1) << 16);
  ASSERT_FALSE(driver);
  EXPECT_NE(driver.error().to_string().find("install the newer module"), std::string::npos)
      << driver.error().to_string();
}

TEST(Versions, TheSameVersionIsServed) {
  auto driver = kernel::open_render_node("", GODWIT_UAPI_VERSION);
  ASSERT_TRUE(driver) << driver.error().to_string();
  drm_godwit_attach args = {};
  args.client_version = GODWIT_UAPI_VERSION + 1;
  EXPECT_EQ((*driver)->call(DRM_IOCTL_GODWIT_ATTACH, &args), -EPROTONOSUPPORT)
      << "the module refuses by itself, too";
  EXPECT_EQ(args.driver_version, static_cast<std::uint32_t>(GODWIT_UAPI_VERSION));
}

TEST(Versions, ANodeThatNobodyHasIsNamed) {
  auto driver = kernel::open_render_node("warp", GODWIT_UAPI_VERSION);
  ASSERT_FALSE(driver);
  EXPECT_EQ(driver.error().code, Code::kInvalidArgument);
  EXPECT_NE(driver.error().to_string().find("renderD"), std::string::npos)
      << driver.error().to_string();
}

// ---- the context -------------------------------------------------------------------------------

TEST(ContextOverTheModule, AutoTakesTheKernelEngine) {
  ContextOptions options;
  options.device = "soft";
  auto context = Context::create(options);
  ASSERT_TRUE(context) << context.error().to_string();
  EXPECT_EQ((*context)->engine().info().name, "kernel");
  options.engine = "user";
  auto user = Context::create(options);
  ASSERT_TRUE(user) << user.error().to_string();
  EXPECT_EQ((*user)->engine().info().name, "user");
}

// ---- a device that goes ------------------------------------------------------------------------

int write_parameter(const char* name, const std::string& text) {
  const std::string path = std::string("/sys/module/godwit_soft/parameters/") + name;
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  const ssize_t wrote = ::write(fd, text.data(), text.size());
  const int error = wrote < 0 ? -errno : 0;
  ::close(fd);
  return error;
}

TEST(Unplugged, TheBytesAreWholeAndTheEngineSaysWhatHappened) {
  ASSERT_EQ(write_parameter("add", "private:8M"), 0);
  std::string name;
  for (const kernel::NodeEntry& node : kernel::list_render_nodes()) {
    if (node.ours) name = node.info.name;
  }
  auto telemetry = Telemetry::create("", 0);
  auto driver = kernel::open_render_node(name, GODWIT_UAPI_VERSION);
  ASSERT_TRUE(driver) << driver.error().to_string();
  KernelEngineOptions options;
  options.arena_bytes = std::size_t{64} << 20;
  options.make_device = soft_on;
  auto engine = KernelEngine::create(std::move(*driver), **telemetry, std::move(options));
  ASSERT_TRUE(engine) << engine.error().to_string();
  ASSERT_TRUE((*engine)->device());
  auto* words = static_cast<std::uint32_t*>(*(*engine)->allocate(kBytes, 1));
  for (std::size_t i = 0; i < kBytes / 4; ++i) words[i] = word_at(i);
  ASSERT_TRUE((*engine)->prefetch(words, kBytes, Place::kDevice));
  ASSERT_EQ(write_parameter("remove", name), 0) << name;
  for (std::size_t i = 0; i < kBytes / 4; ++i) ASSERT_EQ(words[i], word_at(i)) << i;
  auto refused = (*engine)->prefetch(words, kBytes, Place::kDevice);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kDeviceLost) << refused.error().to_string();
  EXPECT_TRUE((*engine)->free(words));
}

}  // namespace
}  // namespace godwit
