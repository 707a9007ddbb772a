// SPDX-License-Identifier: MIT
#include "runtime/src/base/size.h"

#include <gtest/gtest.h>

namespace godwit {
namespace {

TEST(Size, IsReadAsPeopleWriteIt) {
  EXPECT_EQ(*parse_size("0"), 0U);
  EXPECT_EQ(*parse_size("65536"), 65536U);
  EXPECT_EQ(*parse_size("64K"), 65536U);
  EXPECT_EQ(*parse_size("64kib"), 65536U);
  EXPECT_EQ(*parse_size("2 MiB"), std::uint64_t{2} << 20);
  EXPECT_EQ(*parse_size("1.5G"), std::uint64_t{3} << 29);
  EXPECT_EQ(*parse_size("1T"), std::uint64_t{1} << 40);
  EXPECT_EQ(*parse_size("12b"), 12U);
}

TEST(Size, ThatIsNoneIsNamedWithAnExample) {
  for (const char* text : {"", "x", "-1", "1X", "1KK", "1e3Q", "nan", "inf", "99999999999999T",
                           "1.5.5G", "K"}) {
    auto size = parse_size(text);
    ASSERT_FALSE(size) << text;
    EXPECT_EQ(size.error().code, Code::kInvalidArgument);
    EXPECT_NE(size.error().message.find("\"" + std::string(text) + "\""), std::string::npos);
    EXPECT_NE(size.error().message.find("256MiB"), std::string::npos);
  }
}

}  // namespace
}  // namespace godwit
