// SPDX-License-Identifier: MIT
// Regions of memory with a copy of every byte, and random operations on them.
#pragma once

#include <sys/types.h>

#include <array>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/kernel/guest.h"

namespace godwit::guest {

class SoakModel {
 public:
  // devices: as Device takes them.
  SoakModel(uint64_t seed, const std::vector<int>& devices);
  ~SoakModel();
  SoakModel(const SoakModel&) = delete;
  SoakModel& operator=(const SoakModel&) = delete;

  // Does the next operation; returns its name.
  const char* step();
  // Compares every byte that may be read.
  void check_all();
  // What was wrong first, empty so far.
  const std::string& error() const { return error_; }
  std::string summary() const;

 private:
  enum Access : uint8_t { kHole, kNone, kRead, kWrite };
  static constexpr size_t kRegions = 5;
  static constexpr size_t kMaxPages = 1024;
  static constexpr size_t kViews = 3;

  struct Region {
    uint8_t* data = nullptr;  // where it is now
    uint8_t* room = nullptr;  // reserved around it, so that nothing else comes there
    std::vector<uint8_t> copy;
    std::vector<Access> access;
    size_t pages() const { return access.size(); }
  };
  struct Run {
    Region* region = nullptr;
    size_t first = 0, count = 0;
    uint8_t* at() const { return region->data + first * kPage; }
    uint8_t* copy() const { return region->copy.data() + first * kPage; }
    size_t bytes() const { return count * kPage; }
  };

  struct Pin {
    Run run;
    const Device* device;
    uint32_t handle;
  };

  uint64_t draw(uint64_t below) { return random_() % below; }
  Run any_run(size_t most);
  // The first pages of a run that allow at least this.
  Run allowed(Run run, Access least) const;
  void fail(const std::string& what) {
    if (error_.empty()) error_ = what;
  }
  void check(const Run& run, const char* when);
  void new_region(Region* region);
  void drop_region(Region* region);

  void store();
  void load();
  void migrate();
  void evict();
  void residency();
  void discard();
  void dontneed();
  void lazy_free();
  void advise_kernel();
  void protect();
  void unmap();
  void move();
  void fork_child();
  // soak_device.cc
  void execute();
  void advise();
  void pin();
  void unpin();
  void open_view();
  void close_view(size_t place);
  void use_view();
  uint8_t* view_at(size_t place) const { return views_room_ + place * kMaxPages * kPage; }
  bool pinned(const Run& run) const;
  void reap(bool wait);

  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Device>> devices_;
  std::array<Region, kRegions> regions_;
  std::vector<Pin> pins_;
  // What is seen in each place for a view; no view where the count is 0.
  std::array<Run, kViews> views_ = {};
  uint8_t* views_room_ = nullptr;
  std::map<std::string, uint64_t> counts_;
  std::string error_;
  pid_t child_ = 0;
};

}  // namespace godwit::guest
