// SPDX-License-Identifier: MIT
// A file that a report goes to: opened before the program starts, so that a wrong path is known at
// once, and written with every error kept until close().
#pragma once

#include <string>
#include <string_view>

#include "godwit/result.h"

namespace godwit::cli {

class OutputFile {
 public:
  /// Creates or empties the file. `what`: what it is to hold, for messages ("report", "trace").
  [[nodiscard]] static Result<OutputFile> open(std::string what, std::string path);
  /// Standard error; never closed.
  [[nodiscard]] static OutputFile standard_error(std::string what);
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;

  void write(std::string_view text);
  /// Writes what is left. The first error of any write or of the close.
  [[nodiscard]] Result<> close();

 private:
  OutputFile(std::string what, std::string path, int fd)
      : what_(std::move(what)), path_(std::move(path)), fd_(fd) {}
  void flush();

  std::string what_;
  std::string path_;
  int fd_;
  int error_ = 0;
  std::string buffer_;
};

}  // namespace godwit::cli
