// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

extern "C" {
#include "kernel/state/outcome.h"
}
#include "godwit_drm.h"

namespace {

TEST(Outcome, EveryPageHasOneAndItIsAReasonMovedOrAlready) {
  for (unsigned seen = 0; seen < GODWIT_SEEN_COUNT; ++seen) {
    for (unsigned reached = 0; reached < GODWIT_REACHED_COUNT; ++reached) {
      for (const bool to_vram : {false, true}) {
        const unsigned outcome = godwit_outcome(seen, reached, to_vram);
        const bool reason = outcome > GODWIT_STAY_NONE && outcome < GODWIT_STAY_COUNT;
        EXPECT_TRUE(reason || outcome == GODWIT_OUTCOME_MOVED || outcome == GODWIT_OUTCOME_ALREADY)
            << seen << " " << reached << " " << to_vram;
        EXPECT_EQ(outcome == GODWIT_OUTCOME_MOVED, reached == GODWIT_REACHED_MOVED);
        if (outcome == GODWIT_OUTCOME_ALREADY) {
          EXPECT_EQ(reached, static_cast<unsigned>(GODWIT_REACHED_NOTHING));
        }
      }
    }
  }
}

TEST(Outcome, OnlyPagesOfThePlaceAreThereAlready) {
  for (unsigned seen = 0; seen < GODWIT_SEEN_COUNT; ++seen) {
    EXPECT_EQ(godwit_outcome(seen, GODWIT_REACHED_NOTHING, true) == GODWIT_OUTCOME_ALREADY,
              seen == GODWIT_SEEN_VRAM);
    EXPECT_EQ(godwit_outcome(seen, GODWIT_REACHED_NOTHING, false) == GODWIT_OUTCOME_ALREADY,
              seen == GODWIT_SEEN_ANON || seen == GODWIT_SEEN_FILE || seen == GODWIT_SEEN_ZERO);
  }
}

TEST(Outcome, PinnedPagesSaySoUnlessTheyMovedAfterAll) {
  for (const bool to_vram : {false, true}) {
    EXPECT_EQ(godwit_outcome(GODWIT_SEEN_HELD, GODWIT_REACHED_NOTHING, to_vram), GODWIT_STAY_ADVICE);
    EXPECT_EQ(godwit_outcome(GODWIT_SEEN_HELD, GODWIT_REACHED_MOVED, to_vram), GODWIT_OUTCOME_MOVED);
  }
}

TEST(Outcome, HowFarItCameSaysWhatWasMissing) {
  EXPECT_EQ(godwit_outcome(GODWIT_SEEN_ANON, GODWIT_REACHED_SETUP, true), GODWIT_STAY_NO_VRAM);
  EXPECT_EQ(godwit_outcome(GODWIT_SEEN_VRAM, GODWIT_REACHED_SETUP, false), GODWIT_STAY_NO_RAM);
  EXPECT_EQ(godwit_outcome(GODWIT_SEEN_ANON, GODWIT_REACHED_ROOM, true), GODWIT_STAY_COPY);
  EXPECT_EQ(godwit_outcome(GODWIT_SEEN_ANON, GODWIT_REACHED_COPY, true), GODWIT_STAY_BUSY);
  EXPECT_EQ(godwit_outcome(99, GODWIT_REACHED_NOTHING, true), GODWIT_STAY_SPECIAL);
}

}  // namespace
