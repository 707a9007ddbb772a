// SPDX-License-Identifier: MIT
#include "runtime/src/region/file_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "runtime/src/base/descriptor.h"

namespace godwit {
namespace {

Error file_error(const std::string& path, const char* verb) {
  return {Code::kIo, std::string(verb) + " " + path + ": " + std::strerror(errno), {}};
}

}  // namespace

Result<std::unique_ptr<FileSource>> FileSource::open(const std::string& path,
                                                     const MapOptions& options) {
  const bool shared = options.sharing == Sharing::kShared;
  // What an open would wait for is no file, and is refused below. A file does not look at
  // O_NONBLOCK, unless another process is to give up a lease of it: an error then.
  const int flags = (shared ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  const int fd = out_of_the_way(::open(path.c_str(), flags));
  if (fd < 0) return tl::unexpected(file_error(path, "map: cannot open"));
  std::unique_ptr<FileSource> source(
      new FileSource(path, fd, options.offset, options.bytes, options.sharing));
  struct stat status {};
  if (::fstat(fd, &status) != 0) return tl::unexpected(file_error(path, "map: cannot look at"));
  if (!S_ISREG(status.st_mode)) {
    return fail(Code::kInvalidArgument, "map: " + path + " is not a regular file");
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (options.offset >= size) {
    return fail(Code::kInvalidArgument, "map: offset " + std::to_string(options.offset) + " in " +
                                            path + ", which has " + std::to_string(size) +
                                            " bytes");
  }
  const std::uint64_t rest = size - options.offset;
  if (options.bytes > rest) {
    return fail(Code::kInvalidArgument, "map: " + std::to_string(options.bytes) +
                                            " bytes from offset " + std::to_string(options.offset) +
                                            " of " + path + ", which has " + std::to_string(size) +
                                            "; make the file that long first");
  }
  if (options.bytes == 0) source->bytes_ = rest;
  return source;
}

FileSource::~FileSource() { ::close(fd_); }

int FileSource::read(std::size_t at, std::span<std::byte> to) const noexcept {
  const std::size_t wanted = at < bytes_ ? std::min(to.size(), bytes_ - at) : 0;
  std::size_t done = 0;
  while (done < wanted) {
    const ssize_t count = ::pread(fd_, to.data() + done, wanted - done,
                                  static_cast<off_t>(offset_ + at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -errno;
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  std::memset(to.data() + done, 0, to.size() - done);
  return 0;
}

int FileSource::write(std::size_t at, std::span<const std::byte> from) const noexcept {
  if (!shared()) return -EBADF;
  const std::size_t wanted = at < bytes_ ? std::min(from.size(), bytes_ - at) : 0;
  for (std::size_t done = 0; done < wanted;) {
    const ssize_t count = ::pwrite(fd_, from.data() + done, wanted - done,
                                   static_cast<off_t>(offset_ + at + done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return -errno;
    if (count == 0) return -EIO;
    done += static_cast<std::size_t>(count);
  }
  return 0;
}

int FileSource::flush() const noexcept {
  return !shared() || ::fdatasync(fd_) == 0 ? 0 : -errno;
}

}  // namespace godwit
