// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: godwit_soft
 *
 * Overview: devices whose VRAM is a piece of RAM, for tests and for machines without a device.
 * Any number, of any size, by parameter:
 *
 *   modprobe godwit_soft devices=private:64M,private:16M,coherent:32M@0x180000000
 *
 * Devices come and go also while the module is loaded:
 *
 *   echo private:16M > /sys/module/godwit_soft/parameters/add
 *   echo godwit_soft.2 > /sys/module/godwit_soft/parameters/remove
 *
 * A coherent device needs physical addresses that the kernel does not use as RAM, for instance
 * those of the boot parameter memmap=32M$0x180000000.
 *
 * A thread plays the engine of each device, one copy after the other, on whatever CPU is free.
 *
 * Locking: soft_lock around the list of devices. Copies need none: they touch only the frames
 * that they were given.
 */
#include <linux/delay.h>
#include <linux/device/faux.h>
#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include <godwit/device.h>

#define SOFT_INLINE_PAGES	32

static char *devices = "private:64M";
module_param(devices, charp, 0444);
MODULE_PARM_DESC(devices,
		 "Devices to make: kind:size[,...]; private:64M, or coherent:32M@address (default private:64M)");

static unsigned int fail_copies;
module_param(fail_copies, uint, 0644);
MODULE_PARM_DESC(fail_copies,
		 "For tests: let this many of the next copies from VRAM fail (default 0)");

static unsigned int slow_copies;
module_param(slow_copies, uint, 0644);
MODULE_PARM_DESC(slow_copies,
		 "For tests: let each request to copy take this many microseconds longer (default 0)");

/**
 * struct soft_device - one device.
 */
struct soft_device {
	/** @link: in soft_devices. */
	struct list_head link;
	/** @faux: its parent. */
	struct faux_device *faux;
	/** @gdev: its render node. */
	struct godwit_device *gdev;
	/** @memory: its VRAM. */
	void *memory;
	/** @coherent: @memory is a mapping of physical addresses. */
	bool coherent;
	/** @phys: of @memory, where coherent. */
	phys_addr_t phys;
	/** @size: bytes. */
	u64 size;
	/** @engine: copies. */
	struct kthread_worker *engine;
	/** @fences: context of the engine's fences. */
	u64 fences;
	/** @requests: how many the engine was given. */
	atomic64_t requests;
	/** @name: of the device, and of its parent. */
	char name[32];
};

/* Protects soft_devices and soft_count; held while a device comes or goes. */
static DEFINE_MUTEX(soft_lock);
static LIST_HEAD(soft_devices);
static unsigned int soft_count;

static void *soft_frame(struct godwit_device *gdev, unsigned long frame)
{
	struct soft_device *soft = godwit_device_priv(gdev);

	return soft->memory + (frame << PAGE_SHIFT);
}

static bool soft_fail(void)
{
	unsigned int left = READ_ONCE(fail_copies);

	while (left)
		if (try_cmpxchg(&fail_copies, &left, left - 1))
			return true;
	return false;
}

static int soft_copy(struct godwit_device *gdev, const struct godwit_copy *pieces,
		     unsigned int count, bool to_vram)
{
	unsigned int n, i;

	if (!to_vram && soft_fail())
		return -EIO;
	if (READ_ONCE(slow_copies))
		fsleep(READ_ONCE(slow_copies));
	for (n = 0; n < count; n++) {
		void *vram = soft_frame(gdev, pieces[n].frame);

		for (i = 0; i < pieces[n].pages; i++, vram += PAGE_SIZE) {
			if (!pieces[n].page)
				clear_page(vram);
			else if (to_vram)
				copy_page(vram, page_address(pieces[n].page + i));
			else
				copy_page(page_address(pieces[n].page + i), vram);
		}
		cond_resched();
	}
	return 0;
}

/**
 * struct soft_request - what the engine is asked to copy.
 */
struct soft_request {
	/** @fence: of the request; first, so that it is freed with it. */
	struct dma_fence fence;
	/** @work: for the engine. */
	struct kthread_work work;
	/** @gdev: the device. */
	struct godwit_device *gdev;
	/** @pieces: what; the caller's until @fence has signalled. */
	const struct godwit_copy *pieces;
	/** @count: of @pieces. */
	unsigned int count;
	/** @to_vram: which way. */
	bool to_vram;
};

static const char *soft_fence_name(struct dma_fence *fence)
{
	return "godwit_soft";
}

static const struct dma_fence_ops soft_fence_ops = {
	.get_driver_name = soft_fence_name,
	.get_timeline_name = soft_fence_name,
};

/* The engine. */
static void soft_engine(struct kthread_work *work)
{
	struct soft_request *request = container_of(work, struct soft_request, work);
	int ret = soft_copy(request->gdev, request->pieces, request->count, request->to_vram);

	if (ret)
		dma_fence_set_error(&request->fence, ret);
	dma_fence_signal(&request->fence);
	dma_fence_put(&request->fence);
}

/* Copies that are over sooner than the engine wakes up are not worth it. */
static bool soft_is_small(const struct godwit_copy *pieces, unsigned int count)
{
	unsigned int pages = 0, n;

	for (n = 0; n < count && pages <= SOFT_INLINE_PAGES; n++)
		pages += pieces[n].pages;
	return pages <= SOFT_INLINE_PAGES;
}

static struct dma_fence *soft_submit(struct godwit_device *gdev, const struct godwit_copy *pieces,
				     unsigned int count, bool to_vram)
{
	struct soft_device *soft = godwit_device_priv(gdev);
	struct soft_request *request = NULL;

	if (!soft_is_small(pieces, count))
		request = kzalloc_obj(*request, GFP_NOWAIT);
	if (!request)
		return ERR_PTR(soft_copy(gdev, pieces, count, to_vram));
	request->gdev = gdev;
	request->pieces = pieces;
	request->count = count;
	request->to_vram = to_vram;
	dma_fence_init(&request->fence, &soft_fence_ops, NULL, soft->fences,
		       atomic64_inc_return(&soft->requests));
	kthread_init_work(&request->work, soft_engine);
	/* One for the engine, one for the caller. */
	dma_fence_get(&request->fence);
	kthread_queue_work(soft->engine, &request->work);
	return &request->fence;
}

static struct dma_fence *soft_copy_to_vram(struct godwit_device *gdev,
					   const struct godwit_copy *pieces, unsigned int count)
{
	return soft_submit(gdev, pieces, count, true);
}

static struct dma_fence *soft_copy_from_vram(struct godwit_device *gdev,
					     const struct godwit_copy *pieces, unsigned int count)
{
	return soft_submit(gdev, pieces, count, false);
}

static unsigned long soft_cpu_pfn(struct godwit_device *gdev, unsigned long frame)
{
	struct soft_device *soft = godwit_device_priv(gdev);

	if (soft->coherent)
		return PHYS_PFN(soft->phys) + frame;
	return vmalloc_to_pfn(soft_frame(gdev, frame));
}

/* It is RAM. */
static enum godwit_reach soft_peer_reach(struct godwit_device *gdev, struct device *dev,
					 s64 *bus_offset)
{
	return GODWIT_REACH_MEMORY;
}

/* The other one is a piece of RAM too: everything else does not let us reach it. */
static int soft_copy_peer(struct godwit_device *gdev, unsigned long frame,
			  struct godwit_device *from, unsigned long from_frame, unsigned int pages)
{
	unsigned int i;

	for (i = 0; i < pages; i++) {
		void *memory = godwit_device_frame(from, from_frame + i);

		if (!memory)
			return -EOPNOTSUPP;
		copy_page(soft_frame(gdev, frame + i), memory);
	}
	return 0;
}

static const struct godwit_device_ops soft_ops = {
	.copy_to_vram = soft_copy_to_vram,
	.copy_from_vram = soft_copy_from_vram,
	.cpu_address = soft_frame,
	.cpu_pfn = soft_cpu_pfn,
	.peer_reach = soft_peer_reach,
	.copy_peer = soft_copy_peer,
};

static int soft_memory(struct soft_device *soft)
{
	if (soft->coherent)
		soft->memory = memremap(soft->phys, soft->size, MEMREMAP_WB);
	else
		soft->memory = vmalloc_huge(soft->size, GFP_KERNEL);
	return soft->memory ? 0 : -ENOMEM;
}

static void soft_destroy(struct soft_device *soft)
{
	/* First: it brings all memory home, and needs the engine to do so. */
	godwit_device_unregister(soft->gdev);
	if (!IS_ERR_OR_NULL(soft->engine))
		kthread_destroy_worker(soft->engine);
	if (soft->coherent && soft->memory)
		memunmap(soft->memory);
	else
		vfree(soft->memory);
	if (soft->faux)
		faux_device_destroy(soft->faux);
	kfree(soft);
}

static int soft_create(bool coherent, u64 size, phys_addr_t phys)
{
	struct godwit_device_desc desc = {
		.driver = "soft",
		.kind = coherent ? GODWIT_VRAM_COHERENT : GODWIT_VRAM_PRIVATE,
		.vram_size = size,
		.vram_phys = phys,
		.owner = THIS_MODULE,
		.ops = &soft_ops,
	};
	struct soft_device *soft;
	int ret;

	soft = kzalloc_obj(*soft);
	if (!soft)
		return -ENOMEM;
	soft->coherent = coherent;
	soft->phys = phys;
	soft->size = size;
	snprintf(soft->name, sizeof(soft->name), "godwit_soft.%u", soft_count);
	soft->faux = faux_device_create(soft->name, NULL, NULL);
	ret = soft->faux ? soft_memory(soft) : -ENODEV;
	if (!ret) {
		soft->fences = dma_fence_context_alloc(1);
		soft->engine = kthread_run_worker(0, "%s", soft->name);
		ret = PTR_ERR_OR_ZERO(soft->engine);
	}
	if (!ret) {
		desc.name = soft->name;
		desc.priv = soft;
		soft->gdev = godwit_device_register(&soft->faux->dev, &desc);
		ret = PTR_ERR_OR_ZERO(soft->gdev);
	}
	if (ret) {
		soft_destroy(soft);
		return ret;
	}
	list_add_tail(&soft->link, &soft_devices);
	soft_count++;
	return 0;
}

/* kind:size[@address] */
static int soft_parse(char *text)
{
	char *kind = strsep(&text, ":"), *end;
	phys_addr_t phys = 0;
	bool coherent;
	u64 size;

	if (!text)
		return -EINVAL;
	coherent = !strcmp(kind, "coherent");
	if (!coherent && strcmp(kind, "private"))
		return -EINVAL;
	size = memparse(text, &end);
	if (*end == '@' && coherent)
		phys = memparse(end + 1, &end);
	if (*end)
		return -EINVAL;
	return soft_create(coherent, size, phys);
}

/* A list of them; stops at the first that fails. */
static int soft_parse_list(const char *text)
{
	char *list = kstrdup(text, GFP_KERNEL), *rest = list, *one;
	int ret = 0;

	if (!list)
		return -ENOMEM;
	mutex_lock(&soft_lock);
	while (!ret && (one = strsep(&rest, ",")))
		if (*strim(one))
			ret = soft_parse(strim(one));
	mutex_unlock(&soft_lock);
	kfree(list);
	return ret;
}

static int soft_add_set(const char *text, const struct kernel_param *param)
{
	/* Set at load time it would come before the module is ready. */
	if (system_state < SYSTEM_RUNNING || THIS_MODULE->state != MODULE_STATE_LIVE)
		return -EINVAL;
	return soft_parse_list(text);
}

static int soft_remove_set(const char *text, const struct kernel_param *param)
{
	struct soft_device *soft, *found = NULL;

	mutex_lock(&soft_lock);
	list_for_each_entry(soft, &soft_devices, link)
		if (sysfs_streq(text, soft->name))
			found = soft;
	if (found) {
		list_del(&found->link);
		soft_destroy(found);
	}
	mutex_unlock(&soft_lock);
	return found ? 0 : -ENODEV;
}

static const struct kernel_param_ops soft_add_ops = { .set = soft_add_set };
static const struct kernel_param_ops soft_remove_ops = { .set = soft_remove_set };

module_param_cb(add, &soft_add_ops, NULL, 0200);
MODULE_PARM_DESC(add, "Write kind:size[,...] to make more devices");
module_param_cb(remove, &soft_remove_ops, NULL, 0200);
MODULE_PARM_DESC(remove, "Write the name of a device to remove it, as if it were unplugged");

static void soft_exit(void)
{
	struct soft_device *soft, *next;

	list_for_each_entry_safe(soft, next, &soft_devices, link) {
		list_del(&soft->link);
		soft_destroy(soft);
	}
}

static int __init soft_init(void)
{
	int ret = soft_parse_list(devices);

	if (ret) {
		pr_err("godwit_soft: device %u of \"%s\": error %d\n", soft_count, devices, ret);
		soft_exit();
	}
	return ret;
}

module_init(soft_init);
module_exit(soft_exit);

MODULE_DESCRIPTION("Godwit devices whose VRAM is a piece of RAM");
MODULE_AUTHOR("The Godwit authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
