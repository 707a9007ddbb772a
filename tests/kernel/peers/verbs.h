// SPDX-License-Identifier: MIT
// RDMA over rxe, the kernel's software NIC, on a network device that leads nowhere: two queue pairs
// of this process that are connected to each other. One operation at a time.
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <string>

namespace godwit::guest {

// Makes the NIC, once a boot. Empty, or why there is none.
std::string make_nic();

inline constexpr const char* kNic = "rxe0";
inline constexpr const char* kNicAddress = "10.77.0.1";

class Connection;

// A memory region: a range that the NIC may read and write.
class Region {
 public:
  // On demand: the NIC follows the pages, nothing is pinned. Otherwise all of it is, for as long as
  // the region lives.
  enum How { kOnDemand, kPinned };

  Region(const Connection& connection, void* data, size_t bytes, How how);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  explicit operator bool() const { return region_ != nullptr; }
  // Why there is none: a positive errno.
  int error() const { return error_; }
  const ibv_mr* get() const { return region_; }

 private:
  ibv_mr* region_ = nullptr;
  int error_ = 0;
};

class Connection {
 public:
  // Fails the test where it cannot be made. The path's MTU is 4096: rxe ignores where in its page
  // the data of a packet begins when it pages on demand, so that packets, and buffers, have to
  // begin with a page.
  Connection();
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  bool ready() const { return ready_; }
  ibv_pd* domain() const { return domain_; }

  // Of `bytes` at offset `at` of both. An ibv_wc_status, 0 where it went well; otherwise the
  // connection is of no more use.
  int write(const Region& from, const Region& to, size_t bytes, size_t at = 0);
  int read(const Region& from, const Region& to, size_t bytes, size_t at = 0);
  int send(const Region& from, const Region& to, size_t bytes, size_t at = 0);

 private:
  bool open();
  bool connect(ibv_qp* from, const ibv_qp* to);
  int complete(int count);
  int post(ibv_wr_opcode opcode, const Region& local, const Region& remote, size_t bytes,
           size_t at);

  ibv_context* context_ = nullptr;
  ibv_pd* domain_ = nullptr;
  ibv_cq* queue_ = nullptr;
  ibv_qp* near_ = nullptr;
  ibv_qp* far_ = nullptr;
  ibv_gid gid_ = {};
  uint8_t gid_index_ = 0;
  bool ready_ = false;
};

}  // namespace godwit::guest
