// SPDX-License-Identifier: MIT
// The advice that was given on ranges of any memory. It says what the program wants, not where
// anything is; what the kernel can act on is told to it as well.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>

#include "godwit/memory.h"
#include "runtime/src/engine/kernel/operand_runs.h"

namespace godwit::kernel {

/// Thread-safe. A leaf.
class AdviceMap {
 public:
  /// True where the range had other advice, wholly or in part.
  bool set(PageRun run, Advice advice) {
    const std::lock_guard guard(mutex_);
    bool changed = advice != Advice::kNormal;
    split(run.addr);
    split(run.end());
    for (auto entry = ranges_.lower_bound(run.addr);
         entry != ranges_.end() && entry->first < run.end();) {
      changed = changed || entry->second.advice != advice;
      entry = ranges_.erase(entry);
    }
    if (advice != Advice::kNormal && run.bytes != 0) ranges_[run.addr] = {run.end(), advice};
    return changed;
  }
  /// True where any page of the range has this advice.
  [[nodiscard]] bool any(PageRun run, Advice advice) const {
    const std::lock_guard guard(mutex_);
    auto entry = ranges_.upper_bound(run.addr);
    if (entry != ranges_.begin() && std::prev(entry)->second.end > run.addr) --entry;
    for (; entry != ranges_.end() && entry->first < run.end(); ++entry) {
      if (entry->second.advice == advice) return true;
    }
    return false;
  }
  /// Held over a fork.
  [[nodiscard]] std::mutex& mutex() const { return mutex_; }

 private:
  struct Range {
    std::uintptr_t end;
    Advice advice;
  };
  void split(std::uintptr_t at) {
    auto entry = ranges_.lower_bound(at);
    if (entry == ranges_.begin()) return;
    --entry;
    if (entry->first >= at || entry->second.end <= at) return;
    ranges_[at] = entry->second;
    entry->second.end = at;
  }

  mutable std::mutex mutex_;
  std::map<std::uintptr_t, Range> ranges_;
};

}  // namespace godwit::kernel
