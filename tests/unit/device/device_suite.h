// SPDX-License-Identifier: MIT
// What every device must do. A target that tests a device includes this and instantiates DeviceTest
// with a DeviceFactory; see soft_device_test.cc.
#pragma once

#include <atomic>
#include <cstring>
#include <thread>

#include "tests/unit/device/device_fixture.h"
#include "tests/unit/device/device_gemm_suite.h"
#include "tests/unit/device/device_walk_suite.h"

namespace godwit {

TEST_P(DeviceTest, InfoDescribesTheDevice) {
  const DeviceInfo info = device_->info();
  EXPECT_FALSE(info.kind.empty());
  EXPECT_FALSE(info.name.empty());
  EXPECT_FALSE(info.transfer_path.empty());
  EXPECT_EQ(info.vram_bytes % kChunkBytes, 0U);
  EXPECT_GE(info.vram_physical, info.vram_bytes);
  EXPECT_GT(info.to_device_rate, 0);
  EXPECT_GT(info.to_host_rate, 0);
}

TEST_P(DeviceTest, CopyOfAnySizeAcrossFramesComesBack) {
  const std::size_t sizes[] = {0,
                               1,
                               7,
                               63,
                               65,
                               4095,
                               4096,
                               4097,
                               65535,
                               65536,
                               65537,
                               200003,
                               kBlockBytes - 1,
                               kBlockBytes,
                               kBlockBytes + 1,
                               5 * kBlockBytes + 12345};
  for (const std::size_t size : sizes) {
    for (const std::uint64_t vram : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{65533}}) {
      std::vector<std::byte> before(size + 128, std::byte{0x5a});
      ASSERT_EQ(put(vram + kChunkBytes - 64, before), 0);
      const std::vector<std::byte> bytes = random_bytes(size, static_cast<unsigned>(size));
      ASSERT_EQ(put(vram + kChunkBytes, bytes), 0);
      EXPECT_EQ(get(vram + kChunkBytes, size), bytes) << size << " at " << vram;
      // What lies beside it is untouched.
      std::copy(bytes.begin(), bytes.end(), before.begin() + 64);
      EXPECT_EQ(get(vram + kChunkBytes - 64, size + 128), before) << size << " at " << vram;
    }
  }
}

TEST_P(DeviceTest, CopyToUnalignedHostTouchesNothingElse) {
  const std::size_t size = 9 * kBlockBytes / 2 + 5;
  const std::vector<std::byte> bytes = random_bytes(size, 1);
  ASSERT_EQ(put(3, bytes), 0);
  std::vector<std::byte> host(size + 200, std::byte{0x77});
  const CopyOp op{3, host.data() + 101, size};
  ASSERT_EQ(device_->copy(Direction::kToHost, {&op, 1}), 0);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), host.begin() + 101));
  const auto untouched = [](std::byte byte) { return byte == std::byte{0x77}; };
  EXPECT_TRUE(std::all_of(host.begin(), host.begin() + 101, untouched));
  EXPECT_TRUE(
      std::all_of(host.begin() + 101 + static_cast<std::ptrdiff_t>(size), host.end(), untouched));
}

TEST_P(DeviceTest, CopyOfManyPiecesMovesEachToItsPlace) {
  const std::vector<std::uint64_t> table = take_frames(200);
  std::vector<std::byte> bytes = random_bytes(table.size() * kChunkBytes, 2);
  const std::vector<std::byte> expected = bytes;
  transfer(Direction::kToDevice, table, bytes);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  transfer(Direction::kToHost, table, bytes);
  EXPECT_EQ(bytes, expected);
}

TEST_P(DeviceTest, CopyOfNothingSucceeds) {
  EXPECT_EQ(device_->copy(Direction::kToDevice, {}), 0);
  EXPECT_EQ(device_->copy(Direction::kToHost, {}), 0);
}

TEST_P(DeviceTest, AsynchronousCopyIsCompleteAfterItsTicket) {
  std::vector<std::byte> bytes = random_bytes(3 * kBlockBytes + 77, 3);
  std::vector<std::byte> back(bytes.size());
  const CopyOp up{12345, bytes.data(), bytes.size()};
  Ticket ticket = 99;
  ASSERT_EQ(device_->copy_async(Direction::kToDevice, {&up, 1}, &ticket), 0);
  ASSERT_EQ(device_->wait(ticket, kLong), 0);
  EXPECT_TRUE(device_->done(ticket));
  const CopyOp down{12345, back.data(), back.size()};
  ASSERT_EQ(device_->copy_async(Direction::kToHost, {&down, 1}, &ticket), 0);
  ASSERT_EQ(device_->wait(ticket, kLong), 0);
  EXPECT_EQ(back, bytes);
}

TEST_P(DeviceTest, DirectShowsWhatWasCopied) {
  if (!device_->info().direct) GTEST_SKIP() << "no direct access";
  const std::vector<std::byte> bytes = random_bytes(kChunkBytes, 4);
  ASSERT_EQ(put(7 * kChunkBytes, bytes), 0);
  for (const std::size_t at : {std::size_t{0}, std::size_t{4096}, std::size_t{65535}}) {
    const std::byte* seen = device_->direct(7 * kChunkBytes + at);
    ASSERT_NE(seen, nullptr);
    EXPECT_EQ(std::memcmp(seen, bytes.data() + at, kChunkBytes - at), 0);
  }
}

TEST_P(DeviceTest, ClearStoresZerosThereOnly) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{4097},
                                 std::size_t{65536}, 2 * kBlockBytes + 3}) {
    std::vector<std::byte> bytes = random_bytes(size + 256, 5);
    ASSERT_EQ(put(1000, bytes), 0);
    ASSERT_EQ(device_->clear(1000 + 99, size), 0);
    std::fill_n(bytes.begin() + 99, size, std::byte{0});
    EXPECT_EQ(get(1000, bytes.size()), bytes) << size;
  }
}

TEST_P(DeviceTest, FillStoresTheWordInScatteredFramesOnly) {
  const std::vector<std::uint64_t> table = take_frames(37);
  std::vector<std::byte> bytes = random_bytes(table.size() * kChunkBytes, 6);
  transfer(Direction::kToDevice, table, bytes);
  const std::uint64_t offset = 65532;
  const std::uint64_t size = 35 * kChunkBytes + 8;
  const std::uint32_t value = 0xdeadbeef;
  ASSERT_EQ(run(FillCommand{{table, offset, size}, value}), 0);
  for (std::size_t at = offset; at < offset + size; at += 4) {
    std::memcpy(bytes.data() + at, &value, sizeof value);
  }
  std::vector<std::byte> back(bytes.size());
  transfer(Direction::kToHost, table, back);
  EXPECT_EQ(back, bytes);
}

TEST_P(DeviceTest, AddWrapsInScatteredFramesOnly) {
  const std::vector<std::uint64_t> table = take_frames(20);
  std::vector<std::byte> bytes = random_bytes(table.size() * kChunkBytes, 7);
  transfer(Direction::kToDevice, table, bytes);
  const std::uint64_t offset = 12;
  const std::uint64_t size = 19 * kChunkBytes + 40;
  const std::uint32_t value = 0xc0000001;
  ASSERT_EQ(run(AddCommand{{table, offset, size}, value}), 0);
  for (std::size_t at = offset; at < offset + size; at += 4) {
    std::uint32_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof word);
    word += value;
    std::memcpy(bytes.data() + at, &word, sizeof word);
  }
  std::vector<std::byte> back(bytes.size());
  transfer(Direction::kToHost, table, back);
  EXPECT_EQ(back, bytes);
}

TEST_P(DeviceTest, SumAddsWordsOfScatteredFrames) {
  const std::vector<std::uint64_t> table = take_frames(50);
  std::vector<std::byte> bytes = random_bytes(table.size() * kChunkBytes, 8);
  transfer(Direction::kToDevice, table, bytes);
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{4}, std::uint64_t{65540},
                                   std::uint64_t{49 * kChunkBytes}}) {
    const std::uint64_t offset = 65528;
    std::uint64_t expected = 0;
    for (std::size_t at = offset; at < offset + size; at += 4) {
      std::uint32_t word = 0;
      std::memcpy(&word, bytes.data() + at, sizeof word);
      expected += word;
    }
    std::uint64_t sum = 1;
    ASSERT_EQ(run(SumCommand{{table, offset, size}, &sum}), 0);
    EXPECT_EQ(sum, expected) << size;
  }
}

TEST_P(DeviceTest, CommandsRunInOrderOfSubmission) {
  const std::vector<std::uint64_t> table = take_frames(8);
  const DeviceSpan span{table, 0, 8 * kChunkBytes};
  const std::uint64_t words = span.bytes / 4;
  std::vector<std::uint64_t> sums(100);
  Ticket last = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    Ticket ticket = 0;
    const auto value = static_cast<std::uint32_t>(i);
    ASSERT_EQ(device_->submit(FillCommand{span, value}, &ticket), 0);
    EXPECT_GT(ticket, last);
    ASSERT_EQ(device_->submit(AddCommand{span, 3}, &ticket), 0);
    ASSERT_EQ(device_->submit(SumCommand{span, &sums[i]}, &ticket), 0);
    last = ticket;
  }
  ASSERT_EQ(device_->wait(last, kLong), 0);
  EXPECT_TRUE(device_->done(last));
  for (std::size_t i = 0; i < sums.size(); ++i) EXPECT_EQ(sums[i], words * (i + 3));
}

TEST_P(DeviceTest, ThreadsCopyWhileACommandRuns) {
  const BusyWork work(take_frames(BusyWork::frames(384)), 384);
  Ticket ticket = 0;
  for (int i = 0; i < 4; ++i) ASSERT_EQ(device_->submit(work.command(), &ticket), 0);
  const std::vector<std::uint64_t> frames = take_frames(std::size_t{4} * 40);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::vector<std::byte> bytes = random_bytes(40 * kChunkBytes, static_cast<unsigned>(t));
      std::vector<std::byte> back(bytes.size());
      std::vector<CopyOp> up;
      std::vector<CopyOp> down;
      for (std::size_t i = 0; i < 40; ++i) {
        up.push_back({frames[t * 40 + i], bytes.data() + i * kChunkBytes, kChunkBytes});
        down.push_back({frames[t * 40 + i], back.data() + i * kChunkBytes, kChunkBytes});
      }
      for (int round = 0; round < 20; ++round) {
        bytes[static_cast<std::size_t>(round) * 1000] ^= std::byte{1};
        if (device_->copy(Direction::kToDevice, up) != 0) ++wrong;
        if (device_->copy(Direction::kToHost, down) != 0) ++wrong;
        if (back != bytes) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(device_->wait(ticket, kLong), 0);
}

TEST_P(DeviceTest, ThreadsSubmitAtOnce) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t, table = take_frames(2)] {
      const DeviceSpan span{table, 4, kChunkBytes};
      for (std::uint32_t i = 0; i < 100; ++i) {
        std::uint64_t sum = 0;
        const auto value = static_cast<std::uint32_t>(t) * 1000 + i;
        if (run(FillCommand{span, value}) != 0 || run(SumCommand{span, &sum}) != 0) ++wrong;
        if (sum != std::uint64_t{value} * (kChunkBytes / 4)) ++wrong;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
}

TEST_P(DeviceTest, WaitTimesOutAndCanBeRepeated) {
  const std::uint64_t size = busy_size();
  const BusyWork work(take_frames(BusyWork::frames(size)), size);
  Ticket ticket = 0;
  for (int i = 0; i < 6; ++i) ASSERT_EQ(device_->submit(work.command(), &ticket), 0);
  EXPECT_EQ(device_->wait(ticket, std::chrono::nanoseconds(0)), -ETIMEDOUT);
  EXPECT_EQ(device_->wait(ticket, std::chrono::microseconds(10)), -ETIMEDOUT);
  EXPECT_EQ(device_->wait(ticket, std::chrono::nanoseconds::max()), 0);
  EXPECT_EQ(device_->wait(ticket, std::chrono::nanoseconds(0)), 0);
  EXPECT_TRUE(device_->done(ticket));
}

TEST_P(DeviceTest, TicketZeroIsComplete) {
  EXPECT_TRUE(device_->done(0));
  EXPECT_EQ(device_->wait(0, std::chrono::nanoseconds(0)), 0);
}

TEST_P(DeviceTest, LostDeviceRefusesEveryCall) {
  device_->lose();
  std::vector<std::byte> bytes(kChunkBytes, std::byte{0x33});
  const std::vector<std::byte> before = bytes;
  const CopyOp op{0, bytes.data(), bytes.size()};
  Ticket ticket = 0;
  EXPECT_EQ(device_->copy(Direction::kToHost, {&op, 1}), -ENODEV);
  EXPECT_EQ(device_->copy(Direction::kToDevice, {&op, 1}), -ENODEV);
  EXPECT_EQ(device_->copy_async(Direction::kToHost, {&op, 1}, &ticket), -ENODEV);
  EXPECT_EQ(device_->clear(0, 4096), -ENODEV);
  const std::vector<std::uint64_t> table = take_frames(1);
  EXPECT_EQ(device_->submit(FillCommand{{table, 0, 4}, 1}, &ticket), -ENODEV);
  EXPECT_EQ(bytes, before);
}

TEST_P(DeviceTest, LossReleasesWaiters) {
  const std::uint64_t size = busy_size();
  const BusyWork work(take_frames(BusyWork::frames(size)), size);
  std::vector<Ticket> tickets(8);
  for (Ticket& ticket : tickets) ASSERT_EQ(device_->submit(work.command(), &ticket), 0);
  std::vector<std::thread> threads;
  std::vector<int> results(3);
  std::atomic<std::size_t> waiting = 0;
  for (std::size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&, i] {
      ++waiting;
      results[i] = device_->wait(tickets[7 - i], kLong);
    });
  }
  while (waiting < results.size()) std::this_thread::yield();
  device_->lose();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(results, std::vector<int>(3, -ENODEV));
  EXPECT_EQ(device_->wait(tickets.back(), kLong), -ENODEV);
  EXPECT_TRUE(device_->done(tickets.back()));
}

TEST_P(DeviceTest, ACommandThatTakesTooLongRunsNoMoreWhenItsCallerGoesOn) {
  const std::uint64_t size = busy_size();
  Ticket ticket = 0;
  {
    const BusyWork work(take_frames(BusyWork::frames(size)), size);
    for (int i = 0; i < 6; ++i) ASSERT_EQ(device_->submit(work.command(), &ticket), 0);
    EXPECT_EQ(device_->finish(ticket, std::chrono::microseconds(10)), -ETIMEDOUT);
    EXPECT_TRUE(device_->done(ticket)) << "it still reads a table that is about to go";
  }
  EXPECT_EQ(device_->wait(ticket, kLong), -ENODEV) << "a device that does not answer is lost";
}

TEST_P(DeviceTest, VramOutOfRangeIsInvalid) {
  const std::uint64_t size = device_->info().vram_bytes;
  std::vector<std::byte> bytes(kChunkBytes, std::byte{0x44});
  const std::vector<std::byte> before = bytes;
  const auto copy = [&](std::uint64_t vram, std::size_t count) {
    const CopyOp ops[] = {{0, bytes.data(), 1}, {vram, bytes.data(), count}};
    return device_->copy(Direction::kToHost, ops);
  };
  ASSERT_EQ(device_->clear(0, 64), 0);
  EXPECT_EQ(copy(size, 1), -EINVAL);
  EXPECT_EQ(copy(size - 1, 2), -EINVAL);
  EXPECT_EQ(copy(~std::uint64_t{0}, 2), -EINVAL);
  EXPECT_EQ(bytes, before) << "a copy that fails leaves host memory as it was";
  EXPECT_EQ(device_->clear(size, 1), -EINVAL);
  EXPECT_EQ(device_->clear(~std::uint64_t{0}, 1), -EINVAL);
  const std::vector<std::uint64_t> beyond = {size};
  EXPECT_EQ(run(FillCommand{{beyond, 0, 4}, 1}), -EINVAL);
  const std::vector<std::uint64_t> none = {DeviceSpan::kNoFrame};
  EXPECT_EQ(run(FillCommand{{none, 0, 4}, 1}), -EINVAL);
}

TEST_P(DeviceTest, SpanBeyondItsTableIsInvalid) {
  const std::vector<std::uint64_t> table = take_frames(2);
  EXPECT_EQ(run(FillCommand{{table, 4, 2 * kChunkBytes}, 1}), -EINVAL);
  EXPECT_EQ(run(FillCommand{{table, kChunkBytes, 4}, 1}), -EINVAL);
  EXPECT_EQ(run(FillCommand{{table, 4, ~std::uint64_t{3}}, 1}), -EINVAL);
  EXPECT_EQ(run(FillCommand{{table, 0, 2 * kChunkBytes}, 1}), 0);
}

TEST_P(DeviceTest, WordsMustBeAligned) {
  const std::vector<std::uint64_t> table = take_frames(1);
  std::uint64_t sum = 0;
  EXPECT_EQ(run(FillCommand{{table, 2, 8}, 1}), -EINVAL);
  EXPECT_EQ(run(FillCommand{{table, 4, 6}, 1}), -EINVAL);
  EXPECT_EQ(run(AddCommand{{table, 1, 4}, 1}), -EINVAL);
  EXPECT_EQ(run(SumCommand{{table, 0, 5}, &sum}), -EINVAL);
  EXPECT_EQ(run(SumCommand{{table, 0, 4}, nullptr}), -EINVAL);
}

}  // namespace godwit
