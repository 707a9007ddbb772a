// SPDX-License-Identifier: MIT
// The residency state machine of one page, as data. docs/residency.md holds the same table; a test
// compares the two and walks every cell.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace godwit {

enum class PageState : std::uint8_t {
  kNative,    // the block is not armed: the kernel alone knows; in RAM, or never touched
  kEmpty,     // armed, no page and no copy anywhere: reads as zero
  kHost,      // the only copy is in RAM
  kBoth,      // RAM and VRAM hold the same bytes unless the CPU wrote since (the kernel tracks it)
  kDevice,    // the only copy is in VRAM; a CPU access faults
  kToDevice,  // taken out of the address space, on its way to VRAM; only under the block's lock
  kToHost,    // on its way to RAM; only under the block's lock
  kLost,      // the only copy was on a device that was lost; a CPU access gets SIGBUS
};
inline constexpr std::size_t kPageStateCount = 8;

enum class PageEvent : std::uint8_t {
  kArmPresent,      // the block is armed; the page is in RAM
  kArmAbsent,       // the block is armed; there is no page
  kDisarm,          // the block goes back to the kernel alone
  kPopulate,        // a first touch was served with zeros
  kDemoteBegin,     // the page was taken out of the address space
  kDemoteCommit,    // its bytes are in VRAM
  kDemoteAbort,     // it was put back
  kPromoteBegin,    // its bytes are being read from VRAM
  kPromoteCommit,   // the page is in RAM, VRAM forgets it
  kPromoteTracked,  // the page is in RAM with write tracking, VRAM keeps its copy
  kPromoteAbort,    // RAM could not take it, VRAM still has it
  kDuplicate,       // copied to VRAM with write tracking, RAM keeps the page
  kDeviceFill,      // an empty page got its contents (zeros, a file's) in VRAM
  kCpuWrote,        // the kernel says that the CPU wrote since the copy was made
  kDropDevice,      // VRAM gave its clean copy up
  kDropHost,        // RAM gave its clean copy up
  kDiscard,         // the program gave the contents up
  kLose,            // the device is gone, and with it the bytes
};
inline constexpr std::size_t kPageEventCount = 18;

[[nodiscard]] std::string_view page_state_name(PageState state);
[[nodiscard]] std::string_view page_event_name(PageEvent event);

/// The cell of a transition that must not happen.
inline constexpr std::uint8_t kForbidden = 0xff;

using TransitionTable =
    std::array<std::array<std::uint8_t, kPageEventCount>, kPageStateCount>;

[[nodiscard]] constexpr TransitionTable make_transitions() {
  using S = PageState;
  using E = PageEvent;
  TransitionTable table{};
  for (auto& row : table) row.fill(kForbidden);
  const auto allow = [&table](S from, E event, S to) {
    table[static_cast<std::size_t>(from)][static_cast<std::size_t>(event)] =
        static_cast<std::uint8_t>(to);
  };
  allow(S::kNative, E::kArmPresent, S::kHost);
  allow(S::kNative, E::kArmAbsent, S::kEmpty);
  allow(S::kNative, E::kDiscard, S::kNative);

  allow(S::kEmpty, E::kDisarm, S::kNative);
  allow(S::kEmpty, E::kPopulate, S::kHost);
  allow(S::kEmpty, E::kDeviceFill, S::kDevice);
  allow(S::kEmpty, E::kDiscard, S::kEmpty);

  allow(S::kHost, E::kDisarm, S::kNative);
  allow(S::kHost, E::kDemoteBegin, S::kToDevice);
  allow(S::kHost, E::kDuplicate, S::kBoth);
  allow(S::kHost, E::kDiscard, S::kEmpty);

  allow(S::kBoth, E::kCpuWrote, S::kHost);
  allow(S::kBoth, E::kDropDevice, S::kHost);
  allow(S::kBoth, E::kDropHost, S::kDevice);
  allow(S::kBoth, E::kDiscard, S::kEmpty);

  allow(S::kDevice, E::kPromoteBegin, S::kToHost);
  allow(S::kDevice, E::kDiscard, S::kEmpty);
  allow(S::kDevice, E::kLose, S::kLost);

  allow(S::kToDevice, E::kDemoteCommit, S::kDevice);
  allow(S::kToDevice, E::kDemoteAbort, S::kHost);
  allow(S::kToDevice, E::kLose, S::kLost);

  allow(S::kToHost, E::kPromoteCommit, S::kHost);
  allow(S::kToHost, E::kPromoteTracked, S::kBoth);
  allow(S::kToHost, E::kPromoteAbort, S::kDevice);
  allow(S::kToHost, E::kLose, S::kLost);

  allow(S::kLost, E::kDiscard, S::kEmpty);
  return table;
}

inline constexpr TransitionTable kTransitions = make_transitions();

[[nodiscard]] constexpr std::uint8_t next_state(PageState from, PageEvent event) {
  return kTransitions[static_cast<std::size_t>(from)][static_cast<std::size_t>(event)];
}

/// What the flags of a state mean: resident in RAM, holds a copy in VRAM. kNative says nothing.
[[nodiscard]] constexpr bool in_host(PageState state) {
  return state == PageState::kHost || state == PageState::kBoth;
}
[[nodiscard]] constexpr bool in_device(PageState state) {
  return state == PageState::kDevice || state == PageState::kBoth;
}

}  // namespace godwit
