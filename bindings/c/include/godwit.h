/* SPDX-License-Identifier: MIT */
/*
 * The C interface of Godwit: memory that the CPU and a device use through one pointer.
 *
 * Every function may be called from any thread. Functions that can fail return 0 or a negative
 * code (enum godwit_code) and leave a sentence about it for godwit_last_error() of the same
 * thread. Opaque handles are owned by the caller and ended by the function named with them.
 */
#ifndef GODWIT_H
#define GODWIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GODWIT_API __attribute__((visibility("default")))
#else
#define GODWIT_API
#endif

/* Version of this header; godwit_version() tells that of the library: major << 16 | minor. */
#define GODWIT_VERSION_MAJOR 0
#define GODWIT_VERSION_MINOR 1

typedef struct godwit_context godwit_context;

enum godwit_code {
  GODWIT_OK = 0,
  GODWIT_INVALID_ARGUMENT = -1,
  GODWIT_UNSUPPORTED = -2,  /* never, with this engine or device */
  GODWIT_UNAVAILABLE = -3,  /* not on this machine, or not with these privileges */
  GODWIT_OUT_OF_MEMORY = -4,
  GODWIT_RETRY = -5,        /* lost a race; trying again may succeed */
  GODWIT_BUSY = -6,         /* pages are pinned or held */
  GODWIT_DEVICE_LOST = -7,
  GODWIT_IO = -8
};

enum godwit_place { GODWIT_HOST = 0, GODWIT_DEVICE = 1 };

enum godwit_advice {
  GODWIT_ADVICE_NORMAL = 0,
  GODWIT_ADVICE_READ_MOSTLY = 1, /* the device mostly reads: VRAM gets copies */
  GODWIT_ADVICE_KEEP_HOST = 2    /* pages never leave RAM */
};

/* Where a page is; one byte a page in godwit_residency(). */
enum godwit_residency_state {
  GODWIT_PAGE_UNTOUCHED = 0,
  GODWIT_PAGE_HOST = 1,
  GODWIT_PAGE_DEVICE = 2,
  GODWIT_PAGE_BOTH = 3,
  GODWIT_PAGE_MOVING = 4,
  GODWIT_PAGE_LOST = 5
};

/*
 * Options of a context. Zero-initialise, set `size` to sizeof(struct godwit_options), then set what
 * differs from the default. Strings are copied.
 */
struct godwit_options {
  size_t size;
  const char *engine;     /* "auto" (default), "user", "kernel" */
  const char *device;     /* "auto" (default), "soft", "vulkan", "vulkan:NAME-OR-INDEX" */
  uint64_t vram_bytes;    /* VRAM that may be used; 0: what the device suggests */
  uint64_t arena_bytes;   /* address space to reserve; 0: 16 times RAM */
  uint64_t pool_bytes;    /* RAM that may be kept ready for moves; 0: 1/16 of RAM */
  uint32_t threads;       /* threads that move pages in bulk; 0: one for each CPU, at most 4 */
  const char *telemetry;  /* file to keep statistics and events in; NULL: private memory */
  uint32_t event_slots;   /* events kept (a power of two); 0: none */
  const char *level;      /* "auto" (default), "full", "resident": see docs/engines.md */
};

struct godwit_move_report {
  uint64_t moved;
  uint64_t already;
  uint64_t stayed;
  uint64_t stayed_pinned;   /* of `stayed`: pinned for DMA, or shared with a child */
  uint64_t stayed_no_vram;
  uint64_t stayed_other;
};

/* Pages and bytes are of 4096; times in nanoseconds. */
struct godwit_statistics {
  uint64_t bytes_to_device;
  uint64_t bytes_to_host;
  uint64_t pages_dropped;  /* changed place without a copy */
  uint64_t faults;
  uint64_t evictions;
  uint64_t managed_bytes;
  uint64_t vram_bytes;
  uint64_t gemm_offloaded;
  uint64_t gemm_passed_on;
};

GODWIT_API uint32_t godwit_version(void);
/* The sentence for the last failure on this thread; never NULL; valid until the next failure. */
GODWIT_API const char *godwit_last_error(void);

/* Creates a context; end it with godwit_context_destroy(). The device is made at its first use. */
GODWIT_API int godwit_context_create(const struct godwit_options *options,
                                     godwit_context **context);
/* Regions that are still allocated become invalid with it. NULL is allowed. */
GODWIT_API void godwit_context_destroy(godwit_context *context);

/* Options from the environment (GODWIT_ENGINE, GODWIT_DEVICE, GODWIT_VRAM, GODWIT_ARENA,
 * GODWIT_POOL, GODWIT_THREADS, GODWIT_LEVEL, GODWIT_REPORT_DIR, GODWIT_EVENTS), as `godwit run` sets them.
 * A value that does not parse is GODWIT_INVALID_ARGUMENT and names the variable. */
GODWIT_API int godwit_context_create_from_environment(godwit_context **context);

/* A zero-filled region of at least `bytes`; `alignment` is 0 or a power of two. End: godwit_free. */
GODWIT_API int godwit_allocate(godwit_context *context, size_t bytes, size_t alignment,
                               void **region);
/* A part of a file as a region (zeros behind the file's end): read when it is touched, to the side
 * that touches it. `bytes` 0: up to the file's end. `shared` 0: stores stay in this process; else
 * godwit_sync and godwit_free write pages back whose bytes differ from the file's. */
GODWIT_API int godwit_map_file(godwit_context *context, const char *path, uint64_t offset,
                               size_t bytes, int shared, void **region);
/* Writes pages of a shared mapping back and waits for the disk; *pages (may be NULL): how many. */
GODWIT_API int godwit_sync(godwit_context *context, const void *base, size_t bytes, size_t *pages);
/* GODWIT_IO: a shared mapping could not be written back; then the region is still there. */
GODWIT_API int godwit_free(godwit_context *context, void *region);
/* Bytes from a region's first byte to its end; 0 when no region starts at that address. */
GODWIT_API size_t godwit_size_of(const godwit_context *context, const void *region);
/* 1 when the address lies in the context's address space, allocated or not; one comparison. */
GODWIT_API int godwit_manages(const godwit_context *context, const void *address);
/* The bounds of that address space, for callers that want to compare themselves. */
GODWIT_API void godwit_bounds(const godwit_context *context, const void **base, size_t *bytes);

/* Moves the pages of a range to `place` (enum godwit_place). Pages that stay are no failure: read the report (may be NULL). */
GODWIT_API int godwit_prefetch(godwit_context *context, const void *base, size_t bytes,
                               int place, struct godwit_move_report *report);
/* `advice`: enum godwit_advice, for the whole region. */
GODWIT_API int godwit_advise(godwit_context *context, const void *base, size_t bytes,
                             int advice);
GODWIT_API int godwit_discard(godwit_context *context, const void *base, size_t bytes);
/* One byte (enum godwit_residency_state) for each page that the range touches. */
GODWIT_API int godwit_residency(const godwit_context *context, const void *base, size_t bytes,
                                uint8_t *states, size_t states_count);
/* The first allocated region at or above `from`: 0 and *bytes 0 when there is none. */
GODWIT_API int godwit_next_region(const godwit_context *context, const void *from, void **base,
                                  size_t *bytes);
GODWIT_API int godwit_statistics_get(const godwit_context *context,
                                     struct godwit_statistics *statistics);

/* To be called around fork() (pthread_atfork). In the child the context is detached: its memory is
 * plain memory, and nothing migrates there. None of the three on a thread that is inside the library
 * (below): a device's driver may fork there, for a helper, while locks are held that they would take. */
GODWIT_API void godwit_fork_prepare(godwit_context *context);
GODWIT_API void godwit_fork_parent(godwit_context *context);
GODWIT_API void godwit_fork_child(godwit_context *context);

/* 1 on a thread that is inside the library, or that such a thread started (see below): a malloc
 * replacement serves it from ordinary memory, since managed memory there could wait for itself. */
GODWIT_API int godwit_inside(void);
/* Marks this thread as one that must never get managed memory; nests. */
GODWIT_API void godwit_inside_enter(void);
GODWIT_API void godwit_inside_leave(void);

/* ---- devices that are driven from user space ---- */

/* A range of pages lent to a device whose driver is in this process: RDMA verbs, io_uring's fixed buffers,
 * SPDK. End it with godwit_peer_unmap(). It may outlive its context. */
typedef struct godwit_peer godwit_peer;

enum godwit_peer_access {
  GODWIT_PEER_READ_WRITE = 0, /* the device may store */
  GODWIT_PEER_READ = 1        /* it only loads */
};

/*
 * Zero-initialise, set `size` to sizeof(struct godwit_peer_options). Callbacks may be NULL, and get `opaque`.
 * Order: on_remap, transfers between begin and end, on_invalidate, the pages move, on_remap ...
 * They may not call godwit_peer_begin() of the same mapping, nor end it.
 */
struct godwit_peer_options {
  size_t size;
  int access;           /* enum godwit_peer_access */
  int standing;         /* 1: told of every move by on_invalidate, whose answer is not asked; no begin */
  int32_t patience_ms;  /* how long a move waits for godwit_peer_end(); 0: 1000; negative: not at all */
  /* Before pages move or are given up, on the context's peer thread. 0: unregistered; else they stay. */
  int (*on_invalidate)(void *opaque, void *pages, size_t bytes);
  /* The pages are in RAM, and stay: register them. On the thread of godwit_peer_begin(). 0: done. */
  int (*on_remap)(void *opaque, void *pages, size_t bytes, uint64_t generation);
  /* A move waits for godwit_peer_end(). On the peer thread. */
  void (*on_wanted)(void *opaque);
  void *opaque;
};

/* `options` may be NULL. With `standing`, `base` NULL and `bytes` 0 mean all that the context moves. */
GODWIT_API int godwit_peer_map(godwit_context *context, const void *base, size_t bytes,
                               const struct godwit_peer_options *options, godwit_peer **peer);
/* Brings the pages to RAM and keeps them there until godwit_peer_end(); nests. `generation` may be NULL.
 * Waits ten seconds at most (GODWIT_RETRY). GODWIT_BUSY: a command holds them, or on_remap failed. */
GODWIT_API int godwit_peer_begin(godwit_peer *peer, uint64_t *generation);
/* The transfer has completed. */
GODWIT_API void godwit_peer_end(godwit_peer *peer);
/* Changes before a page moves, and never returns to a former value. */
GODWIT_API uint64_t godwit_peer_generation(const godwit_peer *peer);
/* The whole pages of the range. */
GODWIT_API void godwit_peer_pages(const godwit_peer *peer, void **pages, size_t *bytes);
/* The caller unregisters first: on_invalidate is not called. Waits for a callback that runs. NULL is allowed. */
GODWIT_API void godwit_peer_unmap(godwit_peer *peer);

/* 1 while a mapping, other than a standing one, has pages of the range. For allocators: memory that is
 * kept for later, instead of freed, must not be lent. Cheap where the context has no mappings. */
GODWIT_API int godwit_peer_lent(const godwit_context *context, const void *base, size_t bytes);

struct godwit_peer_statistics {
  size_t size;           /* sizeof(struct godwit_peer_statistics), set by the caller */
  uint64_t revocations;  /* times that a peer let go of its pages before a move */
  uint64_t refusals;     /* times that it did not, so that they stayed */
  uint64_t remaps;       /* times that pages were brought to RAM for a peer */
};
GODWIT_API int godwit_peer_statistics_get(const godwit_context *context,
                                          struct godwit_peer_statistics *statistics);

/* ---- matrix products ---- */

enum godwit_scalar { GODWIT_FLOAT = 0, GODWIT_DOUBLE = 1, GODWIT_COMPLEX_FLOAT = 2, GODWIT_COMPLEX_DOUBLE = 3 };
enum godwit_transpose { GODWIT_NO_TRANS = 0, GODWIT_TRANS = 1, GODWIT_CONJ_TRANS = 2 };
enum godwit_offload { GODWIT_OFFLOAD_AUTO = 0, GODWIT_OFFLOAD_ALWAYS = 1, GODWIT_OFFLOAD_NEVER = 2 };

/* C := alpha * op(A) * op(B) + beta * C, column-major, arguments as in BLAS xGEMM (valid ones).
 * Operands may be managed memory (they migrate) or not (they are copied for the call).
 * `cpu_flops`: the rate of the BLAS that would do it otherwise, flop/s; 0: not known. */
struct godwit_gemm {
  size_t size; /* sizeof(struct godwit_gemm) */
  enum godwit_scalar type;
  enum godwit_transpose transa, transb;
  int64_t m, n, k;
  double alpha[2], beta[2];
  const void *a;
  int64_t lda;
  const void *b;
  int64_t ldb;
  void *c;
  int64_t ldc;
  enum godwit_offload offload;
  double cpu_flops;
};

/* 0: C holds the result. GODWIT_UNSUPPORTED: not offloaded (C is untouched); any other code: it
 * failed and C is as it was, or, where the device was lost with C's pages in VRAM, lost as these are
 * (they end in SIGBUS). In all cases `why` (may be NULL) gets a sentence on the decision. */
GODWIT_API int godwit_gemm_run(godwit_context *context, const struct godwit_gemm *gemm, char *why,
                               size_t why_bytes);
/* Counts a product that was left to another BLAS. */
GODWIT_API void godwit_gemm_passed_on(godwit_context *context);

#ifdef __cplusplus
}
#endif

#endif /* GODWIT_H */
