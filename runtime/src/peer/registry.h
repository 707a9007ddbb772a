// SPDX-License-Identifier: MIT
// Which ranges are lent to peers. Whoever moves pages asks here first (pause.h): the peers of the
// range finish what is in flight, are told, and begin nothing new until the pages have moved. A
// peer that does not let go in time keeps its pages.
//
// Lock: mutex_, a leaf. It is not held while a callback runs, while pages move, and while anybody
// waits.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/src/peer/entry.h"
#include "runtime/src/stats/telemetry.h"

namespace godwit::peer {

/// A move that has asked.
struct Ticket {
  Span range;
  Cause cause = Cause::kPrefetch;
  bool to_device = false;
  std::uint64_t serial = 0;  // of the youngest mapping that was asked; 0: none was
};

/// Thread-safe. Shared by the engine and the mappings, which may outlive it.
class Registry : public std::enable_shared_from_this<Registry> {
 public:
  /// Both outlive shut().
  Registry(Home& home, Telemetry& telemetry) : home_(&home), telemetry_(telemetry) {}
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  /// Errors: those of Home::admit, kInvalidArgument, kOutOfMemory.
  [[nodiscard]] Result<std::unique_ptr<PeerMapping>> map(Span range, PeerOptions options);
  /// The engine goes: peers are told, within their patience, and mappings are empty shells.
  void shut() noexcept;

  // For movers; through Pause.
  [[nodiscard]] bool empty() const noexcept { return entries_count_.load() == 0; }
  [[nodiscard]] std::uint64_t youngest() const noexcept { return last_serial_.load(); }
  /// Asks the peers of the range, and waits for them. Never on a thread that holds a lock which a
  /// fault or a begin() needs.
  void close(Ticket* ticket) noexcept;
  /// The pages have moved, or will not.
  void reopen(const Ticket& ticket) noexcept;
  /// The parts of the ticket's range that stay.
  template <typename Visit>
  void each_kept(const Ticket& ticket, Visit visit) {
    const std::lock_guard guard(mutex_);
    for (const auto& entry : entries_) {
      if (entry->serial > ticket.serial || !entry->keeps()) continue;
      if (entry->range.overlaps(ticket.range)) visit(entry->range.common(ticket.range));
    }
  }
  /// True while a mapping of the range, other than a standing one, is there.
  [[nodiscard]] bool lent(Span range) const noexcept;
  /// The memory was freed: mappings of it are over.
  void forget(Span range) noexcept;

  // For PeerMapping.
  [[nodiscard]] Result<std::uint64_t> begin(const std::shared_ptr<Entry>& entry,
                                            std::chrono::milliseconds patience);
  void end(Entry& entry) noexcept;
  void remove(const std::shared_ptr<Entry>& entry) noexcept;
  [[nodiscard]] std::uint64_t generation(const Entry& entry) const noexcept;

  // Around a fork, after all locks of the engine.
  void prepare_fork() noexcept { mutex_.lock(); }
  void after_fork_in_parent() noexcept { mutex_.unlock(); }
  void after_fork_in_child() noexcept;

 private:
  using Guard = std::unique_lock<std::mutex>;
  using Time = std::chrono::steady_clock::time_point;
  /// Keeps the engine where it is: shut() returns after the last visit that found it. For whoever
  /// calls it without mutex_, and is not called by it. Waits for nobody.
  class Visit {
   public:
    explicit Visit(const Registry& registry) noexcept;
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    const Registry& registry_;
  };
  /// The engine, where it is there and this is its process. With mutex_, in a Visit, or called by
  /// the engine.
  [[nodiscard]] Home* home() const noexcept;
  /// What home() would find at this moment.
  [[nodiscard]] bool at_home() const noexcept;
  [[nodiscard]] std::shared_ptr<Entry> next(const Ticket& ticket, std::uint64_t after) const;
  [[nodiscard]] bool settle(const std::shared_ptr<Entry>& entry, const Ticket& ticket,
                            Guard& guard) noexcept;
  [[nodiscard]] bool wait_for_end(Entry& entry, Time deadline, Guard& guard) noexcept;
  [[nodiscard]] bool tell(Entry& entry, const Ticket& ticket, Time deadline, Guard& guard) noexcept;
  [[nodiscard]] Result<> open(const std::shared_ptr<Entry>& entry, Time deadline, Guard& guard);
  void drop(Entry& entry) noexcept;
  void record(const Entry& entry, bool refused) noexcept;
  void expire(Entry& entry) noexcept;
  void abandon() noexcept;

  // The peer thread; notifier.cc.
  [[nodiscard]] Result<> start_thread();
  void stop_thread(Guard& guard) noexcept;
  void run() noexcept;
  void run_invalidate(const std::shared_ptr<Entry>& entry, Guard& guard) noexcept;
  [[nodiscard]] bool on_thread() const noexcept {
    return thread_started_ && ::pthread_equal(thread_, ::pthread_self()) != 0;
  }

  std::atomic<Home*> home_;  // changed under mutex_
  mutable std::atomic<std::size_t> visits_{0};
  Telemetry& telemetry_;
  std::atomic<std::size_t> entries_count_{0};
  std::atomic<std::uint64_t> last_serial_{0};
  mutable std::mutex mutex_;                     // protects what follows, and the entries
  std::condition_variable changed_;              // an entry's state
  std::condition_variable work_;                 // for the peer thread
  std::vector<std::shared_ptr<Entry>> entries_;  // by serial
  pthread_t thread_{};
  bool thread_started_ = false;
  bool thread_stops_ = false;
  bool thread_calls_ = false;  // a callback runs
};

}  // namespace godwit::peer
