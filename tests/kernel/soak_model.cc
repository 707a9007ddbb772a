// SPDX-License-Identifier: MIT
#include "tests/kernel/soak_model.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace godwit::guest {
namespace {

int protection(int access) {
  return access == 3 ? PROT_READ | PROT_WRITE : access == 2 ? PROT_READ : PROT_NONE;
}

}  // namespace

SoakModel::SoakModel(uint64_t seed, const std::vector<int>& devices) : random_(seed) {
  for (const int index : devices) devices_.push_back(std::make_unique<Device>(index));
  for (Region& region : regions_) new_region(&region);
  // Not where holes are: what is put there ends what came there by itself.
  void* at = mmap(nullptr, kViews * kMaxPages * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) {
    fail("no room for views");
  } else {
    views_room_ = static_cast<uint8_t*>(at);
  }
}

SoakModel::~SoakModel() {
  reap(true);
  for (Region& region : regions_) drop_region(&region);
  if (views_room_ != nullptr) munmap(views_room_, kViews * kMaxPages * kPage);
}

void SoakModel::new_region(Region* region) {
  const size_t pages = 1 + draw(kMaxPages);
  const size_t room = 2 * kMaxPages * kPage + 2 * kHuge;
  void* at = mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return fail("no room for a region");
  region->room = static_cast<uint8_t*>(at);
  // Half of them where huge pages fit.
  const auto aligned = (reinterpret_cast<uintptr_t>(at) + kHuge - 1) & ~(kHuge - 1);
  region->data = reinterpret_cast<uint8_t*>(aligned) + (draw(2) ? 0 : draw(8) * kPage);
  if (mmap(region->data, pages * kPage, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
    return fail("no memory for a region");
  }
  if (draw(2)) madvise(region->data, pages * kPage, MADV_HUGEPAGE);
  region->copy.assign(pages * kPage, 0);
  region->access.assign(pages, kWrite);
}

void SoakModel::drop_region(Region* region) {
  if (region->room != nullptr) munmap(region->room, 2 * kMaxPages * kPage + 2 * kHuge);
  region->room = nullptr;
}

SoakModel::Run SoakModel::any_run(size_t most) {
  Region* region = &regions_[draw(kRegions)];
  const size_t first = draw(region->pages());
  return {region, first, std::min(region->pages() - first, 1 + draw(most))};
}

SoakModel::Run SoakModel::allowed(Run run, Access least) const {
  const auto begin = run.region->access.begin() + static_cast<ptrdiff_t>(run.first);
  const auto end = begin + static_cast<ptrdiff_t>(run.count);
  const auto from = std::find_if(begin, end, [&](Access a) { return a >= least; });
  const auto to = std::find_if(from, end, [&](Access a) { return a < least; });
  run.first += static_cast<size_t>(from - begin);
  run.count = static_cast<size_t>(to - from);
  return run;
}

void SoakModel::check(const Run& run, const char* when) {
  if (memcmp(run.at(), run.copy(), run.bytes()) == 0) return;
  for (size_t at = 0; at < run.bytes(); ++at) {
    if (run.at()[at] == run.copy()[at]) continue;
    return fail(std::string(when) + ": byte " + std::to_string(at % kPage) + " of page " +
                std::to_string(run.first + at / kPage) + " is " + std::to_string(run.at()[at]) +
                ", not " + std::to_string(run.copy()[at]));
  }
  fail(std::string(when) + ": a byte was wrong, and then was not");
}

void SoakModel::check_all() {
  for (Region& region : regions_) {
    for (size_t first = 0; first < region.pages() && error_.empty();) {
      const Run run = allowed({&region, first, region.pages() - first}, kRead);
      if (run.count == 0) break;
      check(run, "check");
      first = run.first + run.count;
    }
  }
}

std::string SoakModel::summary() const {
  std::string text;
  for (const auto& [name, count] : counts_) text += name + " " + std::to_string(count) + ", ";
  return text.substr(0, text.size() - 2);
}

void SoakModel::store() {
  const Run run = allowed(any_run(64), kWrite);
  if (run.count == 0) return;
  const size_t from = draw(run.bytes()), bytes = 1 + draw(run.bytes() - from);
  const uint64_t word = random_();
  for (size_t i = 0; i < bytes; ++i) {
    run.copy()[from + i] = static_cast<uint8_t>(word >> (i % 8 * 8)) ^ static_cast<uint8_t>(i >> 3);
  }
  memcpy(run.at() + from, run.copy() + from, bytes);
}

void SoakModel::load() {
  const Run run = allowed(any_run(64), kRead);
  if (run.count != 0) check(run, "load");
}

void SoakModel::migrate() {
  const Run run = any_run(kMaxPages);
  drm_godwit_migrate args = {};
  args.addr = reinterpret_cast<uintptr_t>(run.at());
  args.length = run.bytes();
  args.to = draw(3) ? GODWIT_PLACE_VRAM : GODWIT_PLACE_SYSTEM;
  args.flags = static_cast<uint32_t>(draw(4) ? 0 : draw(8));
  const int result = devices_[draw(devices_.size())]->call(DRM_IOCTL_GODWIT_MIGRATE, &args);
  if (result != 0 && result != -ENOMEM && result != -EBUSY) {
    return fail("migrate: " + std::to_string(result));
  }
  uint64_t pages = args.moved + args.already;
  for (const uint64_t stayed : args.stayed) pages += stayed;
  if (result == 0 && pages != run.count) fail("migrate: pages without an outcome");
}

void SoakModel::evict() {
  const Run run = any_run(kMaxPages);
  drm_godwit_evict args = {};
  args.what = draw(16) ? GODWIT_EVICT_RANGE : draw(2) ? GODWIT_EVICT_CLIENT : GODWIT_EVICT_DEVICE;
  if (args.what == GODWIT_EVICT_RANGE) {
    args.addr = reinterpret_cast<uintptr_t>(run.at());
    args.length = run.bytes();
  }
  const int result = devices_[draw(devices_.size())]->call(DRM_IOCTL_GODWIT_EVICT, &args);
  if (result != 0 && result != -ENOMEM && result != -EBUSY) {
    fail("evict: " + std::to_string(result));
  }
}

void SoakModel::residency() {
  const Run run = any_run(kMaxPages);
  std::vector<uint32_t> pages(run.count);
  drm_godwit_residency args = {};
  args.addr = reinterpret_cast<uintptr_t>(run.at());
  args.length = run.bytes();
  args.pages = reinterpret_cast<uintptr_t>(pages.data());
  args.pages_size = pages.size() * sizeof(uint32_t);
  const int result = devices_[draw(devices_.size())]->call(DRM_IOCTL_GODWIT_RESIDENCY, &args);
  if (result != 0 && result != -EBUSY) return fail("residency: " + std::to_string(result));
  if (args.in_system + args.in_vram + args.in_peer > run.count) fail("residency: too many pages");
  for (size_t i = 0; result == 0 && i < run.count; ++i) {
    const uint32_t place = pages[i] & GODWIT_PAGE_PLACE;
    if (run.region->access[run.first + i] == kHole && place != GODWIT_PLACE_NONE) {
      fail("residency: a hole is somewhere");
    }
  }
}

void SoakModel::discard() {
  const Run run = allowed(any_run(128), kNone);
  if (run.count == 0 || pinned(run)) return;
  drm_godwit_discard args = {};
  args.addr = reinterpret_cast<uintptr_t>(run.at());
  args.length = run.bytes();
  const int result = devices_[draw(devices_.size())]->call(DRM_IOCTL_GODWIT_DISCARD, &args);
  if (result != 0) return fail("discard: " + std::to_string(result));
  if (args.discarded != run.count) return fail("discard: pages were left");
  memset(run.copy(), 0, run.bytes());
}

void SoakModel::dontneed() {
  const Run run = allowed(any_run(128), kNone);
  if (run.count == 0) return;
  if (madvise(run.at(), run.bytes(), MADV_DONTNEED) != 0) return fail("madvise");
  memset(run.copy(), 0, run.bytes());
}

// Afterwards each page has its bytes or zeros; the store makes it one of them for good.
void SoakModel::lazy_free() {
  const Run run = allowed(any_run(32), kWrite);
  if (run.count == 0) return;
  if (madvise(run.at(), run.bytes(), MADV_FREE) != 0) return fail("madvise");
  for (size_t page = 0; page < run.count; ++page) {
    uint8_t* now = run.at() + page * kPage;
    uint8_t* copy = run.copy() + page * kPage;
    *const_cast<volatile uint8_t*>(now) = copy[0];
    if (memcmp(now, copy, kPage) == 0) continue;
    memset(copy + 1, 0, kPage - 1);
    if (memcmp(now, copy, kPage) != 0) return fail("a freed page has other bytes");
  }
}

void SoakModel::advise_kernel() {
  const int advice[] = {MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLD, MADV_PAGEOUT, 25 /* COLLAPSE */};
  const Run run = any_run(kMaxPages);
  // May fail for reasons of its own: whatever it does, no byte changes.
  madvise(run.at(), run.bytes(), advice[draw(5)]);
}

void SoakModel::protect() {
  const Run run = allowed(any_run(64), kNone);
  if (run.count == 0) return;
  const auto access = static_cast<Access>(draw(3) ? static_cast<uint64_t>(kWrite) : 1 + draw(2));
  if (mprotect(run.at(), run.bytes(), protection(access)) != 0) return;  // too many mappings
  std::fill_n(run.region->access.begin() + static_cast<ptrdiff_t>(run.first), run.count, access);
}

// Makes a hole, or memory of what was one.
void SoakModel::unmap() {
  const Run run = any_run(64);
  const bool hole = draw(3) == 0;
  const int wanted = hole ? PROT_NONE : PROT_READ | PROT_WRITE;
  if (hole ? munmap(run.at(), run.bytes()) != 0
           : mmap(run.at(), run.bytes(), wanted, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
                 MAP_FAILED) {
    return;
  }
  memset(run.copy(), 0, run.bytes());
  std::fill_n(run.region->access.begin() + static_cast<ptrdiff_t>(run.first), run.count,
              hole ? kHole : kWrite);
}

// A run of pages of one protection goes to where another region's are.
void SoakModel::move() {
  const Run from = allowed(any_run(600), kWrite);
  Run to = any_run(kMaxPages);
  if (from.count == 0 || to.region == from.region || to.count < from.count) return;
  to.count = from.count;
  const auto access = from.region->access.begin() + static_cast<ptrdiff_t>(from.first);
  if (mremap(from.at(), from.bytes(), from.bytes(), MREMAP_MAYMOVE | MREMAP_FIXED, to.at()) !=
      to.at()) {
    // Pages of several mappings do not move together; the target may be gone all the same.
    for (size_t i = 0; i < to.count; ++i) {
      if (mmap(to.at() + i * kPage, kPage, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
        return fail("mremap: no memory");
      }
    }
    memset(to.copy(), 0, to.bytes());
    // How much of the source has moved is not told: it begins again.
    if (mmap(from.at(), from.bytes(), PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
      return fail("mremap: no memory");
    }
    memset(from.copy(), 0, from.bytes());
    std::fill_n(to.region->access.begin() + static_cast<ptrdiff_t>(to.first), to.count, kWrite);
    return;
  }
  memcpy(to.copy(), from.copy(), from.bytes());
  memset(from.copy(), 0, from.bytes());
  std::fill_n(to.region->access.begin() + static_cast<ptrdiff_t>(to.first), to.count, kWrite);
  std::fill_n(access, from.count, kHole);
}

void SoakModel::reap(bool wait) {
  int status = 0;
  if (child_ <= 0) return;
  const pid_t ended = waitpid(child_, &status, wait ? 0 : WNOHANG);
  if (ended != child_) return;
  child_ = 0;
  if (!exited_well(status)) fail("a child: status " + std::to_string(status));
}

// The child has its own memory from now on, and goes on a little, while the parent goes on as well; it checks all of it.
void SoakModel::fork_child() {
  reap(false);
  if (child_ != 0) return;
  const uint64_t seed = random_();
  const pid_t child = fork();
  if (child > 0) child_ = child;
  if (child != 0) return;
  random_.seed(seed);
  child_ = -1;  // no children of its own
  pins_.clear();  // of the parent's addresses
  for (size_t place = 0; place < kViews; ++place) close_view(place);
  // Or it leaves it as it is, shared, for a while.
  if (draw(2)) check_all();
  for (int i = 0; i < 40 && error_.empty(); ++i) step();
  check_all();
  if (!error_.empty()) {
    std::printf("FAIL soak: in a child: %s\n", error_.c_str());
    fflush(nullptr);
  }
  _exit(error_.empty() ? 0 : 1);
}

const char* SoakModel::step() {
  struct Operation {
    const char* name;
    void (SoakModel::*run)();
    unsigned weight;
  };
  static constexpr Operation kOperations[] = {
      {"store", &SoakModel::store, 24},        {"load", &SoakModel::load, 24},
      {"migrate", &SoakModel::migrate, 24},    {"evict", &SoakModel::evict, 6},
      {"residency", &SoakModel::residency, 4}, {"discard", &SoakModel::discard, 3},
      {"dontneed", &SoakModel::dontneed, 3},   {"free", &SoakModel::lazy_free, 2},
      {"madvise", &SoakModel::advise_kernel, 4}, {"mprotect", &SoakModel::protect, 6},
      {"munmap", &SoakModel::unmap, 4},        {"mremap", &SoakModel::move, 4},
      {"fork", &SoakModel::fork_child, 1},     {"execute", &SoakModel::execute, 12},
      {"advise", &SoakModel::advise, 3},       {"pin", &SoakModel::pin, 1},
      {"unpin", &SoakModel::unpin, 1},         {"view", &SoakModel::open_view, 1},
      {"use", &SoakModel::use_view, 8},
  };
  unsigned total = 0;
  for (const Operation& operation : kOperations) total += operation.weight;
  auto pick = static_cast<unsigned>(draw(total));
  for (const Operation& operation : kOperations) {
    if (pick >= operation.weight) {
      pick -= operation.weight;
      continue;
    }
    ++counts_[operation.name];
    (this->*operation.run)();
    return operation.name;
  }
  return "nothing";
}

}  // namespace godwit::guest
