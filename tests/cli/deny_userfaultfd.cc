// SPDX-License-Identifier: MIT
// deny_userfaultfd CMD ARGS...: runs CMD on a machine without userfaultfd, as a container's seccomp
// profile makes one: the system call and the ioctl of /dev/userfaultfd answer EPERM.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <iterator>

namespace {

constexpr std::uint32_t kNewDescriptor = 0xAA00;  // USERFAULTFD_IOC_NEW, not in Debian 12's headers

constexpr sock_filter statement(int code, std::uint32_t value) {
  return {static_cast<std::uint16_t>(code), 0, 0, value};
}
constexpr sock_filter jump_if_equal(std::uint32_t value, std::uint8_t yes, std::uint8_t no) {
  return {static_cast<std::uint16_t>(BPF_JMP | BPF_JEQ | BPF_K), yes, no, value};
}
constexpr sock_filter load(std::size_t offset) {
  return statement(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fputs("usage: deny_userfaultfd CMD ARGS...\n", stderr);
    return 125;
  }
  // A filter cannot read the path of an open; what is done with the device it can tell.
  sock_filter filter[] = {
      load(offsetof(seccomp_data, nr)),
      jump_if_equal(SYS_userfaultfd, 4, 0),
      jump_if_equal(SYS_ioctl, 0, 2),
      load(offsetof(seccomp_data, args[1])),
      jump_if_equal(kNewDescriptor, 1, 0),
      statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
  };
  const sock_fprog program = {.len = static_cast<unsigned short>(std::size(filter)),
                              .filter = filter};
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0) {
    std::perror("deny_userfaultfd: seccomp");
    return 125;
  }
  ::execvp(argv[1], argv + 1);
  std::perror("deny_userfaultfd: exec");
  return 127;
}
