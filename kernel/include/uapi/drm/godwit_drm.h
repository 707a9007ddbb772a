/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) OR MIT */
#ifndef _UAPI_GODWIT_DRM_H_
#define _UAPI_GODWIT_DRM_H_

#ifdef __KERNEL__
#include <drm/drm.h>
#else
#include "drm.h"
#endif

#if defined(__cplusplus)
extern "C" {
#endif

/**
 * DOC: Rules of this interface
 *
 * The interface of godwit.ko, on the DRM render node of each of its devices.
 *
 * - Structures are the same for 32-bit and 64-bit programs: multiples of 8
 *   bytes, every member at a multiple of its own size, padding named, pointers
 *   as __u64, no unions.
 * - Reserved members (named pad or reserved) and unknown flag bits must be
 *   zero, otherwise the call fails with EINVAL and changes nothing.
 * - A structure that is passed to an ioctl grows only at its end or into
 *   reserved members. Zero in a new member means what the older interface
 *   did. A driver that is older than its caller accepts the part that it does
 *   not know where it is zero, and answers E2BIG where it is not.
 * - Structures behind a pointer come with their size (stride) as the caller
 *   knows it. The same rule holds for them.
 * - Enumerators and ioctl numbers are never reused. What a driver knows but
 *   this device cannot do is EOPNOTSUPP, what it does not know is EINVAL.
 * - Every addition raises GODWIT_UAPI_MINOR. A change that would break a
 *   caller would raise GODWIT_UAPI_MAJOR.
 *
 * Ranges are given as a byte address and a byte length. Where a call says
 * "page range", both must be multiples of the page size, and the length must
 * not be zero (EINVAL). A range that is not wholly below the end of the address
 * space is EINVAL, and one longer than GODWIT_MAX_RANGE is E2BIG. Holes are not
 * an error unless the call says so: their pages are counted as such.
 *
 * Output members are written also where a call fails, and then tell how far it
 * got. A call that is interrupted by a signal, or because the system is about to sleep, answers
 * EINTR. A completion of io_uring is no signal, and does not interrupt what moves pages.
 *
 * Every call works on the address space of the calling process: the first one
 * that needs it attaches it (see &struct drm_godwit_attach). A descriptor that was inherited
 * by a child serves both address spaces, with one accounting.
 *
 * Errors that any call may give: ENODEV, the device is gone. ENOMEM. EFAULT, a
 * pointer of the caller is bad. EINVAL, E2BIG as above.
 */

/** define GODWIT_UAPI_MAJOR - a caller built for another major is refused. */
#define GODWIT_UAPI_MAJOR	1
/** define GODWIT_UAPI_MINOR - a caller built for a greater minor is refused. */
#define GODWIT_UAPI_MINOR	1
/** define GODWIT_UAPI_VERSION - as &drm_godwit_attach.client_version takes it. */
#define GODWIT_UAPI_VERSION	((GODWIT_UAPI_MAJOR << 16) | GODWIT_UAPI_MINOR)

/** define GODWIT_MAX_RANGE - bytes, the longest range of one call. */
#define GODWIT_MAX_RANGE	(1ULL << 40)

/**
 * DOC: ioctl numbers
 *
 * In order of their introduction. Added at the end only.
 */
#define DRM_GODWIT_QUERY		0x00
#define DRM_GODWIT_ATTACH		0x01
#define DRM_GODWIT_MIGRATE		0x02
#define DRM_GODWIT_ADVISE		0x03
#define DRM_GODWIT_DISCARD		0x04
#define DRM_GODWIT_RESIDENCY		0x05
#define DRM_GODWIT_EXECUTE		0x06
#define DRM_GODWIT_WAIT			0x07
#define DRM_GODWIT_VIEW			0x08
#define DRM_GODWIT_EXPORT		0x09
#define DRM_GODWIT_PIN			0x0a
#define DRM_GODWIT_UNPIN		0x0b
#define DRM_GODWIT_EVICT		0x0c
#define DRM_GODWIT_EVENTS		0x0d
#define DRM_GODWIT_WATCH		0x0e
#define DRM_GODWIT_STATS		0x0f
#define DRM_GODWIT_GEM_CREATE		0x10
#define DRM_GODWIT_GEM_INFO		0x11
#define DRM_GODWIT_GEM_MOVE		0x12

/**
 * enum drm_godwit_place - where a page is, or should be.
 */
enum drm_godwit_place {
	/** @GODWIT_PLACE_NONE: Nowhere: a hole, a page that was never touched, or one on swap. */
	GODWIT_PLACE_NONE = 0,
	/** @GODWIT_PLACE_SYSTEM: In RAM. */
	GODWIT_PLACE_SYSTEM = 1,
	/** @GODWIT_PLACE_VRAM: In the VRAM of the device that was asked. */
	GODWIT_PLACE_VRAM = 2,
	/** @GODWIT_PLACE_PEER: In the VRAM of another device of this driver. Output only. */
	GODWIT_PLACE_PEER = 3,
	/**
	 * @GODWIT_PLACE_ABSENT: Allocated, but not in memory that a device could reach without
	 * a fault: swapped out, under way, or in the memory of another driver. Output only.
	 */
	GODWIT_PLACE_ABSENT = 4,
};

/**
 * enum drm_godwit_cause - why a page moved. Carried by events, tracepoints and counters.
 */
enum drm_godwit_cause {
	/** @GODWIT_CAUSE_NONE: Does not apply. */
	GODWIT_CAUSE_NONE = 0,
	/** @GODWIT_CAUSE_DEVICE_FAULT: The device touched it. */
	GODWIT_CAUSE_DEVICE_FAULT = 1,
	/** @GODWIT_CAUSE_CPU_FAULT: A CPU touched it, or a system call on its behalf. */
	GODWIT_CAUSE_CPU_FAULT = 2,
	/** @GODWIT_CAUSE_PREFETCH: DRM_IOCTL_GODWIT_MIGRATE. */
	GODWIT_CAUSE_PREFETCH = 3,
	/** @GODWIT_CAUSE_EVICTION: Room was needed in VRAM. */
	GODWIT_CAUSE_EVICTION = 4,
	/** @GODWIT_CAUSE_REQUEST: DRM_IOCTL_GODWIT_EVICT. */
	GODWIT_CAUSE_REQUEST = 5,
	/** @GODWIT_CAUSE_ADVICE: DRM_IOCTL_GODWIT_ADVISE. */
	GODWIT_CAUSE_ADVICE = 6,
	/** @GODWIT_CAUSE_PEER: Another device needed it. */
	GODWIT_CAUSE_PEER = 7,
	/** @GODWIT_CAUSE_UNPLUG: The device went away. */
	GODWIT_CAUSE_UNPLUG = 8,
	/** @GODWIT_CAUSE_PIN: DRM_IOCTL_GODWIT_PIN. */
	GODWIT_CAUSE_PIN = 9,
	/** @GODWIT_CAUSE_VIEW: A view of the device was touched. */
	GODWIT_CAUSE_VIEW = 10,
	/** @GODWIT_CAUSE_COUNT: Number of causes that this header knows. */
	GODWIT_CAUSE_COUNT = 11,
};

/**
 * enum drm_godwit_query_what - what drm_godwit_query.what asks for.
 */
enum drm_godwit_query_what {
	/** @GODWIT_QUERY_DEVICE: &struct drm_godwit_device_info. */
	GODWIT_QUERY_DEVICE = 0,
	/** @GODWIT_QUERY_LIMITS: &struct drm_godwit_limits. */
	GODWIT_QUERY_LIMITS = 1,
};

/**
 * enum drm_godwit_device_kind - how the CPU sees the VRAM.
 */
enum drm_godwit_device_kind {
	/** @GODWIT_KIND_PRIVATE: It cannot: a touch brings the page home. */
	GODWIT_KIND_PRIVATE = 1,
	/**
	 * @GODWIT_KIND_COHERENT: As memory: pages stay where they are when the CPU uses them.
	 */
	GODWIT_KIND_COHERENT = 2,
	/**
	 * @GODWIT_KIND_EXPLICIT: Only objects (DRM_IOCTL_GODWIT_GEM_CREATE); malloc memory does
	 * not migrate.
	 */
	GODWIT_KIND_EXPLICIT = 3,
};

/** define GODWIT_CAP_MIGRATE - memory of the process migrates to this device. */
#define GODWIT_CAP_MIGRATE		(1ULL << 0)
/** define GODWIT_CAP_HUGE - it migrates in folios of drm_godwit_device_info.huge_page_size. */
#define GODWIT_CAP_HUGE			(1ULL << 1)
/** define GODWIT_CAP_EXECUTE - DRM_IOCTL_GODWIT_EXECUTE works. */
#define GODWIT_CAP_EXECUTE		(1ULL << 2)
/** define GODWIT_CAP_VIEW - DRM_IOCTL_GODWIT_VIEW works. */
#define GODWIT_CAP_VIEW			(1ULL << 3)
/** define GODWIT_CAP_EXPORT - DRM_IOCTL_GODWIT_EXPORT works. */
#define GODWIT_CAP_EXPORT		(1ULL << 4)
/** define GODWIT_CAP_GEM - DRM_IOCTL_GODWIT_GEM_CREATE works. */
#define GODWIT_CAP_GEM			(1ULL << 5)
/** define GODWIT_CAP_PIN - DRM_IOCTL_GODWIT_PIN works. */
#define GODWIT_CAP_PIN			(1ULL << 6)
/** define GODWIT_CAP_ADVISE - DRM_IOCTL_GODWIT_ADVISE works. */
#define GODWIT_CAP_ADVISE		(1ULL << 7)
/** define GODWIT_CAP_EVENTS - DRM_IOCTL_GODWIT_EVENTS and DRM_IOCTL_GODWIT_WATCH work. */
#define GODWIT_CAP_EVENTS		(1ULL << 8)

/**
 * struct drm_godwit_device_info - a device (GODWIT_QUERY_DEVICE).
 */
struct drm_godwit_device_info {
	/** @uapi_version: GODWIT_UAPI_VERSION of the driver. */
	__u32 uapi_version;
	/** @kind: &enum drm_godwit_device_kind. */
	__u32 kind;
	/** @vram_total: Bytes. */
	__u64 vram_total;
	/** @vram_free: Bytes that nobody uses. What can be evicted is not in it. */
	__u64 vram_free;
	/** @capabilities: GODWIT_CAP_*. */
	__u64 capabilities;
	/** @page_size: Bytes, of the unit in which residency is kept. */
	__u64 page_size;
	/** @huge_page_size: Bytes, 0 where the device has only one size. */
	__u64 huge_page_size;
	/** @device_id: Distinguishes the devices of one boot. Events and statistics use it. */
	__u32 device_id;
	/** @numa_node: Of the device, -1 where it has none. */
	__s32 numa_node;
	/** @generation: Counts the devices that were registered since the module was loaded. */
	__u64 generation;
	/** @driver: Name of the device driver, ends with a zero. */
	char driver[32];
	/** @name: Name of the device, ends with a zero. */
	char name[64];
};

/**
 * struct drm_godwit_limits - what is bounded, and by what (GODWIT_QUERY_LIMITS).
 */
struct drm_godwit_limits {
	/** @max_range: Bytes in one call. */
	__u64 max_range;
	/**
	 * @max_pinned: Bytes of VRAM that one client may hold with PIN, with pinned advice and with
	 * pinned objects. All clients of a device together may hold three quarters of its VRAM,
	 * vram_total: so with others there it can be less (EDQUOT).
	 */
	__u64 max_pinned;
	/** @max_commands: In one EXECUTE. */
	__u32 max_commands;
	/** @max_syncs: In one EXECUTE. */
	__u32 max_syncs;
	/** @max_jobs: Of one client that are queued, or whose results were not fetched. */
	__u32 max_jobs;
	/**
	 * @max_inline: Bytes that the READ and WRITE commands of one EXECUTE may carry
	 * together.
	 */
	__u32 max_inline;
	/** @max_timeout_ms: The longest timeout of a job. */
	__u32 max_timeout_ms;
	/** @max_ring_records: The largest event ring. */
	__u32 max_ring_records;
	/** @max_watches: Generation words of one client. */
	__u32 max_watches;
	/** @max_views: Views of one client. */
	__u32 max_views;
};

/**
 * struct drm_godwit_query - DRM_IOCTL_GODWIT_QUERY. Attaches nothing.
 *
 * Errors: E2BIG, @size beyond 4096.
 *
 * Works with any drm_godwit_attach.client_version, so that a caller can find out whom it talks
 * to.
 */
struct drm_godwit_query {
	/** @what: In, &enum drm_godwit_query_what. */
	__u32 what;
	/**
	 * @size: In, bytes at @data; 0 asks for the size only. Out, bytes that the driver has.
	 * The smaller of the two is written, and what is beyond it is set to zero.
	 */
	__u32 size;
	/** @data: In, pointer to the structure that is to be filled. */
	__u64 data;
};

/**
 * struct drm_godwit_attach - DRM_IOCTL_GODWIT_ATTACH: declare oneself, or let go.
 *
 * Attaches the address space of the caller to the device. Every other call does it where it was
 * not done, as a caller of version GODWIT_UAPI_MAJOR.0. Attaching twice is not an error.
 *
 * Errors: EPROTONOSUPPORT, the driver does not serve this version; @driver_version says which
 * it has. ENOENT, GODWIT_ATTACH_DETACH where nothing was attached. ESRCH, the address space is
 * ending.
 */
struct drm_godwit_attach {
	/** @client_version: In, the GODWIT_UAPI_VERSION that the caller was built with. */
	__u32 client_version;
	/** @driver_version: Out. */
	__u32 driver_version;
	/** @flags: In, GODWIT_ATTACH_*. */
	__u32 flags;
/**
 * define GODWIT_ATTACH_DETACH - drop all that the device knows of this address space; pages
 * stay where they are. Pins, advice and watches end, whatever views and exports there still are.
 * A call of another thread that is just making one answers ESRCH.
 */
#define GODWIT_ATTACH_DETACH		(1U << 0)
	/** @mirror_id: Out, names this pair of descriptor and address space in events. */
	__u32 mirror_id;
	/** @client_id: Out, names the descriptor, as DRM_IOCTL_GODWIT_EVICT takes it. */
	__u32 client_id;
	/** @pad: Zero. */
	__u32 pad;
};

/**
 * enum drm_godwit_stay - why a page did not go where it should.
 */
enum drm_godwit_stay {
	/** @GODWIT_STAY_NONE: It moved, or was there already. */
	GODWIT_STAY_NONE = 0,
	/** @GODWIT_STAY_HOLE: No memory is mapped there, or it may not be read. */
	GODWIT_STAY_HOLE = 1,
	/**
	 * @GODWIT_STAY_FILE: File or shared memory, memory that KSM may merge, or that userfaultfd
	 * protects (WP, RWP): the device uses it in place.
	 */
	GODWIT_STAY_FILE = 2,
	/** @GODWIT_STAY_SPECIAL: hugetlb, device, secret or other special mapping. */
	GODWIT_STAY_SPECIAL = 3,
	/**
	 * @GODWIT_STAY_BUSY: Pinned, locked, under way to elsewhere, or swapped out while we
	 * looked; or it was to be made, and its owner's memory cgroup is at its limit.
	 */
	GODWIT_STAY_BUSY = 4,
	/** @GODWIT_STAY_NO_VRAM: No room, and nothing could be evicted for it. */
	GODWIT_STAY_NO_VRAM = 5,
	/** @GODWIT_STAY_NO_RAM: No RAM to come home to. */
	GODWIT_STAY_NO_RAM = 6,
	/** @GODWIT_STAY_COPY: The device failed to copy it. */
	GODWIT_STAY_COPY = 7,
	/**
	 * @GODWIT_STAY_EMPTY: Nothing there to move: never touched (or, to RAM, on swap, or just
	 * moving). To VRAM such pages are made, unless GODWIT_MIGRATE_SKIP_EMPTY says otherwise.
	 */
	GODWIT_STAY_EMPTY = 8,
	/** @GODWIT_STAY_ADVICE: Pinned by advice or by PIN to where it is. */
	GODWIT_STAY_ADVICE = 9,
	/** @GODWIT_STAY_INTERRUPTED: A signal came first. */
	GODWIT_STAY_INTERRUPTED = 10,
	/** @GODWIT_STAY_SWAPPED: On swap, or just moving. */
	GODWIT_STAY_SWAPPED = 11,
	/** @GODWIT_STAY_COUNT: Number of reasons that this header knows. */
	GODWIT_STAY_COUNT = 12,
};

/**
 * define GODWIT_STAY_SLOTS - length of drm_godwit_migrate.stayed; leaves room for more reasons.
 */
#define GODWIT_STAY_SLOTS		16

/**
 * struct drm_godwit_migrate - DRM_IOCTL_GODWIT_MIGRATE: move a page range.
 *
 * Moves what can be moved, page by page, and counts what stayed. Returns 0 also where no page
 * moved: the counters say so. @moved + @already + the sum of @stayed is the number of pages in
 * the range, unless the call failed. Pages that are busy are tried again, for 10 ms in all.
 *
 * Errors: EOPNOTSUPP, the device has no GODWIT_CAP_MIGRATE and @to is VRAM. EBUSY, other threads
 * changed the range itself without pause for a second. EINTR.
 */
struct drm_godwit_migrate {
	/** @addr: In, page range. */
	__u64 addr;
	/** @length: In, page range. */
	__u64 length;
	/** @to: In, GODWIT_PLACE_SYSTEM or GODWIT_PLACE_VRAM. */
	__u32 to;
	/** @flags: In, GODWIT_MIGRATE_*. */
	__u32 flags;
/**
 * define GODWIT_MIGRATE_NO_EVICT - where VRAM is full leave pages where they are rather than
 * evict others.
 */
#define GODWIT_MIGRATE_NO_EVICT		(1U << 0)
/**
 * define GODWIT_MIGRATE_SMALL - move 4 KiB at a time, also where 2 MiB would do. For tests and
 * measurements.
 */
#define GODWIT_MIGRATE_SMALL		(1U << 1)
/**
 * define GODWIT_MIGRATE_SKIP_EMPTY - to VRAM: leave pages that were never touched, do not make
 * them.
 */
#define GODWIT_MIGRATE_SKIP_EMPTY	(1U << 2)
	/**
	 * @reasons: In, 0 or pointer to one byte a page, each written with an &enum
	 * drm_godwit_stay.
	 */
	__u64 reasons;
	/**
	 * @reasons_size: In, bytes at @reasons; at least one a page of the range, 0 where
	 * @reasons is 0.
	 */
	__u64 reasons_size;
	/** @moved: Out, pages. */
	__u64 moved;
	/** @moved_huge: Out, those of @moved that moved in folios larger than a page. */
	__u64 moved_huge;
	/** @already: Out, pages that were there. */
	__u64 already;
	/** @stayed: Out, pages that stayed, by &enum drm_godwit_stay. */
	__u64 stayed[GODWIT_STAY_SLOTS];
	/**
	 * @time_setup_ns: Out, time to lock and unmap. These times are added up over the threads
	 * that take part: together they can be more than the call took.
	 */
	__u64 time_setup_ns;
	/** @time_alloc_ns: Out, time to find room, eviction included. */
	__u64 time_alloc_ns;
	/** @time_copy_ns: Out, time to wait for copies. Those go on during the other times too. */
	__u64 time_copy_ns;
	/** @time_finish_ns: Out, time to switch the page tables. */
	__u64 time_finish_ns;
	/** @reserved: Zero. */
	__u64 reserved[2];
};

/**
 * enum drm_godwit_advice - drm_godwit_advise.advice.
 */
enum drm_godwit_advice {
	/**
	 * @GODWIT_ADVICE_PREFERRED: @value is an &enum drm_godwit_place: a device fault moves
	 * pages there, or leaves them.
	 */
	GODWIT_ADVICE_PREFERRED = 1,
	/** @GODWIT_ADVICE_PINNED: @value 1: pages that are in VRAM are not evicted. */
	GODWIT_ADVICE_PINNED = 2,
	/**
	 * @GODWIT_ADVICE_IN_PLACE: @value 1: this device maps pages where they are, a fault
	 * does not move them.
	 */
	GODWIT_ADVICE_IN_PLACE = 3,
	/** @GODWIT_ADVICE_READ_MOSTLY: Declared for a later interface; EOPNOTSUPP. */
	GODWIT_ADVICE_READ_MOSTLY = 4,
	/** @GODWIT_ADVICE_UNSET: All advice on the range is forgotten. @value is 0. */
	GODWIT_ADVICE_UNSET = 5,
};

/**
 * struct drm_godwit_advise - DRM_IOCTL_GODWIT_ADVISE: say how a page range will be used.
 *
 * Advice belongs to this descriptor's mirror of the address range, whether or not memory is
 * mapped there; it ends with UNSET, with munmap, and with the mirror. It moves nothing by
 * itself.
 *
 * Pinned holds what this descriptor brought to VRAM: no eviction, no MIGRATE and no other
 * device takes it away (GODWIT_STAY_ADVICE). A CPU that touches private VRAM is served
 * nevertheless. A page that mremap carries away is held until it leaves VRAM or advice is unset
 * where it is then. A child has no advice after fork.
 *
 * Errors: EOPNOTSUPP. ENOSPC, advice on more than 64 GiB. EDQUOT, max_pinned. EINTR, and then a
 * part of the range has the advice.
 */
struct drm_godwit_advise {
	/** @addr: In, page range. */
	__u64 addr;
	/** @length: In, page range. */
	__u64 length;
	/** @advice: In, &enum drm_godwit_advice. */
	__u32 advice;
	/** @value: In. */
	__u32 value;
	/** @flags: In, zero. */
	__u32 flags;
	/** @pad: Zero. */
	__u32 pad;
};

/**
 * struct drm_godwit_discard - DRM_IOCTL_GODWIT_DISCARD: the bytes of a page range are no longer
 * needed.
 *
 * Afterwards private anonymous pages of the range read as zeros, wherever they were; nothing is
 * copied. Other pages, and pages that are locked in memory (mlock), sealed (mseal) or pinned
 * (PIN) through this descriptor, are left alone and counted in @skipped; what is pinned through
 * another one goes, as with MADV_DONTNEED. A page that another process shares since a fork keeps
 * its bytes there.
 */
struct drm_godwit_discard {
	/** @addr: In, page range. */
	__u64 addr;
	/** @length: In, page range. */
	__u64 length;
	/** @flags: In, zero. */
	__u32 flags;
	/** @pad: Zero. */
	__u32 pad;
	/** @discarded: Out, pages of the range whose mapping allows it (touched or not). */
	__u64 discarded;
	/** @skipped: Out, pages that were left alone, holes among them. */
	__u64 skipped;
};

/** define GODWIT_PAGE_PLACE - mask, &enum drm_godwit_place. */
#define GODWIT_PAGE_PLACE		0x0000000fU
/** define GODWIT_PAGE_MAPPED - the device has a translation for it. */
#define GODWIT_PAGE_MAPPED		0x00000010U
/** define GODWIT_PAGE_MAPPED_WRITE - the device may write through its translation. */
#define GODWIT_PAGE_MAPPED_WRITE	0x00000020U
/**
 * define GODWIT_PAGE_WRITABLE - the process may write it without a fault (for VRAM: after it
 * came home).
 */
#define GODWIT_PAGE_WRITABLE		0x00000040U
/** define GODWIT_PAGE_HUGE - mapped as a part of a huge page. */
#define GODWIT_PAGE_HUGE		0x00000080U
/** define GODWIT_PAGE_ZERO - the shared zero page. */
#define GODWIT_PAGE_ZERO		0x00000100U
/** define GODWIT_PAGE_ERROR - cannot be used by a device: poisoned, or a special mapping. */
#define GODWIT_PAGE_ERROR		0x00000200U
/** define GODWIT_PAGE_ADVISED - there is advice on it. */
#define GODWIT_PAGE_ADVISED		0x00000400U

/**
 * struct drm_godwit_residency - DRM_IOCTL_GODWIT_RESIDENCY: where each page of a page range is
 * now.
 *
 * One __u32 a page. Exact at one moment for each 2 MiB, but for pages that CPUs touch for the first
 * time or swap in meanwhile: each is told as it was before that or as it is after. A page may have
 * moved by the time the caller reads it. Faults nothing in and moves nothing, but waits for pages
 * that are just moving. The counters count all pages of the range.
 *
 * Errors: EBUSY, the range changed without pause for a second.
 */
struct drm_godwit_residency {
	/** @addr: In, page range. */
	__u64 addr;
	/** @length: In, page range. */
	__u64 length;
	/** @pages: In, 0 or pointer to one __u32 a page, GODWIT_PAGE_*. */
	__u64 pages;
	/**
	 * @pages_size: In, bytes at @pages; at least four a page of the range, 0 where @pages
	 * is 0.
	 */
	__u64 pages_size;
	/** @flags: In, zero. */
	__u32 flags;
	/** @pad: Zero. */
	__u32 pad;
	/** @in_system: Out, pages. */
	__u64 in_system;
	/** @in_vram: Out, pages. */
	__u64 in_vram;
	/** @in_peer: Out, pages. */
	__u64 in_peer;
	/** @mapped: Out, pages that the device has a translation for. */
	__u64 mapped;
};

/**
 * enum drm_godwit_op - what a command does. All memory is addressed as the process addresses
 * it, and is reached only through the page table of the device.
 */
enum drm_godwit_op {
	/**
	 * @GODWIT_OP_READ: @length bytes at @addr are given back at @data (when the job is
	 * waited for).
	 */
	GODWIT_OP_READ = 1,
	/**
	 * @GODWIT_OP_WRITE: @length bytes from @data (fetched at submission) are stored at
	 * @addr.
	 */
	GODWIT_OP_WRITE = 2,
	/**
	 * @GODWIT_OP_FILL: @length bytes at @addr are filled with the 8 bytes of @operand, over
	 * and over.
	 */
	GODWIT_OP_FILL = 3,
	/**
	 * @GODWIT_OP_COPY: @length bytes are copied from @source to @addr; the two must not
	 * overlap.
	 */
	GODWIT_OP_COPY = 4,
	/**
	 * @GODWIT_OP_ATOMIC_ADD: @operand is added to the __u64 at @addr, which must be a
	 * multiple of 8, atomically against CPUs and other devices; once for each of @length /
	 * 8 words that follow each other. The result is the value before the last addition.
	 */
	GODWIT_OP_ATOMIC_ADD = 5,
	/** @GODWIT_OP_CHECKSUM: The result is the 64-bit FNV-1a of @length bytes at @addr. */
	GODWIT_OP_CHECKSUM = 6,
	/**
	 * @GODWIT_OP_WALK: @addr is the first node of a linked list; the pointer to the next
	 * node is at offset
	 * @operand of each node, 0 ends it. The result is the number of nodes, @length the
	 * greatest number that is allowed (ELOOP). Pointers must be multiples of 8 (EINVAL).
	 */
	GODWIT_OP_WALK = 7,
	/** @GODWIT_OP_SPIN: Never ends; the timeout of the job ends it. For tests. */
	GODWIT_OP_SPIN = 8,
	/** @GODWIT_OP_NOP: Nothing. */
	GODWIT_OP_NOP = 9,
};

/**
 * struct drm_godwit_command - one command.
 */
struct drm_godwit_command {
	/** @op: &enum drm_godwit_op. */
	__u32 op;
	/** @flags: GODWIT_COMMAND_*. */
	__u32 flags;
/**
 * define GODWIT_COMMAND_IN_PLACE - faults of this command map pages where they are. Otherwise
 * they move to VRAM.
 */
#define GODWIT_COMMAND_IN_PLACE		(1U << 0)
/**
 * define GODWIT_COMMAND_NO_FAULT - a fault ends the command with EFAULT instead of being
 * served.
 */
#define GODWIT_COMMAND_NO_FAULT		(1U << 1)
	/** @addr: Where. */
	__u64 addr;
	/** @length: Bytes, or as the operation says. */
	__u64 length;
	/** @source: GODWIT_OP_COPY, otherwise zero. */
	__u64 source;
	/** @operand: As the operation says, otherwise zero. */
	__u64 operand;
	/**
	 * @data: GODWIT_OP_READ and WRITE, pointer to the bytes of the caller, otherwise zero.
	 */
	__u64 data;
};

/**
 * struct drm_godwit_result - what became of one command.
 */
struct drm_godwit_result {
	/**
	 * @status: 0, or a negative errno: EFAULT (@fault_addr says where), EACCES (written
	 * where only reading is allowed), ETIMEDOUT, ECANCELED (a command before it failed, or
	 * the client or the process ended, or detached), ENODEV, EBUSY (a page kept moving away
	 * for a second), EIO, ELOOP, EINVAL, ENOMEM.
	 */
	__s32 status;
	/** @faults: Device faults taken. */
	__u32 faults;
	/**
	 * @replays: Accesses that were tried again because a translation was taken away
	 * meanwhile.
	 */
	__u32 replays;
	/** @pad: Zero. */
	__u32 pad;
	/** @value: As the operation says. */
	__u64 value;
	/** @done: Bytes (nodes) processed. */
	__u64 done;
	/** @fault_addr: Of the access that ended the command. */
	__u64 fault_addr;
	/** @pages_moved: Pages that its faults brought to VRAM. */
	__u64 pages_moved;
	/**
	 * @pages_mapped: Pages that its faults mapped where they were, those that were in VRAM
	 * before among them.
	 */
	__u64 pages_mapped;
};

/**
 * struct drm_godwit_sync - wait for, or signal, a point of a DRM syncobj.
 *
 * A job may fault, so nothing in the kernel may wait for it: the fence of a job is put into its
 * syncobjs when the job has ended, already signalled. To wait for it before that, use
 * DRM_SYNCOBJ_WAIT_FLAGS_WAIT_FOR_SUBMIT; a job waits for such a syncobj by itself. What is not
 * signalled within max_timeout_ms ends the job that waits for it with ETIMEDOUT. An error of
 * what is waited for does not.
 */
struct drm_godwit_sync {
	/** @handle: Of the syncobj. */
	__u32 handle;
	/** @flags: GODWIT_SYNC_*. */
	__u32 flags;
/**
 * define GODWIT_SYNC_SIGNAL - signal it when the job ends; otherwise wait for it before the job
 * starts.
 */
#define GODWIT_SYNC_SIGNAL		(1U << 0)
	/** @point: Of a timeline; 0 for a binary syncobj. */
	__u64 point;
};

/**
 * struct drm_godwit_execute - DRM_IOCTL_GODWIT_EXECUTE: queue commands as one job.
 *
 * The jobs of a client run one after the other. The first command that fails ends its job.
 * Fences of jobs that failed are signalled with the error.
 *
 * A device plays jobs of up to 512 descriptors at a time. One that had no job for two seconds does
 * not count.
 *
 * Errors: EOPNOTSUPP. EAGAIN, max_jobs, or jobs of too many descriptors. ENOENT, no such syncobj.
 * E2BIG, more than a limit. EINVAL.
 */
struct drm_godwit_execute {
	/** @commands: In, pointer to @command_count structures of @command_stride bytes. */
	__u64 commands;
	/** @syncs: In, pointer to @sync_count structures of @sync_stride bytes. */
	__u64 syncs;
	/**
	 * @results: In, with GODWIT_EXECUTE_WAIT: pointer to @command_count structures of
	 * @result_stride bytes, or 0.
	 */
	__u64 results;
	/** @command_count: In, 1 to max_commands. */
	__u32 command_count;
	/** @command_stride: In, sizeof(struct drm_godwit_command). */
	__u32 command_stride;
	/** @sync_count: In. */
	__u32 sync_count;
	/** @sync_stride: In, sizeof(struct drm_godwit_sync); 0 where @sync_count is 0. */
	__u32 sync_stride;
	/** @result_stride: In, sizeof(struct drm_godwit_result); 0 where @results is 0. */
	__u32 result_stride;
	/** @flags: In, GODWIT_EXECUTE_*. */
	__u32 flags;
/**
 * define GODWIT_EXECUTE_WAIT - return when the job ended, as DRM_IOCTL_GODWIT_WAIT would. Where
 * that fails with EINTR or EFAULT, @job can still be waited for.
 */
#define GODWIT_EXECUTE_WAIT		(1U << 0)
	/**
	 * @timeout_ms: In, running time after which the job is ended; 0 is the default of the
	 * device.
	 */
	__u32 timeout_ms;
	/** @pad: Zero. */
	__u32 pad;
	/** @job: Out, names the job. */
	__u64 job;
	/**
	 * @status: Out, with GODWIT_EXECUTE_WAIT: 0 or the negative errno of the command that
	 * ended the job.
	 */
	__s32 status;
	/** @pad2: Zero. */
	__u32 pad2;
};

/**
 * struct drm_godwit_wait - DRM_IOCTL_GODWIT_WAIT: wait for a job and fetch its results.
 *
 * The results of a job can be fetched once, by the process that submitted it; the bytes of its
 * READ commands are stored then. Where that fails (EFAULT) they can be fetched again.
 *
 * Errors: ENOENT, no such job, another process's, or fetched. EINVAL, more results than the job
 * has commands. ETIME, not ended within @timeout_ms. EINTR.
 */
struct drm_godwit_wait {
	/** @job: In. */
	__u64 job;
	/** @results: In, pointer to @result_count structures of @result_stride bytes, or 0. */
	__u64 results;
	/** @result_count: In. */
	__u32 result_count;
	/** @result_stride: In, sizeof(struct drm_godwit_result); 0 where @results is 0. */
	__u32 result_stride;
	/** @timeout_ms: In, 0 only looks. */
	__u32 timeout_ms;
	/** @status: Out, 0 or the negative errno of the command that ended the job. */
	__s32 status;
};

/**
 * struct drm_godwit_view - DRM_IOCTL_GODWIT_VIEW: a page range as the device sees it, as a
 * dma-buf.
 *
 * The dma-buf can be mapped with mmap (shared only) and imported by drivers that map it. Touching
 * the mapping is an access of the device: it brings the page to VRAM; touching the memory itself
 * brings it back. The view follows every change of the range. SIGBUS where nothing is mapped any
 * more or may not be accessed in this way, after the process of the range ended or detached, and
 * after the device is gone. The view outlives the descriptor. A child does not inherit the mapping;
 * it may map the descriptor that it inherits. System calls copy from and to it; what pins pages
 * (O_DIRECT) gets none.
 *
 * Errors: EOPNOTSUPP. ENOSPC, max_views. EINTR.
 */
struct drm_godwit_view {
	/** @addr: In, page range. */
	__u64 addr;
	/** @length: In, page range. */
	__u64 length;
	/** @flags: In, GODWIT_VIEW_*. */
	__u32 flags;
/** define GODWIT_VIEW_READ_ONLY - the view may not be written. */
#define GODWIT_VIEW_READ_ONLY		(1U << 0)
/** define GODWIT_VIEW_IN_PLACE - touching the view maps pages where they are. */
#define GODWIT_VIEW_IN_PLACE		(1U << 1)
	/** @fd: Out, closed on exec. */
	__s32 fd;
};

/**
 * struct drm_godwit_export - DRM_IOCTL_GODWIT_EXPORT: memory for other devices, as a dma-buf.
 *
 * Importers that can follow (dynamic ones) get bus addresses of wherever the pages are: in VRAM
 * where all of them reach it, otherwise the range comes to RAM when it is mapped. They are told
 * before pages move, and map again. Importers that cannot follow have the range pinned in RAM for
 * as long as they are attached, as PIN does; to attach fails with EDQUOT beyond RLIMIT_MEMLOCK.
 *
 * The dma-buf is about addresses: what is mapped there when an importer maps it, in the address
 * space of the caller. It stays when @fd's process closes the render node; when that address space
 * ends (ESRCH), the device goes or the mirror is detached (ENODEV), nothing is mapped any more. To
 * map a hole is EFAULT, to map for writing what may not be written EACCES. It cannot be mapped by a
 * CPU: the memory has an address, and views are for the device's side of it.
 *
 * Errors: E2BIG, longer than 64 GiB. ENOSPC, more than 1024 of this descriptor. EINTR.
 */
struct drm_godwit_export {
	/** @addr: In, need not be a multiple of the page size. */
	__u64 addr;
	/** @length: In, not zero. */
	__u64 length;
	/** @flags: In, zero. */
	__u32 flags;
	/** @fd: Out, closed on exec. */
	__s32 fd;
	/** @offset: Out, of @addr within the dma-buf. */
	__u64 offset;
	/** @reserved: Zero. */
	__u64 reserved[2];
};

/**
 * struct drm_godwit_pin - DRM_IOCTL_GODWIT_PIN: hold a page range in one place.
 *
 * Moves the range first where it is elsewhere. All pages or none. Pins add up. munmap, and
 * mremap of the range it moves from, end the pin of these pages; exit and exec of all. The
 * handle works in the address space that it was made in.
 *
 * In VRAM: no eviction, no MIGRATE and no other device takes the pages away
 * (GODWIT_STAY_ADVICE). A CPU that touches private VRAM is served nevertheless, and that page is
 * held no longer. In RAM: a long-term pin of the kernel's.
 *
 * Errors: EOPNOTSUPP. EBUSY, a page could not be moved. EDQUOT, max_pinned for VRAM,
 * RLIMIT_MEMLOCK for RAM, or more than 1024 pins. EFAULT, a hole, or what may not be pinned.
 * E2BIG, longer than 64 GiB.
 */
struct drm_godwit_pin {
	/** @addr: In, page range. */
	__u64 addr;
	/** @length: In, page range. */
	__u64 length;
	/** @place: In, GODWIT_PLACE_SYSTEM or GODWIT_PLACE_VRAM. */
	__u32 place;
	/** @flags: In, zero. */
	__u32 flags;
	/** @handle: Out. */
	__u32 handle;
	/** @pad: Zero. */
	__u32 pad;
};

/**
 * struct drm_godwit_unpin - DRM_IOCTL_GODWIT_UNPIN: let go. Errors: ENOENT.
 */
struct drm_godwit_unpin {
	/** @handle: In. */
	__u32 handle;
	/** @pad: Zero. */
	__u32 pad;
};

/**
 * enum drm_godwit_evict_what - whose pages leave VRAM.
 */
enum drm_godwit_evict_what {
	/** @GODWIT_EVICT_RANGE: Those of a page range of the caller, from this device. */
	GODWIT_EVICT_RANGE = 1,
	/**
	 * @GODWIT_EVICT_CLIENT: Those of one client; of another one's only with CAP_SYS_ADMIN
	 * (EACCES).
	 */
	GODWIT_EVICT_CLIENT = 2,
	/** @GODWIT_EVICT_DEVICE: All; only with CAP_SYS_ADMIN (EACCES). */
	GODWIT_EVICT_DEVICE = 3,
};

/**
 * struct drm_godwit_evict - DRM_IOCTL_GODWIT_EVICT: bring pages home from VRAM.
 *
 * Pinned pages stay. Errors: EACCES. ENOENT, no such client. EINTR.
 */
struct drm_godwit_evict {
	/** @what: In, &enum drm_godwit_evict_what. */
	__u32 what;
	/** @client: In, client_id for GODWIT_EVICT_CLIENT, 0 is the caller; otherwise zero. */
	__u32 client;
	/** @addr: In, GODWIT_EVICT_RANGE, otherwise zero. */
	__u64 addr;
	/** @length: In, GODWIT_EVICT_RANGE, otherwise zero. */
	__u64 length;
	/** @evicted: Out, pages. */
	__u64 evicted;
	/** @stayed: Out, pages that are in VRAM still. */
	__u64 stayed;
	/** @flags: In, zero. */
	__u32 flags;
	/** @pad: Zero. */
	__u32 pad;
};

/**
 * enum drm_godwit_event_type - what happened.
 */
enum drm_godwit_event_type {
	/** @GODWIT_EVENT_FAULT: The device faulted; @detail is 1 for a write. */
	GODWIT_EVENT_FAULT = 1,
	/** @GODWIT_EVENT_MIGRATE: Pages moved on behalf of the mirror's process. */
	GODWIT_EVENT_MIGRATE = 2,
	/** @GODWIT_EVENT_EVICT: Pages left VRAM; @addr is 0 where it is not known. */
	GODWIT_EVENT_EVICT = 3,
	/** @GODWIT_EVENT_INVALIDATE: Translations were taken from the device. */
	GODWIT_EVENT_INVALIDATE = 4,
	/** @GODWIT_EVENT_PEER_REVOKED: The importers of an export were told to let go. */
	GODWIT_EVENT_PEER_REVOKED = 5,
	/**
	 * @GODWIT_EVENT_PEER_MAPPED: An importer mapped an export of @pages; @detail of them are in
	 * VRAM, and @to is GODWIT_PLACE_VRAM where that is not 0.
	 */
	GODWIT_EVENT_PEER_MAPPED = 6,
	/**
	 * @GODWIT_EVENT_JOB: A job ended; @detail is its number, @length the positive errno.
	 */
	GODWIT_EVENT_JOB = 7,
	/** @GODWIT_EVENT_COUNT: One more than the last type. */
	GODWIT_EVENT_COUNT = 8,
};

/**
 * struct drm_godwit_event - a record of the ring.
 */
struct drm_godwit_event {
	/**
	 * @sequence: Counts the events of this ring, lost ones too, from 1. A gap tells how
	 * many were lost.
	 */
	__u64 sequence;
	/** @time_ns: CLOCK_MONOTONIC. */
	__u64 time_ns;
	/** @addr: First byte. */
	__u64 addr;
	/** @length: Bytes. */
	__u64 length;
	/** @detail: As the type says. */
	__u64 detail;
	/** @mirror_id: Whose address space, 0 where it is not known. */
	__u32 mirror_id;
	/** @pages: That moved or were taken. */
	__u32 pages;
	/** @type: &enum drm_godwit_event_type. */
	__u16 type;
	/** @cause: &enum drm_godwit_cause. */
	__u16 cause;
	/** @from: &enum drm_godwit_place. */
	__u8 from;
	/** @to: &enum drm_godwit_place. */
	__u8 to;
	/** @pad: Zero. */
	__u16 pad;
	/** @reserved: Zero. */
	__u64 reserved;
};

/**
 * struct drm_godwit_ring - the first page of the mapped ring.
 *
 * The driver stores a record and then @head; the program reads @head with acquire order, takes
 * the records up to it, and stores @tail with release order. Record n is at index n modulo
 * @capacity. The driver never waits: where the ring is full, records are counted in @lost
 * instead of stored. The driver reads @tail, and relies on nothing in it.
 */
struct drm_godwit_ring {
	/** @head: Records that were stored. Written by the driver. */
	__u64 head;
	/** @tail: Records that were taken. Written by the program. */
	__u64 tail;
	/** @lost: Records that found no room. Written by the driver. */
	__u64 lost;
	/** @capacity: Records, a power of two. */
	__u32 capacity;
	/** @record_size: sizeof(struct drm_godwit_event). */
	__u32 record_size;
	/** @records_offset: Bytes from the start of the mapping to the first record. */
	__u64 records_offset;
	/** @generations_offset: Bytes from the start of the mapping to the generation words. */
	__u64 generations_offset;
	/** @generations: Number of generation words, each a __u64. */
	__u32 generations;
	/** @pad: Zero. */
	__u32 pad;
	/** @reserved: Zero. */
	__u64 reserved[9];
};

/**
 * struct drm_godwit_events - DRM_IOCTL_GODWIT_EVENTS: make the event ring of this descriptor.
 *
 * One ring a descriptor, for all its address spaces. Map it with mmap of @map_offset and
 * @map_length, shared. The descriptor polls as readable (POLLPRI) while the ring is not empty.
 *
 * Errors: EEXIST, made before; @map_offset and @map_length are answered. E2BIG,
 * max_ring_records.
 */
struct drm_godwit_events {
	/** @capacity: In, records, a power of two. */
	__u32 capacity;
	/** @flags: In, zero. */
	__u32 flags;
	/** @types: In, bit n asks for &enum drm_godwit_event_type n. */
	__u64 types;
	/** @map_offset: Out. */
	__u64 map_offset;
	/** @map_length: Out. */
	__u64 map_length;
};

/**
 * struct drm_godwit_watch - DRM_IOCTL_GODWIT_WATCH: a generation word for a page range.
 *
 * The word at index @word of the ring's mapping changes before any byte of the range that is in
 * memory can be anywhere else than it was: whoever reads the same value before and after looking at
 * a cached address may use it. It need not change when a page comes where there was none: a CPU
 * touches it for the first time, or swaps it in. Needs a ring.
 *
 * Errors: ENXIO, no ring. ENOSPC, max_watches. E2BIG, longer than 64 GiB. ENOENT,
 * GODWIT_WATCH_REMOVE of what is not watched.
 */
struct drm_godwit_watch {
	/** @addr: In, page range; with GODWIT_WATCH_REMOVE zero. */
	__u64 addr;
	/** @length: In, page range; with GODWIT_WATCH_REMOVE zero. */
	__u64 length;
	/** @flags: In, GODWIT_WATCH_*. */
	__u32 flags;
/** define GODWIT_WATCH_REMOVE - stop watching with @word. */
#define GODWIT_WATCH_REMOVE		(1U << 0)
	/** @word: Out; in with GODWIT_WATCH_REMOVE. */
	__u32 word;
};

/**
 * enum drm_godwit_stat - index of a counter. All count since the client or the device came to
 * be.
 */
enum drm_godwit_stat {
	/** @GODWIT_STAT_DEVICE_FAULTS: Faults of the device. */
	GODWIT_STAT_DEVICE_FAULTS = 0,
	/** @GODWIT_STAT_CPU_FAULTS: Faults of CPUs on pages in private VRAM. */
	GODWIT_STAT_CPU_FAULTS = 1,
	/** @GODWIT_STAT_PAGES_TO_VRAM: Pages. */
	GODWIT_STAT_PAGES_TO_VRAM = 2,
	/** @GODWIT_STAT_PAGES_HOME: Pages that went to RAM, for whatever cause. */
	GODWIT_STAT_PAGES_HOME = 3,
	/** @GODWIT_STAT_PAGES_EVICTED: Those of PAGES_HOME that made room for others. */
	GODWIT_STAT_PAGES_EVICTED = 4,
	/** @GODWIT_STAT_PAGES_STAYED: Pages that were to move and did not. */
	GODWIT_STAT_PAGES_STAYED = 5,
	/** @GODWIT_STAT_HUGE_TO_VRAM: Folios of huge_page_size. */
	GODWIT_STAT_HUGE_TO_VRAM = 6,
	/** @GODWIT_STAT_HUGE_HOME: Folios of huge_page_size. */
	GODWIT_STAT_HUGE_HOME = 7,
	/** @GODWIT_STAT_HUGE_SPLIT: Huge folios that moved page by page. */
	GODWIT_STAT_HUGE_SPLIT = 8,
	/** @GODWIT_STAT_INVALIDATIONS: Notifications that took translations. */
	GODWIT_STAT_INVALIDATIONS = 9,
	/**
	 * @GODWIT_STAT_INVALIDATIONS_REFUSED: Notifications that had to be put off because they
	 * could not wait.
	 */
	GODWIT_STAT_INVALIDATIONS_REFUSED = 10,
	/** @GODWIT_STAT_RETRIES: Look-ups that were repeated because the range changed. */
	GODWIT_STAT_RETRIES = 11,
	/** @GODWIT_STAT_TIMEOUTS: Look-ups that were given up after a second. */
	GODWIT_STAT_TIMEOUTS = 12,
	/** @GODWIT_STAT_PEER_FETCHES: Pages that were fetched from another device. */
	GODWIT_STAT_PEER_FETCHES = 13,
	/** @GODWIT_STAT_PING_PONG: Times that a range was seen to go back and forth. */
	GODWIT_STAT_PING_PONG = 14,
	/** @GODWIT_STAT_COPY_ERRORS: Copies that the device failed. */
	GODWIT_STAT_COPY_ERRORS = 15,
	/**
	 * @GODWIT_STAT_PAGES_POISONED: Pages that were lost with their device; their owners
	 * were told.
	 */
	GODWIT_STAT_PAGES_POISONED = 16,
	/** @GODWIT_STAT_PAGES_MAPPED: Pages that were mapped where they were. */
	GODWIT_STAT_PAGES_MAPPED = 17,
	/** @GODWIT_STAT_JOBS: Jobs that ended. */
	GODWIT_STAT_JOBS = 18,
	/** @GODWIT_STAT_JOBS_FAILED: Those of JOBS that failed. */
	GODWIT_STAT_JOBS_FAILED = 19,
	/** @GODWIT_STAT_JOB_TIMEOUTS: Those of JOBS_FAILED that were ended by their timeout. */
	GODWIT_STAT_JOB_TIMEOUTS = 20,
	/** @GODWIT_STAT_EVENTS_LOST: Records that found no room in the ring. */
	GODWIT_STAT_EVENTS_LOST = 21,
	/** @GODWIT_STAT_VRAM_BYTES: In VRAM now: a level, not a count. */
	GODWIT_STAT_VRAM_BYTES = 22,
	/** @GODWIT_STAT_VRAM_BYTES_PEAK: The highest level. */
	GODWIT_STAT_VRAM_BYTES_PEAK = 23,
	/** @GODWIT_STAT_MIRRORS: Address spaces attached now: a level. */
	GODWIT_STAT_MIRRORS = 24,
	/** @GODWIT_STAT_PEER_MAPS: Mappings that importers of EXPORT made. */
	GODWIT_STAT_PEER_MAPS = 25,
	/** @GODWIT_STAT_PEER_REVOKES: Times that importers were told to let go. */
	GODWIT_STAT_PEER_REVOKES = 26,
	/** @GODWIT_STAT_PEER_TIMEOUTS: Those of them that did not for two seconds. */
	GODWIT_STAT_PEER_TIMEOUTS = 27,
	/**
	 * @GODWIT_STAT_PEER_BYTES_HOME: Bytes that came to RAM since an importer cannot reach
	 * them in VRAM, or needs a pin.
	 */
	GODWIT_STAT_PEER_BYTES_HOME = 28,
	/** @GODWIT_STAT_PEER_BYTES_DIRECT: Bytes that came from another device's VRAM directly. */
	GODWIT_STAT_PEER_BYTES_DIRECT = 29,
	/** @GODWIT_STAT_PEER_BYTES_STAGED: Bytes that came from there through RAM. */
	GODWIT_STAT_PEER_BYTES_STAGED = 30,
	/** @GODWIT_STAT_COUNT: Number of counters that this header knows. */
	GODWIT_STAT_COUNT = 31,
};

/**
 * enum drm_godwit_stats_scope - whose counters.
 */
enum drm_godwit_stats_scope {
	/** @GODWIT_STATS_CLIENT: Of this descriptor. */
	GODWIT_STATS_CLIENT = 0,
	/** @GODWIT_STATS_DEVICE: Of the device. */
	GODWIT_STATS_DEVICE = 1,
};

/**
 * struct drm_godwit_stats - DRM_IOCTL_GODWIT_STATS: read counters. Attaches nothing.
 *
 * Errors: E2BIG, @count beyond 512.
 */
struct drm_godwit_stats {
	/** @scope: In, &enum drm_godwit_stats_scope. */
	__u32 scope;
	/** @count: In, words at @values; 0 only asks. Out, counters that the driver has. */
	__u32 count;
	/**
	 * @values: In, pointer to @count __u64, indexed by &enum drm_godwit_stat. What the
	 * driver lacks is set to 0.
	 */
	__u64 values;
};

/**
 * struct drm_godwit_gem_create - DRM_IOCTL_GODWIT_GEM_CREATE: an object of VRAM that is not the
 * process's memory.
 *
 * Starts as zeros. Can be mapped (@map_offset), shared (PRIME) and evicted to RAM, with its CPU
 * pointer intact.
 *
 * Mappings must be shared. O_DIRECT into a mapping works in RAM, and in VRAM on devices of
 * GODWIT_KIND_EXPLICIT; elsewhere it is EFAULT.
 *
 * An importer of its dma-buf that wants bus addresses holds it in RAM. One that maps it in the
 * kernel (videobuf2) holds it where it is on devices of GODWIT_KIND_EXPLICIT, elsewhere in RAM.
 *
 * Errors: EOPNOTSUPP. ENOSPC, no room. EDQUOT, max_pinned. E2BIG, larger than 64 GiB. EINTR.
 */
struct drm_godwit_gem_create {
	/** @size: In, bytes; out, rounded up to pages. */
	__u64 size;
	/** @place: In, GODWIT_PLACE_VRAM or GODWIT_PLACE_SYSTEM. */
	__u32 place;
	/** @flags: In, GODWIT_GEM_*. */
	__u32 flags;
/** define GODWIT_GEM_PINNED - never evicted; counts against max_pinned, wherever it is. */
#define GODWIT_GEM_PINNED		(1U << 0)
	/** @handle: Out. */
	__u32 handle;
	/** @pad: Zero. */
	__u32 pad;
	/** @map_offset: Out, for mmap on the render node. */
	__u64 map_offset;
};

/**
 * struct drm_godwit_gem_info - DRM_IOCTL_GODWIT_GEM_INFO. Errors: ENOENT.
 */
struct drm_godwit_gem_info {
	/** @handle: In. */
	__u32 handle;
	/** @place: Out, where it is now. */
	__u32 place;
	/** @size: Out, bytes. */
	__u64 size;
	/** @map_offset: Out. */
	__u64 map_offset;
	/** @flags: Out, GODWIT_GEM_*. */
	__u32 flags;
	/** @pad: Zero. */
	__u32 pad;
};

/**
 * struct drm_godwit_gem_move - DRM_IOCTL_GODWIT_GEM_MOVE: place an object elsewhere.
 *
 * Errors: ENOENT. ENOSPC. EBUSY, somebody holds it where it is: GODWIT_GEM_PINNED, I/O on one of
 * its pages, an importer. EINTR.
 */
struct drm_godwit_gem_move {
	/** @handle: In. */
	__u32 handle;
	/** @place: In, GODWIT_PLACE_VRAM or GODWIT_PLACE_SYSTEM. */
	__u32 place;
	/** @flags: In, zero. */
	__u32 flags;
	/** @pad: Zero. */
	__u32 pad;
};

#define DRM_IOCTL_GODWIT_QUERY \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_QUERY, struct drm_godwit_query)
#define DRM_IOCTL_GODWIT_ATTACH \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_ATTACH, struct drm_godwit_attach)
#define DRM_IOCTL_GODWIT_MIGRATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_MIGRATE, struct drm_godwit_migrate)
#define DRM_IOCTL_GODWIT_ADVISE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_ADVISE, struct drm_godwit_advise)
#define DRM_IOCTL_GODWIT_DISCARD \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_DISCARD, struct drm_godwit_discard)
#define DRM_IOCTL_GODWIT_RESIDENCY \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_RESIDENCY, struct drm_godwit_residency)
#define DRM_IOCTL_GODWIT_EXECUTE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_EXECUTE, struct drm_godwit_execute)
#define DRM_IOCTL_GODWIT_WAIT \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_WAIT, struct drm_godwit_wait)
#define DRM_IOCTL_GODWIT_VIEW \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_VIEW, struct drm_godwit_view)
#define DRM_IOCTL_GODWIT_EXPORT \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_EXPORT, struct drm_godwit_export)
#define DRM_IOCTL_GODWIT_PIN \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_PIN, struct drm_godwit_pin)
#define DRM_IOCTL_GODWIT_UNPIN \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_UNPIN, struct drm_godwit_unpin)
#define DRM_IOCTL_GODWIT_EVICT \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_EVICT, struct drm_godwit_evict)
#define DRM_IOCTL_GODWIT_EVENTS \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_EVENTS, struct drm_godwit_events)
#define DRM_IOCTL_GODWIT_WATCH \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_WATCH, struct drm_godwit_watch)
#define DRM_IOCTL_GODWIT_STATS \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_STATS, struct drm_godwit_stats)
#define DRM_IOCTL_GODWIT_GEM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_GEM_CREATE, struct drm_godwit_gem_create)
#define DRM_IOCTL_GODWIT_GEM_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_GEM_INFO, struct drm_godwit_gem_info)
#define DRM_IOCTL_GODWIT_GEM_MOVE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_GODWIT_GEM_MOVE, struct drm_godwit_gem_move)

#if defined(__cplusplus)
}
#endif

#endif /* _UAPI_GODWIT_DRM_H_ */
