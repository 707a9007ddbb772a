// SPDX-License-Identifier: MIT
#include "tests/kernel/peers/verbs.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

namespace godwit::guest {
namespace {

constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
constexpr uint8_t kPort = 1;

}  // namespace

std::string make_nic() {
  if (system("modprobe rdma_rxe 2>/dev/null && modprobe ib_uverbs") != 0)
    return "this kernel has no rxe";
  if (system("rdma link show | grep -q rxe0") == 0) return "";
  const std::string commands = std::string(
                                   "modprobe dummy && ip link add nic0 type dummy && ip link set "
                                   "nic0 mtu 9000 up && ip address add ") +
                               kNicAddress + "/24 dev nic0 && rdma link add " + kNic +
                               " type rxe netdev nic0";
  return system(commands.c_str()) == 0 ? "" : "no NIC can be made (ip, rdma: see above)";
}

Region::Region(const Connection& connection, void* data, size_t bytes, How how) {
  region_ = ibv_reg_mr(connection.domain(), data, bytes,
                       kAccess | (how == kOnDemand ? IBV_ACCESS_ON_DEMAND : 0));
  if (region_ == nullptr) error_ = errno;
}

Region::~Region() {
  if (region_ == nullptr) return;
  EXPECT_EQ(ibv_dereg_mr(region_), 0);
}

Connection::Connection() { ready_ = open() && connect(near_, far_) && connect(far_, near_); }

Connection::~Connection() {
  if (near_ != nullptr) ibv_destroy_qp(near_);
  if (far_ != nullptr) ibv_destroy_qp(far_);
  if (queue_ != nullptr) ibv_destroy_cq(queue_);
  if (domain_ != nullptr) ibv_dealloc_pd(domain_);
  if (context_ != nullptr) ibv_close_device(context_);
}

bool Connection::open() {
  int count = 0;
  ibv_device** devices = ibv_get_device_list(&count);
  for (int i = 0; i < count; ++i) {
    if (strcmp(ibv_get_device_name(devices[i]), kNic) == 0) context_ = ibv_open_device(devices[i]);
  }
  ibv_free_device_list(devices);
  if (context_ == nullptr) {
    ADD_FAILURE() << "no RDMA device " << kNic << " among " << count;
    return false;
  }
  ibv_gid wanted = {};
  wanted.raw[10] = wanted.raw[11] = 0xff;
  inet_pton(AF_INET, kNicAddress, wanted.raw + 12);
  // The kernel adds the address in a worker.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  for (int index = 0;; index = (index + 1) % 8) {
    if (ibv_query_gid(context_, kPort, index, &gid_) == 0 &&
        memcmp(&gid_, &wanted, sizeof(gid_)) == 0) {
      gid_index_ = static_cast<uint8_t>(index);
      break;
    }
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "no GID of " << kNicAddress;
      return false;
    }
  }
  domain_ = ibv_alloc_pd(context_);
  queue_ = ibv_create_cq(context_, 16, nullptr, nullptr, 0);
  ibv_qp_init_attr attributes = {};
  attributes.send_cq = attributes.recv_cq = queue_;
  attributes.cap = {4, 4, 1, 1, 0};
  attributes.qp_type = IBV_QPT_RC;
  near_ = ibv_create_qp(domain_, &attributes);
  far_ = ibv_create_qp(domain_, &attributes);
  EXPECT_TRUE(near_ != nullptr && far_ != nullptr) << strerror(errno);
  return near_ != nullptr && far_ != nullptr;
}

bool Connection::connect(ibv_qp* from, const ibv_qp* to) {
  ibv_qp_attr attributes = {};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = kPort;
  attributes.qp_access_flags = kAccess;
  int status = ibv_modify_qp(from, &attributes,
                             IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  attributes = {};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = IBV_MTU_4096;
  attributes.dest_qp_num = to->qp_num;
  attributes.max_dest_rd_atomic = 1;
  attributes.min_rnr_timer = 12;
  attributes.ah_attr.is_global = 1;
  attributes.ah_attr.port_num = kPort;
  attributes.ah_attr.grh.dgid = gid_;
  attributes.ah_attr.grh.sgid_index = gid_index_;
  attributes.ah_attr.grh.hop_limit = 1;
  if (status == 0) {
    status = ibv_modify_qp(from, &attributes,
                           IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                               IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  }
  attributes = {};
  attributes.qp_state = IBV_QPS_RTS;
  // An emulated machine is slow, and nothing gets lost here.
  attributes.timeout = 20;
  attributes.retry_cnt = 7;
  attributes.rnr_retry = 7;
  attributes.max_rd_atomic = 1;
  if (status == 0) {
    status = ibv_modify_qp(from, &attributes,
                           IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                               IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
  }
  EXPECT_EQ(status, 0) << "ibv_modify_qp: " << strerror(status);
  return status == 0;
}

int Connection::post(ibv_wr_opcode opcode, const Region& local, const Region& remote, size_t bytes,
                     size_t at) {
  ibv_sge piece = {reinterpret_cast<uintptr_t>(local.get()->addr) + at,
                   static_cast<uint32_t>(bytes), local.get()->lkey};
  ibv_send_wr work = {}, *bad = nullptr;
  work.sg_list = &piece;
  work.num_sge = 1;
  work.opcode = opcode;
  work.send_flags = IBV_SEND_SIGNALED;
  work.wr.rdma.remote_addr = reinterpret_cast<uintptr_t>(remote.get()->addr) + at;
  work.wr.rdma.rkey = remote.get()->rkey;
  const int status = ibv_post_send(near_, &work, &bad);
  EXPECT_EQ(status, 0) << "ibv_post_send: " << strerror(status);
  return status;
}

int Connection::complete(int count) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (count > 0) {
    ibv_wc done = {};
    const int got = ibv_poll_cq(queue_, 1, &done);
    if (got == 0 && std::chrono::steady_clock::now() < deadline) continue;
    if (got <= 0) {
      ADD_FAILURE() << "an RDMA operation does not end";
      return IBV_WC_GENERAL_ERR;
    }
    // What else was under way on this connection does not end any more.
    if (done.status != IBV_WC_SUCCESS) return done.status;
    --count;
  }
  return IBV_WC_SUCCESS;
}

int Connection::write(const Region& from, const Region& to, size_t bytes, size_t at) {
  return post(IBV_WR_RDMA_WRITE, from, to, bytes, at) == 0 ? complete(1) : IBV_WC_GENERAL_ERR;
}

int Connection::read(const Region& from, const Region& to, size_t bytes, size_t at) {
  return post(IBV_WR_RDMA_READ, to, from, bytes, at) == 0 ? complete(1) : IBV_WC_GENERAL_ERR;
}

int Connection::send(const Region& from, const Region& to, size_t bytes, size_t at) {
  ibv_sge piece = {reinterpret_cast<uintptr_t>(to.get()->addr) + at, static_cast<uint32_t>(bytes),
                   to.get()->lkey};
  ibv_recv_wr work = {}, *bad = nullptr;
  work.sg_list = &piece;
  work.num_sge = 1;
  EXPECT_EQ(ibv_post_recv(far_, &work, &bad), 0);
  return post(IBV_WR_SEND, from, to, bytes, at) == 0 ? complete(2) : IBV_WC_GENERAL_ERR;
}

}  // namespace godwit::guest
