// SPDX-License-Identifier: MIT
#include "runtime/src/peer/registry.h"

#include <algorithm>
#include <new>
#include <optional>
#include <utility>

#include "runtime/src/base/inside.h"

namespace godwit::peer {
namespace {

using std::chrono::steady_clock;

// A peer cannot make a move wait for longer than this, whatever patience it asks for.
constexpr std::chrono::seconds kMostPatience{60};
// The time that on_invalidate has at least: what it does is not in flight, it is to be done now.
constexpr std::chrono::seconds kCallPatience{1};

Error gone_error() {
  return {Code::kInvalidArgument, "begin: the memory of the mapping was freed", {}};
}

Error unavailable_error() {
  return {Code::kUnavailable,
          "begin: the context is gone, or belongs to the parent of this process",
          {}};
}

}  // namespace

// Raised first, looked at second; shut() takes the engine away first, and looks here second.
Registry::Visit::Visit(const Registry& registry) noexcept : registry_(registry) {
  ++registry_.visits_;
}

Registry::Visit::~Visit() {
  if (--registry_.visits_ == 0 && registry_.home_.load() == nullptr) registry_.visits_.notify_all();
}

bool Registry::at_home() const noexcept {
  const Visit visit(*this);
  return home() != nullptr;
}

Home* Registry::home() const noexcept {
  Home* home = home_.load();
  return home == nullptr || home->detached() ? nullptr : home;
}

Result<std::unique_ptr<PeerMapping>> Registry::map(Span range, PeerOptions options) {
  Home* engine = home();
  if (engine == nullptr) return tl::unexpected(unavailable_error());
  auto entry = std::make_shared<Entry>();
  entry->range = range;
  entry->options = std::move(options);
  std::unique_ptr<PeerMapping> mapping(new PeerMapping(shared_from_this(), entry));
  {
    const Guard guard(mutex_);
    if (entry->options.on_invalidate || entry->options.on_wanted) {
      if (auto started = start_thread(); !started) {
        entry->gone = true;
        return tl::unexpected(started.error());
      }
    }
    entries_.reserve(entries_.size() + 1);
    entry->serial = ++last_serial_;
    entries_.push_back(entry);
    ++entries_count_;
  }
  // Known to movers first, admitted second: whoever passes by what admit() marks asks here.
  auto place = engine->admit(range, entry->options.standing);
  const Guard guard(mutex_);
  if (!place) {
    entry->gone = true;
    return tl::unexpected(place.error());
  }
  entry->place = *place;
  entry->admitted = true;
  return mapping;
}

std::shared_ptr<Entry> Registry::next(const Ticket& ticket, std::uint64_t after) const {
  for (const auto& entry : entries_) {
    if (entry->serial <= after || entry->serial > ticket.serial || entry->gone) continue;
    if (entry->range.overlaps(ticket.range)) return entry;
  }
  return nullptr;
}

// ---- movers
// ----------------------------------------------------------------------------------------

void Registry::close(Ticket* ticket) noexcept {
  // A forked child has plain memory, and peers of its own if any.
  if (home() == nullptr) return;
  const InsideScope inside;
  Guard guard(mutex_);
  ticket->serial = last_serial_;
  for (const auto& entry : entries_) {
    if (entry->range.overlaps(ticket->range)) ++entry->closers;
  }
  // Entries come and go while it waits, so each is looked for anew.
  std::uint64_t seen = 0;
  while (const std::shared_ptr<Entry> entry = next(*ticket, seen)) {
    seen = entry->serial;
    if (settle(entry, *ticket, guard)) continue;
    entry->part = entry->range.common(ticket->range);
    entry->cause = ticket->cause;
    entry->to_device = ticket->to_device;
    entry->asked_ns = monotonic_ns();
    record(*entry, true);
  }
}

void Registry::reopen(const Ticket& ticket) noexcept {
  if (ticket.serial == 0) return;
  const Guard guard(mutex_);
  for (const auto& entry : entries_) {
    if (entry->serial > ticket.serial || !entry->range.overlaps(ticket.range)) continue;
    --entry->closers;
  }
  changed_.notify_all();
}

/// False: the peer keeps its pages.
bool Registry::settle(const std::shared_ptr<Entry>& entry, const Ticket& ticket,
                      Guard& guard) noexcept {
  const auto patience = std::clamp<std::chrono::milliseconds>(
      entry->options.patience, std::chrono::milliseconds(0), kMostPatience);
  if (!entry->options.standing) {
    if (!wait_for_end(*entry, steady_clock::now() + patience, guard)) return false;
    if (entry->gone || !entry->mapped) return true;
  }
  if (entry->options.on_invalidate) {
    const Time deadline =
        steady_clock::now() + std::max<std::chrono::milliseconds>(patience, kCallPatience);
    return tell(*entry, ticket, deadline, guard);
  }
  entry->cause = ticket.cause;
  entry->to_device = ticket.to_device;
  entry->asked_ns = monotonic_ns();
  entry->part = entry->range;
  drop(*entry);
  return true;
}

/// Until nothing is in flight. True: so it is.
bool Registry::wait_for_end(Entry& entry, Time deadline, Guard& guard) noexcept {
  const auto idle = [&] { return entry.gone || (entry.held == 0 && !entry.opening); };
  if (idle()) return true;
  if (entry.options.on_wanted && !entry.wanted) {
    entry.wanted = true;
    work_.notify_all();
  }
  // What runs on the peer thread cannot wait for what may need the peer thread.
  if (entry.overdue || on_thread()) return false;
  if (changed_.wait_until(guard, deadline, idle)) return true;
  entry.overdue = true;
  return false;
}

/// Has on_invalidate called, and waits for its answer.
bool Registry::tell(Entry& entry, const Ticket& ticket, Time deadline, Guard& guard) noexcept {
  if (on_thread()) return false;
  const auto answered = [&] { return entry.gone || !entry.telling; };
  // Somebody else's question: its answer will do, unless each question is about a part of its own.
  while (!answered()) {
    if (entry.overdue || !changed_.wait_until(guard, deadline, answered)) {
      entry.overdue = true;
      return false;
    }
  }
  if (entry.gone || (!entry.mapped && !entry.options.standing)) return true;
  entry.part = entry.options.standing ? entry.range.common(ticket.range) : entry.range;
  entry.cause = ticket.cause;
  entry.to_device = ticket.to_device;
  entry.asked_ns = monotonic_ns();
  entry.telling = true;
  work_.notify_all();
  if (!changed_.wait_until(guard, deadline, answered)) {
    entry.overdue = true;
    return false;
  }
  return entry.gone || !entry.mapped;
}

/// The peer has let go.
void Registry::drop(Entry& entry) noexcept {
  ++entry.generation;
  if (!entry.options.standing) {
    entry.mapped = false;
    if (Home* engine = home(); engine != nullptr) engine->release(entry.grip);
  }
  record(entry, false);
}

void Registry::record(const Entry& entry, bool refused) noexcept {
  Statistics& statistics = telemetry_.statistics();
  ++(refused ? statistics.peer_refusals : statistics.peer_revocations);
  telemetry_.record(EventKind::kRevoke, entry.cause, entry.asked_ns, entry.part.first,
                    entry.part.end - entry.part.first, entry.to_device, refused ? 1 : 0);
}

bool Registry::lent(Span range) const noexcept {
  if (empty() || !at_home()) return false;
  const Guard guard(mutex_);
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) {
    return !entry->gone && !entry->options.standing && entry->range.overlaps(range);
  });
}

void Registry::forget(Span range) noexcept {
  if (empty() || home() == nullptr) return;
  const Guard guard(mutex_);
  for (const auto& entry : entries_) {
    if (entry->gone || entry->options.standing || !entry->range.overlaps(range)) continue;
    expire(*entry);
  }
  changed_.notify_all();
}

void Registry::expire(Entry& entry) noexcept {
  Home* engine = home();
  if (engine != nullptr) {
    if (entry.mapped) engine->release(entry.grip);
    if (entry.admitted) engine->dismiss(entry.range, entry.options.standing, entry.place);
  }
  ++entry.generation;
  entry.mapped = false;
  entry.gone = true;
}

void Registry::shut() noexcept {
  const InsideScope inside;
  if (home() == nullptr) {
    // The child of a fork that prepared nothing: whoever held the lock is not here.
    if (home_.exchange(nullptr) != nullptr) abandon();
    return;
  }
  const Ticket all{{0, ~std::uintptr_t{0}}, Cause::kUnplug, false, last_serial_.load()};
  Guard guard(mutex_);
  std::uint64_t seen = 0;
  while (const std::shared_ptr<Entry> entry = next(all, seen)) {
    seen = entry->serial;
    if (!settle(entry, all, guard)) {
      entry->cause = all.cause;
      entry->part = entry->range;
      record(*entry, true);
    }
    expire(*entry);
  }
  stop_thread(guard);
  home_.store(nullptr);
  changed_.notify_all();
  guard.unlock();
  for (std::size_t left = visits_.load(); left != 0; left = visits_.load()) visits_.wait(left);
}

void Registry::after_fork_in_child() noexcept {
  home_.store(nullptr);
  abandon();
  mutex_.unlock();
}

void Registry::abandon() noexcept {
  thread_started_ = false;
  // Threads that waited are the parent's: their entries in these queues mean nothing here.
  new (&changed_) std::condition_variable;
  new (&work_) std::condition_variable;
  for (const auto& entry : entries_) entry->telling = entry->wanted = false;
}

// ---- mappings
// --------------------------------------------------------------------------------------

std::uint64_t Registry::generation(const Entry& entry) const noexcept {
  const Visit visit(*this);
  const Home* engine = home();
  if (engine == nullptr) return ~std::uint64_t{0};
  return entry.generation.load() + engine->count(entry.place);
}

Result<std::uint64_t> Registry::begin(const std::shared_ptr<Entry>& entry,
                                      std::chrono::milliseconds patience) {
  if (entry->options.standing) {
    return fail(Code::kUnsupported,
                "begin: a standing mapping is told of moves, and holds nothing");
  }
  if (!at_home()) return tl::unexpected(unavailable_error());
  const Time deadline =
      steady_clock::now() + std::min<std::chrono::milliseconds>(patience, kMostPatience);
  Guard guard(mutex_);
  if ((entry->opening && ::pthread_equal(entry->opener, ::pthread_self()) != 0) ||
      (entry->telling && on_thread())) {
    return fail(Code::kBusy, "begin: called by a callback of the same mapping");
  }
  const auto settled = [&] {
    return entry->gone || (entry->closers == 0 && !entry->telling && !entry->opening);
  };
  if (!changed_.wait_until(guard, deadline, settled)) {
    return fail(Code::kRetry, "begin: a move of the pages was not over within " +
                                  std::to_string(patience.count()) + " ms");
  }
  Home* engine = home();
  if (engine == nullptr) return tl::unexpected(unavailable_error());
  if (entry->gone) return tl::unexpected(gone_error());
  // While a transfer goes on the grip holds, whatever else has happened to the range.
  if (!entry->mapped || (entry->held == 0 && !engine->intact(entry->grip, entry->place))) {
    entry->opening = true;
    entry->opener = ::pthread_self();
    auto opened = open(entry, deadline, guard);
    entry->opening = false;
    entry->mapped = opened.has_value();
    changed_.notify_all();
    if (!opened) return tl::unexpected(opened.error());
    engine = home();
  }
  ++entry->held;
  return entry->generation.load() + engine->count(entry->place);
}

/// Brings the pages and has the peer register them. `guard` is held before and after; where it
/// succeeds, the engine is there.
Result<> Registry::open(const std::shared_ptr<Entry>& entry, Time deadline, Guard& guard) {
  if (entry->mapped) {
    // They went by other hands than the runtime's: the peer is told late, but before it uses them.
    if (entry->options.on_invalidate && !on_thread()) {
      const Ticket late{entry->range, Cause::kPeer, false, entry->serial};
      if (!tell(*entry, late, deadline, guard)) {
        return fail(Code::kBusy, "begin: the peer did not let go of pages that have moved");
      }
    } else {
      entry->part = entry->range;
      drop(*entry);
    }
  }
  Home* engine = home();
  if (engine == nullptr || entry->gone) return tl::unexpected(unavailable_error());
  const bool write = entry->options.access == PeerAccess::kReadWrite;
  std::optional<Visit> visit(std::in_place, *this);
  guard.unlock();
  auto grip = engine->grip(entry->range, write, entry->place);
  const std::uint64_t now = entry->generation.load() + engine->count(entry->place);
  visit.reset();  // a callback takes its time, and may call anything
  bool registered = grip.has_value();
  if (grip && entry->options.on_remap) {
    registered = entry->options.on_remap(
        {reinterpret_cast<std::byte*>(entry->range.first), entry->range.end - entry->range.first},
        now);
  }
  guard.lock();
  if (!grip) return tl::unexpected(grip.error());
  engine = home();
  const bool over = engine == nullptr || entry->gone;
  if (engine != nullptr && (over || !registered)) engine->release(*grip);
  if (over) return tl::unexpected(unavailable_error());
  if (!registered) return fail(Code::kBusy, "begin: the peer could not register the pages");
  entry->grip = *grip;
  ++telemetry_.statistics().peer_remaps;
  telemetry_.record(EventKind::kRemap, Cause::kPeer, monotonic_ns(), entry->range.first,
                    entry->range.end - entry->range.first, false);
  return {};
}

void Registry::end(Entry& entry) noexcept {
  if (!at_home()) return;
  const Guard guard(mutex_);
  if (entry.held == 0 || --entry.held != 0) return;
  entry.overdue = false;
  changed_.notify_all();  // a move waits, or shut()
}

void Registry::remove(const std::shared_ptr<Entry>& entry) noexcept {
  // In the child of a raw fork the lock may be held by a thread that is not there; after a proper
  // one home_ is null, and nobody else knows the entry.
  {
    const Visit visit(*this);
    const Home* known = home_.load();
    if (known != nullptr && known->detached()) return;
  }
  Guard guard(mutex_);
  if (!on_thread()) changed_.wait(guard, [&] { return !entry->telling && !entry->wanted; });
  if (!entry->gone) expire(*entry);
  const auto found = std::find(entries_.begin(), entries_.end(), entry);
  if (found != entries_.end()) {
    entries_.erase(found);
    --entries_count_;
  }
  changed_.notify_all();
}

}  // namespace godwit::peer
