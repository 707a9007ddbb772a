// SPDX-License-Identifier: MIT
// RDMA between two buffers that migrate all the time, with an ordinary NIC: one without on-demand
// paging, which pins what is registered. A PeerMapping for each buffer registers it when a transfer
// needs it, and takes the registration back when its pages are to move.
//
// Both ends are in this process: two queue pairs that are connected to each other.
//
// usage: rdma NIC [ROUNDS]     (the engine by GODWIT_ENGINE; NIC as ibv_devices names it)
#include <infiniband/verbs.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>

#include "godwit/context.h"
#include "godwit/peer.h"

namespace {

constexpr std::size_t kBytes = std::size_t{1} << 20;
constexpr std::uint8_t kPort = 1;
constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;

[[noreturn]] void fail(const std::string& what) {
  (void)std::fprintf(stderr, "rdma: %s\n", what.c_str());
  std::exit(1);
}

// ---- the NIC: nothing here knows of Godwit
// -----------------------------------------------------------

class Nic {
 public:
  explicit Nic(const char* name) {
    int count = 0;
    ibv_device** devices = ibv_get_device_list(&count);
    for (int i = 0; i < count; ++i) {
      if (std::strcmp(ibv_get_device_name(devices[i]), name) == 0) {
        context_ = ibv_open_device(devices[i]);
      }
    }
    ibv_free_device_list(devices);
    if (context_ == nullptr) fail(std::string("no RDMA device ") + name);
    domain_ = ibv_alloc_pd(context_);
    done_ = ibv_create_cq(context_, 16, nullptr, nullptr, 0);
    for (ibv_qp*& end : ends_) {
      ibv_qp_init_attr wish{};
      wish.send_cq = wish.recv_cq = done_;
      wish.cap = {4, 4, 1, 1, 0};
      wish.qp_type = IBV_QPT_RC;
      end = ibv_create_qp(domain_, &wish);
      if (end == nullptr) fail(std::string("ibv_create_qp: ") + std::strerror(errno));
    }
    choose_address();
    connect(ends_[0], ends_[1]);
    connect(ends_[1], ends_[0]);
  }
  ~Nic() {
    for (ibv_qp* end : ends_) (void)ibv_destroy_qp(end);
    (void)ibv_destroy_cq(done_);
    (void)ibv_dealloc_pd(domain_);
    (void)ibv_close_device(context_);
  }
  Nic(const Nic&) = delete;
  Nic& operator=(const Nic&) = delete;

  [[nodiscard]] ibv_mr* register_pages(std::span<std::byte> pages) {
    return ibv_reg_mr(domain_, pages.data(), pages.size(), kAccess);
  }

  enum class How { kWrite, kRead, kSend };
  /// All bytes from one registration to the other; waits until they are there.
  void transfer(How how, const ibv_mr& from, const ibv_mr& to) {
    // A read is asked for by the end that gets the bytes.
    const ibv_mr& local = how == How::kRead ? to : from;
    const ibv_mr& remote = how == How::kRead ? from : to;
    int completions = 1;
    if (how == How::kSend) {
      ibv_sge place{reinterpret_cast<std::uintptr_t>(to.addr), kBytes, to.lkey};
      ibv_recv_wr receive{};
      ibv_recv_wr* bad = nullptr;
      receive.sg_list = &place;
      receive.num_sge = 1;
      if (const int error = ibv_post_recv(ends_[1], &receive, &bad); error != 0) {
        fail(std::string("ibv_post_recv: ") + std::strerror(error));
      }
      ++completions;
    }
    ibv_sge piece{reinterpret_cast<std::uintptr_t>(local.addr), kBytes, local.lkey};
    ibv_send_wr send{};
    ibv_send_wr* bad = nullptr;
    send.sg_list = &piece;
    send.num_sge = 1;
    send.send_flags = IBV_SEND_SIGNALED;
    send.opcode = how == How::kWrite  ? IBV_WR_RDMA_WRITE
                  : how == How::kRead ? IBV_WR_RDMA_READ
                                      : IBV_WR_SEND;
    send.wr.rdma.remote_addr = reinterpret_cast<std::uintptr_t>(remote.addr);
    send.wr.rdma.rkey = remote.rkey;
    if (const int error = ibv_post_send(ends_[0], &send, &bad); error != 0) {
      fail(std::string("ibv_post_send: ") + std::strerror(error));
    }
    while (completions != 0) {
      ibv_wc result{};
      const int got = ibv_poll_cq(done_, 1, &result);
      if (got < 0) fail("ibv_poll_cq");
      if (got == 0) continue;
      if (result.status != IBV_WC_SUCCESS) fail(ibv_wc_status_str(result.status));
      --completions;
    }
  }

 private:
  /// The first address that is IPv4.
  void choose_address() {
    for (int index = 0; index < 16; ++index) {
      ibv_gid gid{};
      if (ibv_query_gid(context_, kPort, index, &gid) != 0) break;
      if (gid.raw[10] != 0xff || gid.raw[11] != 0xff) continue;
      address_ = gid;
      index_ = static_cast<std::uint8_t>(index);
      return;
    }
    fail("the NIC has no IPv4 address");
  }
  void connect(ibv_qp* from, const ibv_qp* to) {
    ibv_qp_attr wish{};
    wish.qp_state = IBV_QPS_INIT;
    wish.port_num = kPort;
    wish.qp_access_flags = kAccess;
    int error = ibv_modify_qp(from, &wish,
                              IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
    wish = {};
    wish.qp_state = IBV_QPS_RTR;
    wish.path_mtu = IBV_MTU_4096;
    wish.dest_qp_num = to->qp_num;
    wish.max_dest_rd_atomic = 1;
    wish.min_rnr_timer = 12;
    wish.ah_attr.is_global = 1;
    wish.ah_attr.port_num = kPort;
    wish.ah_attr.grh.dgid = address_;
    wish.ah_attr.grh.sgid_index = index_;
    wish.ah_attr.grh.hop_limit = 1;
    if (error == 0) {
      error = ibv_modify_qp(from, &wish,
                            IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                                IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
    }
    wish = {};
    wish.qp_state = IBV_QPS_RTS;
    wish.timeout = 20;
    wish.retry_cnt = 7;
    wish.rnr_retry = 7;
    wish.max_rd_atomic = 1;
    if (error == 0) {
      error = ibv_modify_qp(from, &wish,
                            IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                                IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC);
    }
    if (error != 0) fail(std::string("ibv_modify_qp: ") + std::strerror(error));
  }

  ibv_context* context_ = nullptr;
  ibv_pd* domain_ = nullptr;
  ibv_cq* done_ = nullptr;
  ibv_qp* ends_[2] = {};
  ibv_gid address_{};
  std::uint8_t index_ = 0;
};

// ---- a buffer that may migrate
// -----------------------------------------------------------------------

class Buffer {
 public:
  Buffer(godwit::Context& context, Nic& nic) : nic_(nic) {
    auto region = context.allocate(kBytes);
    if (!region) fail(region.error().to_string());
    words_ = static_cast<std::uint32_t*>(*region);
    godwit::PeerOptions options;
    options.on_remap = [this](std::span<std::byte> pages, std::uint64_t) {
      registration_ = nic_.register_pages(pages);
      ++registrations_;
      return registration_ != nullptr;
    };
    options.on_invalidate = [this](std::span<std::byte>) {
      return ibv_dereg_mr(std::exchange(registration_, nullptr)) == 0;
    };
    auto mapping = context.map_peer(*region, kBytes, std::move(options));
    if (!mapping) fail(mapping.error().to_string());
    mapping_ = std::move(*mapping);
  }
  ~Buffer() {
    if (registration_ != nullptr) (void)ibv_dereg_mr(registration_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  /// For one transfer: the pages stay where they are, and the NIC knows them.
  const ibv_mr& begin() {
    if (auto begun = mapping_->begin(); !begun) fail(begun.error().to_string());
    return *registration_;
  }
  void end() { mapping_->end(); }
  [[nodiscard]] std::uint32_t* words() const { return words_; }
  [[nodiscard]] int registrations() const { return registrations_; }

 private:
  Nic& nic_;
  std::uint32_t* words_ = nullptr;
  std::unique_ptr<godwit::PeerMapping> mapping_;
  // Written by callbacks, read between begin() and end(): never at once.
  ibv_mr* registration_ = nullptr;
  std::atomic<int> registrations_{0};
};

std::uint32_t word(std::size_t index, std::uint32_t round) {
  return static_cast<std::uint32_t>(index * 2654435761U) ^ (round * 0x9e3779b9U);
}

std::size_t in_vram(godwit::Context& context, const Buffer& buffer) {
  std::array<godwit::Residency, kBytes / 4096> pages{};
  if (!context.residency(buffer.words(), kBytes, pages)) return 0;
  std::size_t count = 0;
  for (const godwit::Residency page : pages) {
    count += page == godwit::Residency::kDevice || page == godwit::Residency::kBoth ? 1 : 0;
  }
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) fail("usage: rdma NIC [ROUNDS]");
  const auto rounds = static_cast<std::uint32_t>(argc > 2 ? std::atoi(argv[2]) : 100);
  auto options = godwit::ContextOptions::from_environment();
  if (!options) fail(options.error().to_string());
  auto made = godwit::Context::create(*options);
  if (!made) fail(made.error().to_string());
  godwit::Context& context = **made;
  std::uint64_t wrong = 0;
  int registrations = 0;
  std::uint64_t moved = 0;
  {
    Nic nic(argv[1]);
    Buffer from(context, nic);
    Buffer to(context, nic);
    std::memset(from.words(), 0, kBytes);
    std::memset(to.words(), 0, kBytes);

    // A program with a GPU: somebody wants the buffers in VRAM, all the time.
    std::atomic<bool> over{false};
    std::thread gpu([&] {
      while (!over) {
        for (const Buffer* buffer : {&from, &to}) {
          auto report = context.prefetch(buffer->words(), kBytes, godwit::Place::kDevice);
          if (report) moved += report->moved;
        }
      }
    });
    const Nic::How ways[] = {Nic::How::kWrite, Nic::How::kRead, Nic::How::kSend};
    for (std::uint32_t round = 1; round <= rounds; ++round) {
      for (std::size_t i = 0; i < kBytes / 4; i += 1024) from.words()[i + 7] = word(i, round);
      const ibv_mr& source = from.begin();
      const ibv_mr& target = to.begin();
      nic.transfer(ways[round % 3], source, target);
      to.end();
      from.end();
      for (std::size_t i = 0; i < kBytes / 4; i += 1024) {
        wrong += to.words()[i + 7] == word(i, round) ? 0 : 1;
      }
    }
    over = true;
    gpu.join();
    // Once more at rest: both in VRAM, and a transfer between them.
    (void)context.prefetch(from.words(), kBytes, godwit::Place::kDevice);
    (void)context.prefetch(to.words(), kBytes, godwit::Place::kDevice);
    std::printf("in VRAM before   %zu and %zu of %zu pages\n", in_vram(context, from),
                in_vram(context, to), kBytes / 4096);
    const ibv_mr& source = from.begin();
    const ibv_mr& target = to.begin();
    nic.transfer(Nic::How::kWrite, source, target);
    to.end();
    from.end();
    wrong += std::memcmp(from.words(), to.words(), kBytes) == 0 ? 0 : 1;
    registrations = from.registrations() + to.registrations();
  }
  const godwit::Statistics& statistics = context.statistics();
  std::printf("%u transfers, %s\n", rounds + 1,
              wrong == 0 ? "every word right" : "WORDS ARE WRONG");
  std::printf("registered as often as the pages had moved: %s\n",
              static_cast<std::uint64_t>(registrations) == statistics.peer_remaps ? "yes" : "NO");
  (void)std::fprintf(stderr, "%d registrations, %llu pages moved to VRAM\n", registrations,
                     static_cast<unsigned long long>(moved));
  return wrong == 0 && registrations > 2 ? 0 : 1;
}
