// SPDX-License-Identifier: MIT
// The NVMe and VRAM by pointer, while what the pointer points to never rests: no read returns old
// bytes, nothing that was written is lost. What goes where at rest is in matrix_test.cc.
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tests/kernel/jobs.h"
#include "tests/kernel/peers/target.h"
#include "tests/kernel/peers/uring.h"

namespace godwit::guest {
namespace {

constexpr size_t kMiB = size_t{1} << 20;
constexpr size_t kBytes = 256 << 10;
constexpr size_t kAt = 64 * kMiB;

enum class Path { kDirect, kUring, kUringFixed, kBuffered, kVector };
std::ostream& operator<<(std::ostream& out, Path path) {
  constexpr const char* kNames[] = {"Direct", "Uring", "UringFixed", "Buffered", "Vector"};
  return out << kNames[static_cast<int>(path)];
}

class Storage : public ::testing::TestWithParam<std::tuple<Kind, Path>> {
 protected:
  void SetUp() override {
    if (path() == Path::kBuffered) buffered_ = open("/dev/nvme0n1", O_RDWR | O_CLOEXEC);
  }
  void TearDown() override {
    if (buffered_ >= 0) close(buffered_);
  }
  Path path() const { return std::get<1>(GetParam()); }

  // 0 or a negative errno.
  int read(const Target& target, size_t offset) {
    if (buffered_ >= 0)
      posix_fadvise(buffered_, static_cast<off_t>(offset), static_cast<off_t>(target.size()),
                    POSIX_FADV_DONTNEED);
    return transfer(target, offset, false);
  }
  int write(const Target& target, size_t offset) {
    const int status = transfer(target, offset, true);
    return status == 0 && buffered_ >= 0 && fsync(buffered_) != 0 ? -errno : status;
  }
  Disk disk_;

 private:
  int transfer(const Target& target, size_t offset, bool out) {
    const size_t bytes = target.size();
    const auto at = static_cast<off_t>(offset);
    const int file = buffered_ >= 0 ? buffered_ : disk_.fd();
    ssize_t done = 0;
    switch (path()) {
      case Path::kDirect:
      case Path::kBuffered:
        done = out ? pwrite(file, target.data(), bytes, at) : pread(file, target.data(), bytes, at);
        if (done < 0) done = -errno;
        break;
      case Path::kVector: {
        // Two pieces, the second one first.
        iovec pieces[2] = {{target.data() + bytes / 2, bytes / 2}, {target.data(), bytes / 2}};
        done = out ? pwritev(file, pieces, 2, at) : preadv(file, pieces, 2, at);
        if (done < 0) done = -errno;
        break;
      }
      case Path::kUring:
      case Path::kUringFixed: {
        // Registered for each transfer: a fixed buffer does not move for as long as it is one.
        Uring ring;
        const bool fixed = path() == Path::kUringFixed;
        if (fixed) {
          const int status = ring.fix(target.data(), bytes);
          if (status != 0) return status;
        }
        // It may come in pieces: see StorageMixed.
        size_t so_far = 0;
        while (so_far < bytes) {
          uint8_t* rest = target.data() + so_far;
          done = out ? ring.write(file, rest, bytes - so_far, offset + so_far, fixed)
                     : ring.read(file, rest, bytes - so_far, offset + so_far, fixed);
          if (done <= 0) break;
          so_far += static_cast<size_t>(done);
        }
        if (done > 0) done = static_cast<ssize_t>(so_far);
        break;
      }
    }
    if (done < 0) return static_cast<int>(done);
    return static_cast<size_t>(done) == bytes ? 0 : -EIO;
  }
  int buffered_ = -1;
};

// Fills and checks in the order in which kVector puts the halves.
void expect_disk(const Disk& disk, size_t offset, const std::vector<uint8_t>& wanted,
                 bool swapped) {
  std::vector<uint8_t> bytes = disk.seen_by_host(offset, wanted.size());
  if (swapped) {
    const auto half = static_cast<ptrdiff_t>(wanted.size() / 2);
    std::rotate(bytes.begin(), bytes.begin() + half, bytes.end());
  }
  EXPECT_TRUE(bytes == wanted) << "the disk got other bytes than the pointer had";
}

TEST_P(Storage, NothingOldIsReadAndNothingIsLostWhileItMoves) {
  const Kind kind = std::get<0>(GetParam());
  if (kind == Kind::kExplicit && path() == Path::kUringFixed) {
    GTEST_SKIP() << "peer-to-peer pages cannot be held for long (FOLL_LONGTERM): matrix_test shows "
                    "the refusal";
  }
  const bool swapped = path() == Path::kVector;
  const Place place(kind, 0);
  ASSERT_TRUE(place.ready() && disk_.fd() >= 0);
  const Target target(place, kBytes);
  ASSERT_NE(target.data(), nullptr);
  const size_t half = target.size() / 2;
  fill(target.data(), target.size(), 1000);
  ASSERT_TRUE(target.to_vram());
  const auto mover = target.mover(std::chrono::milliseconds(1));
  // Until it has moved many times, and everything was seen as often.
  const uint64_t enough = kLength * (target.object() != nullptr ? 4 : 512);
  uint64_t turn = 0;
  for (; turn < rounds(200 * kLength) && (turn < 6 * kLength || mover->moved() < enough) &&
         !HasFailure();
       ++turn) {
    const uint64_t in = 2000 + 2 * turn, out = in + 1;
    disk_.write_pattern(kAt, target.size(), in);
    ASSERT_EQ(read(target, kAt), 0) << "turn " << turn;
    std::vector<uint8_t> wanted(target.size());
    fill(wanted.data(), wanted.size(), in);
    if (swapped)
      std::rotate(wanted.begin(), wanted.begin() + static_cast<ptrdiff_t>(half), wanted.end());
    ASSERT_EQ(memcmp(target.data(), wanted.data(), wanted.size()), 0)
        << "turn " << turn << ": old bytes were read";
    fill(target.data(), target.size(), out);
    ASSERT_EQ(write(target, kAt + 4 * kMiB), 0) << "turn " << turn;
    fill(wanted.data(), wanted.size(), out);
    expect_disk(disk_, kAt + 4 * kMiB, wanted, swapped);
  }
  mover->stop();
  EXPECT_GE(mover->moved(), enough) << "after " << turn << " turns";
}

std::string path_name(const ::testing::TestParamInfo<Storage::ParamType>& info) {
  std::ostringstream name;
  name << std::get<0>(info.param) << "_" << std::get<1>(info.param);
  return name.str();
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, Storage,
    ::testing::Combine(::testing::Values(Kind::kPrivate, Kind::kCoherent, Kind::kExplicit),
                       ::testing::Values(Path::kDirect, Path::kVector, Path::kUring,
                                         Path::kUringFixed, Path::kBuffered)),
    path_name);

class Stream : public ::testing::TestWithParam<Kind> {};

// More than VRAM has goes through a pointer: what does not fit is evicted, or the window moves on.
TEST_P(Stream, AFileLargerThanVramGoesThrough) {
  const Kind kind = GetParam();
  const Place place(kind, 1 - (kind == Kind::kExplicit));
  Disk disk;
  ASSERT_TRUE(place.ready() && disk.fd() >= 0);
  const size_t vram = place.device().info().vram_total;
  const size_t file = vram + vram / 2, piece = kMiB;
  for (size_t at = 0; at < file; at += piece)
    disk.write_pattern(kAt + at, piece, 7000 + at / piece);
  // Memory for all of it; or a window of a quarter of VRAM, of an object.
  const Target target(place, kind == Kind::kExplicit ? vram / 4 : file);
  ASSERT_NE(target.data(), nullptr);
  for (size_t at = 0; at < file; at += piece) {
    uint8_t* window = target.data() + at % target.size();
    if (target.object() == nullptr) {
      ASSERT_EQ(place.device().to_vram(window, piece).moved, piece / kPage) << "at " << at;
    }
    ASSERT_EQ(pread(disk.fd(), window, piece, static_cast<off_t>(kAt + at)),
              static_cast<ssize_t>(piece))
        << strerror(errno);
    if (target.object() == nullptr) {
      place.device().to_vram(window, piece);
    } else {
      ASSERT_TRUE(target.in_vram());
      EXPECT_BYTES(window, piece, 7000 + at / piece);
    }
  }
  if (target.object() != nullptr) return;
  EXPECT_GT(place.device().stat(GODWIT_STAT_PAGES_EVICTED), 0u);
  for (size_t at = 0; at < file; at += piece)
    EXPECT_BYTES(target.data() + at, piece, 7000 + at / piece);
}

INSTANTIATE_TEST_SUITE_P(Kinds, Stream,
                         ::testing::Values(Kind::kPrivate, Kind::kCoherent, Kind::kExplicit),
                         ::testing::PrintToStringParamName());

// One request of the block layer is of pages of one kind. Where a buffer goes from RAM to coherent
// VRAM in the middle, an asynchronous transfer ends there, short, as any transfer may; read() goes
// on by itself, through the page cache.
TEST(StorageMixed, ABufferThatIsInBothPlacesMayComeInPieces) {
  const Place place(Kind::kCoherent, 0);
  Disk disk;
  ASSERT_TRUE(place.ready() && disk.fd() >= 0);
  const Target target(place, kBytes);
  constexpr size_t kHalf = kBytes / 2;
  for (const bool vram_first : {true, false}) {
    fill(target.data(), kBytes, 1);
    ASSERT_TRUE(target.to_ram());
    uint8_t* part = target.data() + (vram_first ? 0 : kHalf);
    ASSERT_EQ(place.device().to_vram(part, kHalf).moved, kHalf / kPage);
    disk.write_pattern(kAt, kBytes, 9000 + vram_first);
    Uring ring;
    const int first = ring.read(disk.fd(), target.data(), kBytes, kAt);
    ASSERT_TRUE(first == kHalf || first == kBytes) << first;
    if (first == kHalf) {
      EXPECT_EQ(memcmp(target.data(), disk.seen_by_host(kAt, kHalf).data(), kHalf), 0);
      ASSERT_EQ(ring.read(disk.fd(), target.data() + kHalf, kHalf, kAt + kHalf),
                static_cast<int>(kHalf));
    }
    EXPECT_BYTES(target.data(), kBytes, 9000 + vram_first);
    EXPECT_EQ(place.device().in_vram(target.data(), kBytes), kHalf / kPage);
    disk.write_pattern(kAt, kBytes, 9002 + vram_first);
    ASSERT_EQ(pread(disk.fd(), target.data(), kBytes, kAt), static_cast<ssize_t>(kBytes));
    EXPECT_BYTES(target.data(), kBytes, 9002 + vram_first);
    std::printf("%s: io_uring read %d of %zu bytes at once\n",
                vram_first ? "VRAM, RAM" : "RAM, VRAM", first, kBytes);
  }
}

// A completion has its task run the ring's work, which is no signal, although it ends waits like one: a call that has begun goes on.
TEST(StorageRing, ACompletionInterruptsNoMove) {
  const Place place(Kind::kCoherent, 0);
  ASSERT_TRUE(place.ready());
  const Target target(place, 4 * kMiB);
  fill(target.data(), target.size(), 3);
  const int event = eventfd(0, EFD_CLOEXEC);
  io_uring ring = {};
  ASSERT_EQ(io_uring_queue_init(4096, &ring, 0), 0);
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> told{0};
  std::thread teller([&] {
    for (; !stop; ++told) {
      eventfd_write(event, 1);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  unsigned completions = 0;
  for (unsigned round = 0; round < rounds(20); ++round) {
    io_uring_sqe* poll = io_uring_get_sqe(&ring);
    io_uring_prep_poll_multishot(poll, event, POLLIN);
    EXPECT_EQ(io_uring_submit(&ring), 1);
    place.device().to_vram(target.data(), target.size());
    place.device().to_ram(target.data(), target.size());
    eventfd_t value = 0;
    eventfd_read(event, &value);
    io_uring_cqe* seen[4096];
    const unsigned count = io_uring_peek_batch_cqe(&ring, seen, 4096);
    io_uring_cq_advance(&ring, count);
    completions += count;
  }
  stop = true;
  teller.join();
  EXPECT_GT(completions, rounds(20)) << "after " << told << " events";
  EXPECT_BYTES(target.data(), target.size(), 3u);
  io_uring_queue_exit(&ring);
  close(event);
}

// What is in flight when everything is asked to leave. The disk reads one half; the other is what the CPU wrote. Both are looked
// at once all of it has left, so that what an eviction drops or copies too early is seen.
TEST(StorageEvict, EvictionOfTheDeviceWaitsForTheDisk) {
  constexpr size_t kHalf = kMiB / 2;
  const Place place(Kind::kCoherent, 0);
  Disk disk;
  ASSERT_TRUE(place.ready() && disk.fd() >= 0);
  const Target target(place, kMiB);
  std::atomic<bool> done{false};
  std::atomic<uint64_t> evicted{0};
  std::thread evicter([&] {
    while (!done) evicted += place.device().evict(GODWIT_EVICT_DEVICE).evicted;
  });
  for (uint64_t turn = 0; turn < rounds(100 * kLength) &&
                          (turn < 3 * kLength || evicted < kLength * 1024) && !HasFailure();
       ++turn) {
    disk.write_pattern(kAt, kHalf, 8000 + turn);
    fill(target.data(), target.size(), 8500 + turn);
    place.device().to_vram(target.data(), target.size());
    EXPECT_EQ(pread(disk.fd(), target.data(), kHalf, kAt), static_cast<ssize_t>(kHalf))
        << strerror(errno);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (place.device().in_vram(target.data(), target.size()) != 0 &&
           std::chrono::steady_clock::now() < deadline) {
      std::this_thread::yield();
    }
    EXPECT_EQ(place.device().in_vram(target.data(), target.size()), 0u) << "turn " << turn;
    std::vector<uint8_t> wanted(target.size());
    fill(wanted.data(), wanted.size(), 8500 + turn);
    fill(wanted.data(), kHalf, 8000 + turn);
    EXPECT_TRUE(memcmp(target.data(), wanted.data(), kHalf) == 0)
        << "turn " << turn << ": what the disk sent was lost";
    EXPECT_TRUE(memcmp(target.data() + kHalf, wanted.data() + kHalf, kHalf) == 0)
        << "turn " << turn << ": what was beside it was lost";
  }
  done = true;
  evicter.join();
  EXPECT_GE(evicted, kLength * 1024);
}

}  // namespace
}  // namespace godwit::guest
