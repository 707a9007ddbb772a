// SPDX-License-Identifier: MIT
#include "tests/kernel/arguments.h"

#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

namespace godwit::guest {
namespace {

constexpr size_t kPages = 16;
constexpr uint64_t kSeed = 77;

// All that a refused call might have changed, seen through another descriptor.
class Witness {
 public:
  Witness() : memory_(kPages * kPage) {
    fill(memory_.data(), memory_.size(), kSeed);
    watcher_.to_vram(memory_.data(), memory_.size() / 2);
    scratch_.resize(size_t{64} << 10);
  }

  Playground playground() {
    return {memory_.data(), memory_.size(), scratch_.data(), scratch_.size()};
  }

  struct Snapshot {
    std::vector<uint32_t> pages;
    uint64_t vram_free = 0;
    uint64_t mirrors = 0;
    bool operator==(const Snapshot&) const = default;
  };

  Snapshot snapshot() const {
    Snapshot now;
    watcher_.residency(memory_.data(), memory_.size(), &now.pages);
    now.vram_free = watcher_.info().vram_free;
    now.mirrors = watcher_.stat(GODWIT_STAT_MIRRORS, true);
    return now;
  }

  // The pages go back to where they were.
  void restore() {
    watcher_.to_ram(memory_.data() + memory_.size() / 2, memory_.size() / 2);
    watcher_.to_vram(memory_.data(), memory_.size() / 2);
  }

  // Moves all pages to RAM.
  bool bytes_are_right() { return differs(memory_.data(), memory_.size(), kSeed) == -1; }

 private:
  Device watcher_;
  Memory memory_;
  std::vector<uint8_t> scratch_;
};

void apply(const BadValue& row, std::vector<uint8_t>& args) {
  const size_t size = row.size > 8 ? 8 : row.size;
  uint64_t value = 0;
  memcpy(&value, args.data() + row.offset, size);
  value = row.how == BadValue::kAdd ? value + row.value : row.value;
  memcpy(args.data() + row.offset, &value, size);
}

std::string describe(const BadValue& row) {
  return std::string(row.field) + (row.how == BadValue::kAdd ? " + " : " = ") +
         std::to_string(row.value);
}

std::vector<uint8_t> good_arguments(const BadCall& call, const Playground& playground) {
  std::vector<uint8_t> args(call.size);
  call.good(playground, args.data());
  return args;
}

}  // namespace

void expect_all_fields(const BadCall& call) {
  std::vector<bool> known(call.size);
  const auto mark = [&](size_t offset, size_t size) {
    ASSERT_LE(offset + size, call.size);
    std::fill_n(known.begin() + static_cast<ptrdiff_t>(offset), size, true);
  };
  for (const BadValue& row : call.bad) mark(row.offset, row.size);
  for (const OutputField& field : call.outputs) mark(field.offset, field.size);
  for (size_t at = 0; at < call.size; ++at) {
    EXPECT_TRUE(known[at]) << call.name << ": no row for the member at offset " << at;
  }
  EXPECT_EQ(call.size, _IOC_SIZE(call.request)) << call.name;
}

void expect_refusals(const BadCall& call) {
  Witness witness;
  for (const BadValue& row : call.bad) {
    Device device;
    if (call.before) call.before(device);
    std::vector<uint8_t> args = good_arguments(call, witness.playground());
    const std::vector<uint8_t> good = args;
    apply(row, args);
    ASSERT_NE(args, good) << describe(row) << " is what is accepted";
    const Witness::Snapshot before = witness.snapshot();
    EXPECT_EQ(device.call(call.request, args.data()), row.want) << describe(row);
    if (row.late) {
      witness.restore();
    } else {
      EXPECT_EQ(witness.snapshot(), before) << describe(row) << " changed something";
    }
  }
  EXPECT_TRUE(witness.bytes_are_right()) << call.name;

  // The same arguments without a wrong value: the rows above were refused for what is wrong in them.
  Device device;
  if (call.before) call.before(device);
  std::vector<uint8_t> args = good_arguments(call, witness.playground());
  EXPECT_EQ(device.call(call.request, args.data()), call.answer) << call.name;
}

void expect_other_sizes(const BadCall& call) {
  Witness witness;
  const auto request_of = [&](size_t size) {
    return static_cast<unsigned long>(
        _IOC(_IOC_READ | _IOC_WRITE, DRM_IOCTL_BASE, _IOC_NR(call.request), size));
  };
  std::vector<uint8_t> args = good_arguments(call, witness.playground());
  args.resize(call.size + 64);
  {
    Device device;
    if (call.before) call.before(device);
    EXPECT_EQ(device.call(request_of(args.size()), args.data()), call.answer)
        << call.name << ": longer, the rest zero";
  }
  for (const size_t at : {call.size, call.size + 63}) {
    std::vector<uint8_t> longer = good_arguments(call, witness.playground());
    longer.resize(call.size + 64);
    longer[at] = 1;
    Device device;
    if (call.before) call.before(device);
    const Witness::Snapshot before = witness.snapshot();
    EXPECT_EQ(device.call(request_of(longer.size()), longer.data()), -E2BIG)
        << call.name << ": longer, not zero at " << at;
    EXPECT_EQ(witness.snapshot(), before) << call.name;
  }
}

}  // namespace godwit::guest
