// SPDX-License-Identifier: MIT
#include "tests/kernel/peers/peer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "tests/kernel/peers/camera.h"
#include "tests/kernel/peers/uring.h"
#include "tests/kernel/peers/verbs.h"

namespace godwit::guest {
namespace {

// Where on the disk.
constexpr size_t kIn = size_t{16} << 20, kOut = size_t{32} << 20;

int outcome(ssize_t done, size_t wanted) {
  if (done < 0) return -errno;
  return static_cast<size_t>(done) == wanted ? 0 : -EIO;
}

// What the host has on the disk is what the target had.
int compare_disk(const Disk& disk, const std::vector<uint8_t>& bytes) {
  EXPECT_TRUE(disk.seen_by_host(kOut, bytes.size()) == bytes) << "the disk got other bytes";
  return 0;
}

class Nvme : public Peer {
 public:
  int into(const Target& target, uint64_t seed) override {
    disk_.write_pattern(kIn, target.size(), seed);
    return outcome(pread(disk_.fd(), target.data(), target.size(), kIn), target.size());
  }
  int out_of(const Target& target, const std::vector<uint8_t>& bytes) override {
    const int status =
        outcome(pwrite(disk_.fd(), target.data(), target.size(), kOut), target.size());
    return status != 0 ? status : compare_disk(disk_, bytes);
  }

 protected:
  Disk disk_;
};

// Through the page cache: the CPU copies.
class NvmeBuffered : public Nvme {
 public:
  NvmeBuffered() : file_(open("/dev/nvme0n1", O_RDWR | O_CLOEXEC)) {}
  ~NvmeBuffered() override { close(file_); }
  int into(const Target& target, uint64_t seed) override {
    disk_.write_pattern(kIn, target.size(), seed);
    posix_fadvise(file_, kIn, static_cast<off_t>(target.size()), POSIX_FADV_DONTNEED);
    return outcome(pread(file_, target.data(), target.size(), kIn), target.size());
  }
  int out_of(const Target& target, const std::vector<uint8_t>& bytes) override {
    int status = outcome(pwrite(file_, target.data(), target.size(), kOut), target.size());
    if (status == 0 && fsync(file_) != 0) status = -errno;
    return status != 0 ? status : compare_disk(disk_, bytes);
  }

 private:
  int file_;
};

// io_uring with the target as a fixed buffer, which is a long-term pin.
class UringFixed : public Nvme {
 public:
  int into(const Target& target, uint64_t seed) override {
    disk_.write_pattern(kIn, target.size(), seed);
    return with(target, [&](Uring& ring) {
      return ring.read(disk_.fd(), target.data(), target.size(), kIn, true);
    });
  }
  int out_of(const Target& target, const std::vector<uint8_t>& bytes) override {
    const int status = with(target, [&](Uring& ring) {
      return ring.write(disk_.fd(), target.data(), target.size(), kOut, true);
    });
    return status != 0 ? status : compare_disk(disk_, bytes);
  }

 private:
  static int with(const Target& target, const std::function<int(Uring&)>& use) {
    Uring ring;
    int status = ring.fix(target.data(), target.size());
    if (status != 0) return status;
    const int done = use(ring);
    EXPECT_EQ(ring.unfix(), 0);
    if (done < 0) return done;
    return static_cast<size_t>(done) == target.size() ? 0 : -EIO;
  }
};

class Rdma : public Peer {
 public:
  explicit Rdma(Region::How how) : how_(how) {}
  std::string missing() override { return make_nic(); }
  int into(const Target& target, uint64_t seed) override {
    Memory source(target.size());
    fill(source.data(), source.size(), seed);
    return with(target, source, [&](Connection& link, Region& near, Region& far) {
      return link.write(near, far, target.size());
    });
  }
  int out_of(const Target& target, const std::vector<uint8_t>& bytes) override {
    Memory sink(target.size());
    fill(sink.data(), sink.size(), 99);
    const int status = with(target, sink, [&](Connection& link, Region& near, Region& far) {
      return link.read(far, near, target.size());
    });
    if (status != 0) return status;
    EXPECT_EQ(memcmp(sink.data(), bytes.data(), bytes.size()), 0) << "the NIC read other bytes";
    return 0;
  }

 private:
  int with(const Target& target, const Memory& other,
           const std::function<int(Connection&, Region&, Region&)>& use) {
    Connection link;
    if (!link.ready()) return -ENODEV;
    Region near(link, other.data(), other.size(), Region::kPinned);
    Region far(link, target.data(), target.size(), how_);
    if (!near || !far) return -(near ? far.error() : near.error());
    return use(link, near, far) == 0 ? 0 : -EIO;
  }
  const Region::How how_;
};

class CameraPeer : public Peer {
 public:
  explicit CameraPeer(bool dma_buf) : dma_buf_(dma_buf) {}
  std::string missing() override { return camera_.missing(); }
  std::vector<uint8_t> expected(size_t, uint64_t seed) override {
    aim(seed);
    return camera_.frame();
  }
  int into(const Target& target, uint64_t seed) override {
    aim(seed);
    if (!dma_buf_) return camera_.capture(target.data(), target.size());
    const int fd = target.object()->dma_buf();
    if (fd < 0) return fd;
    const int status = camera_.capture_dma_buf(fd, target.size());
    close(fd);
    return status;
  }
  int out_of(const Target&, const std::vector<uint8_t>&) override { return -EOPNOTSUPP; }
  bool reads() const override { return false; }

 private:
  void aim(uint64_t seed) { camera_.aim_at(seed); }
  Camera camera_;
  const bool dma_buf_;
};

}  // namespace

const char* name_of(PeerKind peer) {
  switch (peer) {
    case PeerKind::kNvme:
      return "NvmeDirect";
    case PeerKind::kNvmeBuffered:
      return "NvmeBuffered";
    case PeerKind::kUringFixed:
      return "UringFixed";
    case PeerKind::kRdmaOnDemand:
      return "RdmaOnDemand";
    case PeerKind::kRdmaPinned:
      return "RdmaPinned";
    case PeerKind::kCameraPointer:
      return "CameraUserptr";
    case PeerKind::kCameraDmaBuf:
      return "CameraDmabuf";
  }
  return "?";
}

std::vector<uint8_t> Peer::expected(size_t bytes, uint64_t seed) {
  std::vector<uint8_t> wanted(bytes);
  fill(wanted.data(), bytes, seed);
  return wanted;
}

std::unique_ptr<Peer> Peer::make(PeerKind kind) {
  switch (kind) {
    case PeerKind::kNvme:
      return std::make_unique<Nvme>();
    case PeerKind::kNvmeBuffered:
      return std::make_unique<NvmeBuffered>();
    case PeerKind::kUringFixed:
      return std::make_unique<UringFixed>();
    case PeerKind::kRdmaOnDemand:
      return std::make_unique<Rdma>(Region::kOnDemand);
    case PeerKind::kRdmaPinned:
      return std::make_unique<Rdma>(Region::kPinned);
    case PeerKind::kCameraPointer:
      return std::make_unique<CameraPeer>(false);
    case PeerKind::kCameraDmaBuf:
      return std::make_unique<CameraPeer>(true);
  }
  return nullptr;
}

}  // namespace godwit::guest
