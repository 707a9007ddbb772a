// SPDX-License-Identifier: MIT
#include "runtime/src/base/size.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <string>

namespace godwit {
namespace {

/// The power of 1024 that a unit stands for, or -1.
int power_of(std::string_view unit) {
  std::string lower;
  for (const char letter : unit) {
    if (letter != ' ') lower += static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  if (lower.empty() || lower == "b") return 0;
  constexpr std::string_view letters = "kmgt";
  const std::size_t power = letters.find(lower.front());
  const std::string_view rest = std::string_view(lower).substr(1);
  if (power == std::string_view::npos || !(rest.empty() || rest == "b" || rest == "ib")) return -1;
  return static_cast<int>(power) + 1;
}

}  // namespace

Result<std::uint64_t> parse_size(std::string_view text) {
  const auto wrong = [&] {
    return fail(Code::kInvalidArgument, "\"" + std::string(text) +
                                            "\" is not a size; write for example 65536, 64K, "
                                            "256MiB or 1.5G");
  };
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number,
                                            std::chars_format::fixed);
  if (error != std::errc{} || !std::isfinite(number) || number < 0) return wrong();
  const int power = power_of(text.substr(static_cast<std::size_t>(end - text.data())));
  if (power < 0) return wrong();
  const double bytes = std::ldexp(number, 10 * power);
  if (bytes >= std::ldexp(1.0, 63)) return wrong();
  return static_cast<std::uint64_t>(bytes);
}

}  // namespace godwit
