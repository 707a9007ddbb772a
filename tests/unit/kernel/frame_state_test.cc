// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

extern "C" {
#include "kernel/state/frame_state.h"
}

namespace {

constexpr unsigned kStates = GODWIT_FRAME_STATES;
constexpr unsigned kEvents = GODWIT_FRAME_EVENTS;

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::stringstream stream(line.substr(1));
  for (std::string cell; std::getline(stream, cell, '|');) {
    const auto first = cell.find_first_not_of(' ');
    const auto last = cell.find_last_not_of(' ');
    cells.push_back(first == std::string::npos ? "" : cell.substr(first, last - first + 1));
  }
  return cells;
}

TEST(FrameState, EveryCellIsWhatTheDocumentSays) {
  std::ifstream document("docs/residency.md");
  ASSERT_TRUE(document) << "docs/residency.md is not among the test's data";
  std::map<std::string, std::map<std::string, std::string>> documented;  // state, event
  std::vector<std::string> header;
  for (std::string line; std::getline(document, line);) {
    if (!line.starts_with("|")) {
      header.clear();
      continue;
    }
    const std::vector<std::string> cells = cells_of(line);
    if (header.empty()) header = cells;
    if (header[0] != "kernel event" || cells == header || cells[0].starts_with("---")) continue;
    ASSERT_EQ(cells.size(), header.size()) << line;
    for (size_t column = 1; column < header.size(); ++column) {
      documented[header[column]][cells[0]] = cells[column];
    }
  }
  ASSERT_EQ(documented.size(), kStates);
  for (unsigned state = 0; state < kStates; ++state) {
    auto& events = documented[godwit_frame_state_name(state)];
    EXPECT_EQ(events.size(), kEvents) << godwit_frame_state_name(state);
    for (unsigned event = 0; event < kEvents; ++event) {
      const int next = godwit_frame_next(state, event);
      EXPECT_EQ(events[godwit_frame_event_name(event)],
                next == GODWIT_FRAME_NEVER ? "" : godwit_frame_state_name(static_cast<unsigned>(next)))
          << godwit_frame_state_name(state) << " x " << godwit_frame_event_name(event);
    }
  }
}

TEST(FrameState, EveryCellIsAStateOrNever) {
  for (unsigned state = 0; state < kStates; ++state) {
    for (unsigned event = 0; event < kEvents; ++event) {
      const int next = godwit_frame_next(state, event);
      EXPECT_TRUE(next == GODWIT_FRAME_NEVER || (next >= 0 && next < static_cast<int>(kStates)))
          << state << " " << event;
    }
  }
}

TEST(FrameState, WhatIsOutsideOfTheTableNeverHappens) {
  EXPECT_EQ(godwit_frame_next(kStates, GODWIT_FRAME_TAKE), GODWIT_FRAME_NEVER);
  EXPECT_EQ(godwit_frame_next(GODWIT_FRAME_FREE, kEvents), GODWIT_FRAME_NEVER);
}

// No process sees the bytes of another one: whoever shows a frame has filled it.
TEST(FrameState, OnlyAFilledFrameCanBeSeen) {
  const std::set<int> visible = {GODWIT_FRAME_LIVE, GODWIT_FRAME_LEAVING, GODWIT_FRAME_OBJECT};
  for (unsigned state = 0; state < kStates; ++state) {
    for (unsigned event = 0; event < kEvents; ++event) {
      const int next = godwit_frame_next(state, event);
      if (visible.count(next) == 0 || visible.count(static_cast<int>(state)) != 0) continue;
      EXPECT_EQ(state, static_cast<unsigned>(GODWIT_FRAME_FILLING))
          << godwit_frame_event_name(event) << " shows a frame that is "
          << godwit_frame_state_name(state);
    }
  }
}

TEST(FrameState, OnlyAFreeFrameCanBeTaken) {
  for (unsigned state = 0; state < kStates; ++state) {
    EXPECT_EQ(godwit_frame_next(state, GODWIT_FRAME_TAKE) != GODWIT_FRAME_NEVER,
              state == GODWIT_FRAME_FREE);
  }
}

TEST(FrameState, WhateverSomebodyHasCanBeReleasedOnce) {
  for (unsigned state = 0; state < kStates; ++state) {
    const bool nobody = state == GODWIT_FRAME_FREE || state == GODWIT_FRAME_RETIRED;
    EXPECT_EQ(godwit_frame_next(state, GODWIT_FRAME_RELEASE),
              nobody ? GODWIT_FRAME_NEVER : static_cast<int>(GODWIT_FRAME_FREE))
        << godwit_frame_state_name(state);
  }
}

TEST(FrameState, EveryStateCanBeReachedAndEveryOneButRetiredLeft) {
  std::set<int> reached = {GODWIT_FRAME_FREE};
  for (size_t before = 0; before != reached.size();) {
    before = reached.size();
    for (const int state : std::set<int>(reached)) {
      for (unsigned event = 0; event < kEvents; ++event) {
        const int next = godwit_frame_next(static_cast<unsigned>(state), event);
        if (next != GODWIT_FRAME_NEVER) reached.insert(next);
      }
    }
  }
  EXPECT_EQ(reached.size(), kStates);
  for (unsigned event = 0; event < kEvents; ++event) {
    EXPECT_EQ(godwit_frame_next(GODWIT_FRAME_RETIRED, event), GODWIT_FRAME_NEVER);
  }
}

TEST(FrameState, NamesAreAllDifferent) {
  std::set<std::string> names;
  for (unsigned state = 0; state < kStates; ++state) names.insert(godwit_frame_state_name(state));
  for (unsigned event = 0; event < kEvents; ++event) names.insert(godwit_frame_event_name(event));
  EXPECT_EQ(names.size(), kStates + kEvents);
  EXPECT_STREQ(godwit_frame_state_name(kStates), "?");
  EXPECT_STREQ(godwit_frame_event_name(kEvents), "?");
}

}  // namespace
