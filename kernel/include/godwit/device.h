/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a device driver needs to plug into godwit.ko.
 */
#ifndef _GODWIT_DEVICE_H_
#define _GODWIT_DEVICE_H_

#include <linux/types.h>

#include <godwit/peer.h>

struct device;
struct dma_fence;
struct godwit_device;
struct page;

/**
 * DOC: Writing a device driver
 *
 * A driver describes its VRAM (&struct godwit_device_desc), gives a few operations
 * (&struct godwit_device_ops), calls godwit_device_register() and has a render node. At the
 * end, godwit_device_unregister() brings every page home, through those operations, and returns
 * when no page of the VRAM is in use: only then may the driver take its hardware down. Nobody
 * holds the driver's module: its exit unregisters its devices, which waits for all operations.
 *
 * The framework owns: which frame of VRAM holds what, the page tables of the mirrors, when
 * pages move, and the render node. The driver owns: the hardware. The framework never touches
 * VRAM except through &godwit_device_ops, and the operations never call back into the
 * framework.
 *
 * Frames are page-sized and numbered from 0. A frame whose page was freed may be handed out
 * again at once, so an operation must not touch a frame after its end. Whatever is handed
 * out is overwritten in full, by a copy or with zeros, before anybody can see it.
 *
 * Copies are asynchronous, as an engine works: the framework asks for one as soon as it knows
 * what goes where, prepares the next while the engine is busy, and waits for the fence of each
 * before it tells the kernel that the pages have moved. A device without an engine copies while
 * it is asked.
 *
 * Sleep of the system: everything comes home first. When the driver's own callbacks for it are
 * called no frame is in use and no operation runs; no byte of VRAM has to be kept.
 *
 * Context: unless an operation says otherwise it may sleep; it must not take mmap_lock, must
 * not fault, and must not allocate memory in a way that reclaims (use GFP_NOIO at the most, and
 * have what copies need allocated beforehand): migrations call it with pages locked, and
 * reclaim would wait for these.
 */

/**
 * enum godwit_vram_kind - how CPUs see the VRAM, as &enum drm_godwit_device_kind.
 */
enum godwit_vram_kind {
	/** @GODWIT_VRAM_PRIVATE: They do not. Pages are MEMORY_DEVICE_PRIVATE. */
	GODWIT_VRAM_PRIVATE = 1,
	/**
	 * @GODWIT_VRAM_COHERENT: As memory. Pages are MEMORY_DEVICE_COHERENT over
	 * &godwit_device_desc.vram_phys, 4 KiB only.
	 */
	GODWIT_VRAM_COHERENT = 2,
	/**
	 * @GODWIT_VRAM_EXPLICIT: For objects only; the process's own memory does not migrate.
	 */
	GODWIT_VRAM_EXPLICIT = 3,
};

/**
 * struct godwit_copy - one piece of a copy.
 *
 * @page: first page of RAM; the @pages pages from here on are one folio, or part of one. NULL, to
 *	VRAM only: the frames are filled with zeros.
 * @frame: first frame of VRAM; the following frames are contiguous.
 * @pages: how many.
 */
struct godwit_copy {
	struct page *page;
	unsigned long frame;
	unsigned int pages;
};

/**
 * struct godwit_device_ops - what the framework asks of a device.
 */
struct godwit_device_ops {
	/**
	 * @copy_to_vram: required. Copies @count pieces from RAM to VRAM, or begins to. Called
	 * concurrently; copies that are under way at the same time have no frame and no page in
	 * common, and may end in any order.
	 *
	 * Return: NULL, all bytes have arrived, and are seen by the device and by
	 * @copy_from_vram. A fence, with a reference for the caller: that is so when it signals
	 * without an error. It must signal in finite time, whatever happens to the engine; until
	 * then @pieces, the pages and the frames stay. An ERR_PTR: nothing was begun. On an
	 * error nothing may be assumed about any piece, and none may be touched any more; the
	 * framework leaves all the pages where they were. A CPU's copy to a card that does not
	 * answer ends like any other: who copies so asks the card afterwards, as pci/pci.c does.
	 */
	struct dma_fence *(*copy_to_vram)(struct godwit_device *gdev,
					  const struct godwit_copy *pieces, unsigned int count);

	/**
	 * @copy_from_vram: required. The other way, in the same manner. When it fails, the
	 * framework tries each piece alone, and gives up only those that fail again: the page
	 * stays in VRAM, or, where the device is going away, is poisoned and its owner told.
	 */
	struct dma_fence *(*copy_from_vram)(struct godwit_device *gdev,
					    const struct godwit_copy *pieces, unsigned int count);

	/**
	 * @copy_help: optional, for engines that are CPUs: somebody is about to wait for @fence,
	 * which one of the two above gave, and has nothing else to do. Copies along. It may return
	 * before the fence has signalled.
	 */
	void (*copy_help)(struct godwit_device *gdev, struct dma_fence *fence);

	/**
	 * @invalidate: optional, for devices that translate addresses on their own. The
	 * translations of page table @asid from @start to @end (bytes, exclusive) are gone from
	 * godwit's table. When it returns the device must use none of them any more: no cached
	 * translation, and no access that began with one. Called in an MMU notifier: must not
	 * allocate, must not wait for anything that may allocate, and must always end.
	 */
	void (*invalidate)(struct godwit_device *gdev, u32 asid, u64 start, u64 end);

	/**
	 * @cpu_address: optional, required for the command queue of the framework. Kernel
	 * address of a frame, valid to the end of that frame only, and until unregistration.
	 * Any context.
	 */
	void *(*cpu_address)(struct godwit_device *gdev, unsigned long frame);

	/**
	 * @cpu_pfn: optional, required for views. Page frame number with which a CPU can map a
	 * frame. Any context.
	 */
	unsigned long (*cpu_pfn)(struct godwit_device *gdev, unsigned long frame);

	/**
	 * @cpu_page: optional, EXPLICIT only: the page of a frame, with which
	 * objects are mapped so that I/O can reach them (peer-to-peer pages).
	 * The driver holds one reference to each, from registration until after
	 * unregistration. Any context.
	 */
	struct page *(*cpu_page)(struct godwit_device *gdev, unsigned long frame);

	/**
	 * @peer_reach: optional, needs @cpu_pfn: how does another device reach the VRAM? Without it
	 * none does, and what others use comes to RAM. With GODWIT_REACH_SWITCH, @bus_offset is
	 * what to add to a physical address of @cpu_pfn for the address on the bus. Must always
	 * give the same answer for the same @dev. May not sleep for long, nor allocate in a way
	 * that reclaims.
	 */
	enum godwit_reach (*peer_reach)(struct godwit_device *gdev, struct device *dev,
					s64 *bus_offset);

	/**
	 * @copy_peer: optional. Copies @pages frames of another device, from @from_frame on, to
	 * @frame and the following ones, and returns when all bytes have arrived. Called only where
	 * this device reaches the VRAM of @from, as @from's @peer_reach has it. Fails as well where
	 * @from may not have given its bytes. Where it fails, and without it, pages go through RAM.
	 */
	int (*copy_peer)(struct godwit_device *gdev, unsigned long frame,
			 struct godwit_device *from, unsigned long from_frame,
			 unsigned int pages);
};

/**
 * struct godwit_device_desc - what a device is. Copied at registration.
 */
struct godwit_device_desc {
	/** @driver: name of the driver, shorter than 32 bytes. */
	const char *driver;
	/** @name: of this device, shorter than 64 bytes. */
	const char *name;
	/** @kind: how CPUs see the VRAM. */
	enum godwit_vram_kind kind;
	/** @vram_size: bytes, a multiple of 2 MiB, and not zero. */
	u64 vram_size;
	/** @vram_phys: COHERENT only: where the CPU sees it, aligned to 2 MiB; otherwise 0. */
	phys_addr_t vram_phys;
	/** @ops: stays the driver's, unchanged until unregistration has returned. */
	const struct godwit_device_ops *ops;
	/** @priv: the driver's, see godwit_device_priv(). */
	void *priv;
};

/**
 * godwit_device_register() - give a device a render node.
 * @parent: the device on its bus. Must be bound, and stay so until unregistration.
 * @desc: what it is.
 *
 * Return: the device, or an ERR_PTR. -EINVAL where @desc breaks a rule of it.
 */
struct godwit_device *godwit_device_register(struct device *parent,
					     const struct godwit_device_desc *desc);

/**
 * godwit_device_unregister() - take the render node away and bring all pages home.
 * @gdev: the device; NULL and ERR_PTR do nothing.
 *
 * Ends running jobs, refuses new work with -ENODEV, brings every page to RAM. A page that the
 * device cannot copy any more is poisoned, and processes that use it get SIGBUS. Sleeps, and
 * waits for whoever still holds a page of coherent VRAM for I/O. Programs may keep the render
 * node open; the operations are not called after this returns.
 */
void godwit_device_unregister(struct godwit_device *gdev);

/**
 * godwit_device_frame() - kernel address of a frame, for a @copy_peer by the CPU.
 * @gdev: any device, in an operation that names it.
 * @frame: the frame.
 *
 * Return: &godwit_device_ops.cpu_address of its driver, or NULL where it has none.
 */
void *godwit_device_frame(struct godwit_device *gdev, unsigned long frame);

/**
 * godwit_device_parent() - the device on its bus, as godwit_device_register() was told.
 * @gdev: any device, in an operation that names it.
 */
struct device *godwit_device_parent(struct godwit_device *gdev);

/**
 * godwit_device_priv() - &godwit_device_desc.priv of a device.
 * @gdev: the device.
 */
void *godwit_device_priv(struct godwit_device *gdev);

#endif /* _GODWIT_DEVICE_H_ */
