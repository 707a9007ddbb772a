/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note OR MIT */
/*
 * /dev/godwit_edu.ADDRESS: DMA by QEMU's edu device of that address on the bus to the memory behind
 * a dma-buf. For tests.
 */
#ifndef _EDU_UAPI_H_
#define _EDU_UAPI_H_

#include <linux/ioctl.h>
#include <linux/types.h>

/* The most bytes of one transfer. */
#define EDU_MAX		2048

/**
 * enum edu_mode - how the driver imports.
 */
enum edu_mode {
	/** @EDU_DYNAMIC: As a dynamic importer, with peer-to-peer addresses and fences. */
	EDU_DYNAMIC = 0,
	/** @EDU_STATIC: As one that cannot follow. */
	EDU_STATIC = 1,
	/** @EDU_HELPER: By the helpers of godwit/peer.h. */
	EDU_HELPER = 2,
	/** @EDU_STUBBORN: As EDU_DYNAMIC, and does not unmap when it is told to. */
	EDU_STUBBORN = 3,
	/** @EDU_NO_PEER: As EDU_DYNAMIC, with addresses of RAM only. */
	EDU_NO_PEER = 4,
};

/**
 * enum edu_transfer_flags - of &edu_transfer.flags: a transfer with the memory that lasts.
 *
 * The device moves the first 8 bytes, again and again, until something happens, and then, once, all
 * of them. -ETIMEDOUT: it did not happen in ten seconds.
 */
enum edu_transfer_flags {
	/** @EDU_UNTIL_TOLD: The driver is told to let go of the memory. Not with EDU_STATIC. */
	EDU_UNTIL_TOLD = 1,
	/** @EDU_UNTIL_ASKED: EDU_FINISH is called. */
	EDU_UNTIL_ASKED = 2,
};

/** struct edu_import - EDU_IMPORT: attach to a dma-buf, instead of another one. */
struct edu_import {
	/** @fd: In, the dma-buf, or -1: to none. */
	__s32 fd;
	/** @mode: In, &enum edu_mode. */
	__u32 mode;
};

/** struct edu_transfer - EDU_READ and EDU_WRITE: between the memory and a buffer; EDU_COPY. */
struct edu_transfer {
	/** @offset: In, in the dma-buf, from where to read, or where to write to. */
	__u64 offset;
	/** @buffer: In, pointer to @length bytes; EDU_COPY: offset in the dma-buf to write to. */
	__u64 buffer;
	/** @length: In, a multiple of 8, at most EDU_MAX, within one page. */
	__u32 length;
	/** @flags: In, &enum edu_transfer_flags. */
	__u32 flags;
	/** @address: Out, DMA address at @offset that was used. */
	__u64 address;
};

/** struct edu_counts - EDU_COUNTS. */
struct edu_counts {
	/** @maps: Out, mappings that were made. */
	__u64 maps;
	/** @again: Out, mappings that answered EAGAIN. */
	__u64 again;
	/** @invalidations: Out, times that it was told to let go of a mapping. */
	__u64 invalidations;
	/** @waited: Out, those that came while a transfer was under way. */
	__u64 waited;
	/** @reach: Out, &enum godwit_reach, or a negative errno. */
	__s64 reach;
	/** @begun: Out, transfers with memory of any file that the device has begun. */
	__u64 begun;
};

#define EDU_IMPORT	_IOW('E', 0, struct edu_import)
/* From the memory into the buffer. */
#define EDU_READ	_IOWR('E', 1, struct edu_transfer)
/* From the buffer into the memory. */
#define EDU_WRITE	_IOWR('E', 2, struct edu_transfer)
/* From one place in the memory to another one. */
#define EDU_COPY	_IOWR('E', 3, struct edu_transfer)
#define EDU_COUNTS	_IOR('E', 4, struct edu_counts)
/*
 * Waits until the device has begun more transfers than that, and says how many; also during one of
 * another thread.
 */
#define EDU_AWAIT	_IOWR('E', 5, __u64)
/* Ends the transfer of another thread that waits for it. */
#define EDU_FINISH	_IO('E', 6)
/* Pins the memory, as often as it is unpinned; of importers that can follow. */
#define EDU_PIN		_IO('E', 7)
#define EDU_UNPIN	_IO('E', 8)
/*
 * Of EDU_HELPER: so often begins two transfers with a new mapping, in both directions at the same
 * time; without any DMA.
 */
#define EDU_TURNS	_IOW('E', 9, __u32)

#endif /* _EDU_UAPI_H_ */
