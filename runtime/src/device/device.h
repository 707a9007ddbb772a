// SPDX-License-Identifier: MIT
// What a device is to the rest of the runtime: VRAM that is addressed by a linear offset, copies
// between it and host memory, and a few commands that compute on it.
//
// Rules that every device keeps:
//  - all functions may be called from any thread, at once;
//  - copies and waits never touch managed memory and take no lock that is held while managed
//    memory is touched: a fault handler calls them;
//  - an operation that fails leaves host memory as it was, and says why with a negative errno:
//    -ENODEV once the device is lost (and for every later call), -ENOMEM, -ETIMEDOUT, -EINVAL,
//    -EOPNOTSUPP for a command that this device cannot do.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "godwit/result.h"
#include "godwit/units.h"
#include "godwit/walk.h"

namespace godwit {

enum class Direction : std::uint8_t { kToDevice, kToHost };

/// One piece of a copy. `vram` is a byte offset into the device's memory. A piece may cross
/// frames: VRAM offsets are contiguous.
struct CopyOp {
  std::uint64_t vram = 0;
  std::byte* host = nullptr;
  std::size_t bytes = 0;
};

/// Names a submitted operation. Tickets of one device grow; 0 is always complete.
using Ticket = std::uint64_t;

/// Memory of an application as the device sees it: the VRAM offset of every 64 KiB chunk that the
/// span touches, in address order. Entries of chunks that a command will not touch (the gap between
/// two columns) may be kNoFrame. The table is owned by the caller until the command is complete.
struct DeviceSpan {
  static constexpr std::uint64_t kNoFrame = ~std::uint64_t{0};
  std::span<const std::uint64_t> chunks;
  std::uint64_t offset = 0;  // of the first byte within chunks[0]
  std::uint64_t bytes = 0;
};

/// Stores `value` in every 32-bit word of `target` (offset and bytes are multiples of 4).
struct FillCommand {
  DeviceSpan target;
  std::uint32_t value = 0;
};

/// Adds `value` to every 32-bit word of `target`, wrapping.
struct AddCommand {
  DeviceSpan target;
  std::uint32_t value = 0;
};

/// Sums all 32-bit words of `source` into *sum (modulo 2^64), written before the ticket completes.
struct SumCommand {
  DeviceSpan source;
  std::uint64_t* sum = nullptr;
};

enum class ScalarType : std::uint8_t { kFloat, kDouble, kComplexFloat, kComplexDouble };
enum class Transpose : std::uint8_t { kNone, kTrans, kConjTrans };

[[nodiscard]] constexpr std::size_t scalar_bytes(ScalarType type) {
  switch (type) {
    case ScalarType::kFloat: return 4;
    case ScalarType::kDouble: return 8;
    case ScalarType::kComplexFloat: return 8;
    case ScalarType::kComplexDouble: return 16;
  }
  return 0;
}

/// C := alpha * op(A) * op(B) + beta * C, column-major, as BLAS xGEMM: op(A) is m x k, op(B) k x n,
/// C m x n; leading dimensions in elements. When beta is 0, C is not read (it may hold NaN). The
/// first element of each matrix is the first byte of its span; elements are aligned to the size of
/// their real part. Computed in the type's own precision. alpha and beta: {re, im}.
struct GemmCommand {
  ScalarType type = ScalarType::kFloat;
  Transpose transa = Transpose::kNone;
  Transpose transb = Transpose::kNone;
  std::uint64_t m = 0, n = 0, k = 0;
  double alpha[2] = {1, 0};
  double beta[2] = {0, 0};
  DeviceSpan a;
  std::uint64_t lda = 0;
  DeviceSpan b;
  std::uint64_t ldb = 0;
  DeviceSpan c;
  std::uint64_t ldc = 0;
};

/// A place that pointers of the program lead to: the first byte of `span`, all of whose chunks have
/// frames, is at address `base` for the program. That is the translation of a pointer; on a device that
/// has the memory where the program has it, it leaves the pointer as it is.
struct WalkMemory {
  DeviceSpan span;
  std::uint64_t base = 0;  // as far from a multiple of 8 as span.offset is
};

/// The walk of a WalkRequest (godwit/walk.h, which says what each member means), in one thread of the
/// device or, of rows, in many. `memory` and what it refers to are the caller's until the ticket
/// completes.
struct WalkCommand {
  using Shape = WalkShape;
  static constexpr std::size_t kMostMemories = 8;
  static constexpr std::size_t kMostPending = 64;
  static constexpr std::uint32_t kMostNodes = 1U << 20;
  static constexpr std::uint32_t kMostRows = 1U << 16;
  static constexpr std::uint32_t kMostRowValues = 1U << 20;

  std::span<const WalkMemory> memory;  // 1 to kMostMemories
  Shape shape = Shape::kList;
  bool turn = false;
  std::uint64_t head = 0;  // a pointer of the program
  std::array<std::uint32_t, 2> links{};
  std::uint32_t value = 8;
  std::uint32_t stride = 24;
  std::uint32_t limit = 0;  // kMostNodes or kMostRows at most
  std::uint32_t add = 0;
  WalkResult* result = nullptr;  // written before the ticket completes
};

/// What every device refuses, whatever its memory: 0 or -EINVAL.
[[nodiscard]] int check_walk(const WalkCommand& command) noexcept;

using Command = std::variant<FillCommand, AddCommand, SumCommand, GemmCommand, WalkCommand>;

struct DeviceInfo {
  std::string kind;                // "soft" or "vulkan"
  std::string name;                // the device's own name for itself
  std::string driver;              // driver name and version, empty where there is none
  std::uint64_t vram_bytes = 0;    // what this Device may use: a multiple of kChunkBytes
  std::uint64_t vram_physical = 0; // what the hardware has
  bool float64 = true;             // can compute in double precision
  bool direct = false;             // direct() works: the CPU can address VRAM
  bool software = true;            // computes on the CPUs; false for a GPU
  std::string transfer_path;       // how copies are made, with the rates measured at start
  double to_device_rate = 0;       // bytes a second, measured at start with one 2 MiB copy at a time
  double to_host_rate = 0;
  double float_rate = 0;           // flop a second of a square single-precision GEMM, measured lazily; 0: not yet
  double double_rate = 0;
  std::vector<std::string> limits; // one line each, for `godwit info`
};

class Device {
 public:
  virtual ~Device() = default;
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  /// A copy of what is known now (rates are filled in as they are measured).
  [[nodiscard]] virtual DeviceInfo info() const = 0;

  /// The CPU's address of VRAM at `vram`, valid for the rest of its 64 KiB frame, or nullptr where
  /// the CPU cannot address VRAM, or reads it so slowly that a copy is better.
  [[nodiscard]] virtual const std::byte* direct(std::uint64_t vram) const noexcept = 0;

  /// Copies all pieces and returns when they are complete. Never throws.
  [[nodiscard]] virtual int copy(Direction direction, std::span<const CopyOp> ops) noexcept = 0;

  /// Starts copying. Host memory and `ops[i].host` must stay valid until the ticket is complete.
  /// Copies, commands and copies that follow are ordered only by waiting for their tickets.
  [[nodiscard]] virtual int copy_async(Direction direction, std::span<const CopyOp> ops,
                                       Ticket* ticket) noexcept = 0;

  /// Stores zero in `bytes` bytes of VRAM; complete on return.
  [[nodiscard]] virtual int clear(std::uint64_t vram, std::size_t bytes) noexcept = 0;

  /// Starts a command. Commands of one device run in the order of submission.
  [[nodiscard]] virtual int submit(const Command& command, Ticket* ticket) noexcept = 0;

  /// Waits until the ticket is complete: 0, or the error of that operation, or -ETIMEDOUT.
  [[nodiscard]] virtual int wait(Ticket ticket, std::chrono::nanoseconds timeout) noexcept = 0;

  /// Waits for a command before its table and its result go, which are the caller's. A device that
  /// needs longer is lost, and then: -ETIMEDOUT once it uses neither any more.
  [[nodiscard]] int finish(Ticket ticket, std::chrono::nanoseconds patience) noexcept;

  /// True once the ticket is complete, without waiting.
  [[nodiscard]] virtual bool done(Ticket ticket) noexcept = 0;

  /// Makes the device behave as lost from now on: for tests of what happens to the data.
  virtual void lose() noexcept = 0;
};

/// Memory that a device computes on in place of VRAM of its own: somebody else (the kernel module)
/// owns VRAM, and shows the device a range of addresses, in slots of one size. VRAM offsets are
/// offsets into that range. A slot may be used once memory is behind it, and keeps it from then on.
class DeviceWindow {
 public:
  virtual ~DeviceWindow() = default;
  /// What info() says of VRAM and of moving to and from it.
  struct Facts {
    std::uint64_t vram_bytes = 0;
    std::uint64_t vram_physical = 0;
    double to_device_rate = 0;  // bytes a second
    double to_host_rate = 0;
    std::string transfer_path;
  };
  [[nodiscard]] virtual Facts facts() const = 0;
  /// The CPU's address of offset 0.
  [[nodiscard]] virtual std::byte* base() const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t bytes() const noexcept = 0;
  [[nodiscard]] virtual std::uint64_t slot_bytes() const noexcept = 0;
  /// A new descriptor of the dma-buf behind a slot, the caller's; -ENOENT where nothing is, or
  /// another negative errno.
  [[nodiscard]] virtual int slot_fd(std::size_t slot) const noexcept = 0;
};

struct DeviceOptions {
  DeviceWindow* window = nullptr;  // computes on it; outlives the device. Null: VRAM of its own
  std::uint64_t vram_bytes = 0;  // 0: what the device suggests (half of what is free)
  unsigned threads = 0;          // soft: compute threads; 0: one for each CPU
  std::string select;            // vulkan: a part of the device's name or its index; empty: the best
  bool hardware_only = false;    // vulkan: pass over drivers that compute on the CPUs
  bool validation = false;       // vulkan: turn the validation layers on; any message is an error
  std::string transfer;          // vulkan: force "direct", "staging" or "import"; empty: the fastest
};

/// Never fails for lack of hardware. Errors: kInvalidArgument, kOutOfMemory.
[[nodiscard]] Result<std::unique_ptr<Device>> make_soft_device(const DeviceOptions& options);

/// Errors: kUnavailable with one reason for each physical device that was passed over (or for the
/// missing loader or driver), kInvalidArgument for an unknown `select`, kOutOfMemory.
[[nodiscard]] Result<std::unique_ptr<Device>> make_vulkan_device(const DeviceOptions& options);

}  // namespace godwit
