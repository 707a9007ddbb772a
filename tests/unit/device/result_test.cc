// SPDX-License-Identifier: MIT
#include "godwit/result.h"

#include <gtest/gtest.h>

#include <set>

namespace godwit {
namespace {

TEST(ResultTest, EveryCodeHasItsOwnName) {
  const Code codes[] = {Code::kInvalidArgument, Code::kUnsupported, Code::kUnavailable,
                        Code::kOutOfMemory,     Code::kRetry,       Code::kBusy,
                        Code::kDeviceLost,      Code::kIo};
  std::set<std::string_view> names;
  for (const Code code : codes) names.insert(code_name(code));
  EXPECT_EQ(names.size(), std::size(codes));
  EXPECT_EQ(names.count("unknown"), 0U);
  EXPECT_EQ(code_name(Code::kOutOfMemory), "out of memory");
}

TEST(ResultTest, TextIsMessageCodeAndReasons) {
  EXPECT_EQ((Error{Code::kBusy, "page 3 stays"}.to_string()), "page 3 stays (busy)");
  EXPECT_EQ((Error{Code::kUnavailable, "no device", {"a: no loader", "b: too old"}}.to_string()),
            "no device (unavailable); a: no loader; b: too old");
}

TEST(ResultTest, FailConvertsToAnyResult) {
  const auto number = []() -> Result<int> { return fail(Code::kRetry, "lost a race", {"x"}); };
  const auto nothing = []() -> Result<> { return fail(Code::kIo, "read"); };
  EXPECT_EQ(number().error().code, Code::kRetry);
  EXPECT_EQ(number().error().reasons, std::vector<std::string>{"x"});
  EXPECT_EQ(nothing().error().message, "read");
}

TEST(ResultTest, ErrnoBecomesCodeAndText) {
  const auto code = [](int error) { return Result<>(fail_errno(error, "call")).error().code; };
  EXPECT_EQ(code(EINVAL), Code::kInvalidArgument);
  EXPECT_EQ(code(EOPNOTSUPP), Code::kUnsupported);
  EXPECT_EQ(code(EPERM), Code::kUnavailable);
  EXPECT_EQ(code(ENOENT), Code::kUnavailable);
  EXPECT_EQ(code(ENOMEM), Code::kOutOfMemory);
  EXPECT_EQ(code(EAGAIN), Code::kRetry);
  EXPECT_EQ(code(EBUSY), Code::kBusy);
  EXPECT_EQ(code(ENODEV), Code::kDeviceLost);
  EXPECT_EQ(code(EIO), Code::kIo);
  EXPECT_EQ(Result<>(fail_errno(ENOMEM, "mmap")).error().message, "mmap: Cannot allocate memory");
}

}  // namespace
}  // namespace godwit
