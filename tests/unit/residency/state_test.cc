// SPDX-License-Identifier: MIT
// The residency state machine: every cell, and that docs/residency.md holds the same table.
#include "runtime/src/residency/state.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace godwit {
namespace {

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::stringstream stream(line.substr(1));
  std::string cell;
  while (std::getline(stream, cell, '|')) {
    const auto first = cell.find_first_not_of(" `");
    const auto last = cell.find_last_not_of(" `");
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return cells;
}

TEST(ResidencyTable, EveryCellIsWhatTheDocumentSays) {
  std::ifstream document("docs/residency.md");
  ASSERT_TRUE(document) << "docs/residency.md is not among the test's data";
  std::map<std::string, std::map<std::string, std::string>> documented;
  std::vector<std::string> header;
  std::string line;
  while (std::getline(document, line)) {
    if (!line.starts_with("|")) {
      header.clear();
      continue;
    }
    const std::vector<std::string> cells = cells_of(line);
    if (header.empty()) {
      header = cells;
      continue;
    }
    if (header[0] != "event" || cells[0].starts_with("---")) continue;
    for (std::size_t column = 1; column < header.size(); ++column) {
      documented[header[column]][cells[0]] = cells[column];
    }
  }
  ASSERT_EQ(documented.size(), kPageStateCount);
  for (std::size_t state = 0; state < kPageStateCount; ++state) {
    for (std::size_t event = 0; event < kPageEventCount; ++event) {
      const std::string from(page_state_name(static_cast<PageState>(state)));
      const std::string what(page_event_name(static_cast<PageEvent>(event)));
      const std::uint8_t next = kTransitions[state][event];
      const std::string wanted =
          next == kForbidden ? "" : std::string(page_state_name(static_cast<PageState>(next)));
      ASSERT_TRUE(documented[from].contains(what)) << from << " x " << what;
      EXPECT_EQ(documented[from][what], wanted) << from << " x " << what;
    }
  }
}

TEST(ResidencyTable, EveryStateCanBeReachedAndLeft) {
  std::set<PageState> seen = {PageState::kNative};
  for (bool grew = true; grew;) {
    grew = false;
    for (const PageState from : std::set<PageState>(seen)) {
      for (std::size_t event = 0; event < kPageEventCount; ++event) {
        const std::uint8_t next = next_state(from, static_cast<PageEvent>(event));
        if (next != kForbidden) grew |= seen.insert(static_cast<PageState>(next)).second;
      }
    }
  }
  EXPECT_EQ(seen.size(), kPageStateCount);
  for (std::size_t state = 0; state < kPageStateCount; ++state) {
    bool leaves = false;
    for (const std::uint8_t next : kTransitions[state]) {
      leaves |= next != kForbidden && next != state;
    }
    EXPECT_TRUE(leaves) << page_state_name(static_cast<PageState>(state));
  }
}

TEST(ResidencyTable, BytesAreForgottenOnlyByDiscardAndLoss) {
  // A state that holds bytes never leads to one that holds none, but for the two events that say so.
  const auto holds = [](PageState state) {
    return state != PageState::kNative && state != PageState::kEmpty && state != PageState::kLost;
  };
  for (std::size_t state = 0; state < kPageStateCount; ++state) {
    for (std::size_t event = 0; event < kPageEventCount; ++event) {
      const std::uint8_t next = kTransitions[state][event];
      if (next == kForbidden || !holds(static_cast<PageState>(state))) continue;
      const auto what = static_cast<PageEvent>(event);
      if (what == PageEvent::kDiscard || what == PageEvent::kLose) continue;
      if (what == PageEvent::kDisarm) continue;  // the page stays in RAM, the kernel's alone
      EXPECT_TRUE(holds(static_cast<PageState>(next)))
          << page_state_name(static_cast<PageState>(state)) << " x " << page_event_name(what);
    }
  }
}

TEST(ResidencyTable, APageInTwoPlacesIsNeverLostWithTheDevice) {
  EXPECT_EQ(next_state(PageState::kBoth, PageEvent::kLose), kForbidden);
  EXPECT_EQ(next_state(PageState::kHost, PageEvent::kLose), kForbidden);
}

}  // namespace
}  // namespace godwit
