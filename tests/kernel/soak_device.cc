// SPDX-License-Identifier: MIT
// What the device does in the soak: commands, views, and what keeps pages where they are.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/kernel/jobs.h"
#include "tests/kernel/soak_model.h"
#include "tests/kernel/views.h"

namespace godwit::guest {
namespace {

// Of each process, at a time.
constexpr size_t kMaxPins = 4;

}  // namespace

bool SoakModel::pinned(const Run& run) const {
  return std::any_of(pins_.begin(), pins_.end(), [&](const Pin& pin) {
    return pin.run.region == run.region && pin.run.first < run.first + run.count &&
           run.first < pin.run.first + pin.run.count;
  });
}

// One command on memory that may be written, with faults that move pages or do not.
void SoakModel::execute() {
  const Run run = allowed(any_run(128), kWrite);
  if (run.count == 0) return;
  const size_t words = run.bytes() / 8;
  const size_t from = draw(words), count = 1 + draw(words - from);
  auto* memory = reinterpret_cast<uint64_t*>(run.at()) + from;
  auto* copy = reinterpret_cast<uint64_t*>(run.copy()) + from;
  const uint32_t flags = draw(3) ? 0 : GODWIT_COMMAND_IN_PLACE;
  const uint64_t value = random_();
  std::vector<uint64_t> bytes(count);
  Commands commands;
  const auto kind = draw(5);
  // Lengths of what is carried along are limited.
  const size_t few = std::min<size_t>(count, 4096);
  if (kind == 0) commands = {op::fill(memory, count * 8, value, flags)};
  if (kind == 1) commands = {op::add(memory, count * 8, value, flags)};
  if (kind == 2) commands = {op::checksum(memory, count * 8, flags)};
  if (kind == 3) commands = {op::read(memory, bytes.data(), few * 8, flags)};
  if (kind == 4) {
    std::fill(bytes.begin(), bytes.end(), value);
    commands = {op::write(memory, bytes.data(), few * 8, flags)};
  }
  const Done done = guest::execute(*devices_[draw(devices_.size())], commands, 60000);
  if (done.error == -ENOMEM || done.error == -EAGAIN) return;
  if (done.error == 0 && done.status == -EBUSY) {
    // A page did not rest for a second; how far the command came is not compared.
    memcpy(copy, memory, count * 8);
    return;
  }
  if (!done.ok()) {
    return fail("execute: " + std::to_string(done.error) + ", status " + std::to_string(done.status));
  }
  if (kind == 0) std::fill_n(copy, count, value);
  if (kind == 1) std::for_each(copy, copy + count, [&](uint64_t& word) { word += value; });
  if (kind == 2 && done.results[0].value != fnv(copy, count * 8)) fail("execute: a checksum is wrong");
  if (kind == 3 && memcmp(bytes.data(), copy, few * 8) != 0) fail("execute: the device read other bytes");
  if (kind == 4) std::fill_n(copy, few, value);
}

// Changes no byte, whatever it is.
void SoakModel::advise() {
  const Run run = any_run(kMaxPages);
  drm_godwit_advise args = {};
  args.addr = address(run.at());
  args.length = run.bytes();
  constexpr uint32_t kAdvice[] = {GODWIT_ADVICE_PREFERRED, GODWIT_ADVICE_PINNED, GODWIT_ADVICE_IN_PLACE,
                                  GODWIT_ADVICE_UNSET, GODWIT_ADVICE_UNSET};
  args.advice = kAdvice[draw(5)];
  if (args.advice == GODWIT_ADVICE_PREFERRED) {
    args.value = draw(2) ? GODWIT_PLACE_VRAM : GODWIT_PLACE_SYSTEM;
  } else if (args.advice != GODWIT_ADVICE_UNSET) {
    args.value = static_cast<uint32_t>(draw(2));
  }
  const int result = devices_[draw(devices_.size())]->call(DRM_IOCTL_GODWIT_ADVISE, &args);
  if (result != 0 && result != -EDQUOT && result != -ENOMEM) fail("advise: " + std::to_string(result));
}

void SoakModel::pin() {
  const Run run = allowed(any_run(64), kWrite);
  if (run.count == 0 || pins_.size() == kMaxPins) return;
  const Device& device = *devices_[draw(devices_.size())];
  drm_godwit_pin args = {};
  args.addr = address(run.at());
  args.length = run.bytes();
  args.place = draw(2) ? GODWIT_PLACE_VRAM : GODWIT_PLACE_SYSTEM;
  const int result = device.call(DRM_IOCTL_GODWIT_PIN, &args);
  if (result == -EBUSY || result == -EDQUOT || result == -ENOMEM) return;
  if (result != 0) return fail("pin: " + std::to_string(result));
  pins_.push_back({run, &device, args.handle});
}

void SoakModel::unpin() {
  if (pins_.empty()) return;
  const auto at = pins_.begin() + static_cast<ptrdiff_t>(draw(pins_.size()));
  drm_godwit_unpin args = {};
  args.handle = at->handle;
  const int result = at->device->call(DRM_IOCTL_GODWIT_UNPIN, &args);
  if (result != 0) fail("unpin: " + std::to_string(result));
  pins_.erase(at);
}

void SoakModel::close_view(size_t place) {
  views_[place].count = 0;
  if (mmap(view_at(place), kMaxPages * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) ==
      MAP_FAILED) {
    fail("view: its room is lost");
  }
}

// Opens a view, in the place of another one if need be.
void SoakModel::open_view() {
  const size_t place = draw(kViews);
  close_view(place);
  const Run run = any_run(kMaxPages);
  const int fd = make_view(*devices_[draw(devices_.size())], run.at(), run.bytes());
  if (fd == -ENOMEM || fd == -ENOSPC) return;
  if (fd < 0) return fail("view: " + std::to_string(fd));
  if (mmap(view_at(place), run.bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    fail("view: it cannot be mapped");
  }
  close(fd);
  views_[place] = run;
}

// Looks through a view at what may be written now, and writes a part of it.
void SoakModel::use_view() {
  const size_t place = draw(kViews);
  const Run& view = views_[place];
  if (view.count == 0) return;
  const size_t skip = draw(view.count);
  const Run run = allowed({view.region, view.first + skip, std::min<size_t>(view.count - skip, 64)}, kWrite);
  if (run.bytes() == 0) return;
  uint8_t* seen = view_at(place) + (run.first - view.first) * kPage;
  if (memcmp(seen, run.copy(), run.bytes()) != 0) return fail("view: the device sees other bytes");
  const size_t from = draw(run.bytes()), bytes = 1 + draw(run.bytes() - from);
  memset(seen + from, static_cast<int>(draw(256)), bytes);
  memcpy(run.copy() + from, seen + from, bytes);
  if (memcmp(run.at() + from, run.copy() + from, bytes) != 0) fail("view: the CPU sees other bytes");
}

}  // namespace godwit::guest
