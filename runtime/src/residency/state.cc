// SPDX-License-Identifier: MIT
#include "runtime/src/residency/state.h"

namespace godwit {

std::string_view page_state_name(PageState state) {
  constexpr std::array<std::string_view, kPageStateCount> names = {
      "native", "empty", "host", "both", "device", "to-device", "to-host", "lost"};
  return names[static_cast<std::size_t>(state)];
}

std::string_view page_event_name(PageEvent event) {
  constexpr std::array<std::string_view, kPageEventCount> names = {
      "arm-present",    "arm-absent",      "disarm",          "populate",     "demote-begin",
      "demote-commit",  "demote-abort",    "promote-begin",   "promote-commit", "promote-tracked",
      "promote-abort",  "duplicate",       "device-fill",     "cpu-wrote",    "drop-device",
      "drop-host",      "discard",         "lose"};
  return names[static_cast<std::size_t>(event)];
}

}  // namespace godwit
