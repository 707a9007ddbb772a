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
 * What copies is in engine.c.
 *
 * Locking: soft_lock around the list of devices.
 */
#include <linux/align.h>
#include <linux/device/faux.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

#include <godwit/device.h>

#include "engine.h"

static char *devices = "private:64M";
module_param(devices, charp, 0444);
MODULE_PARM_DESC(devices,
		 "Devices to make: kind:size[,...]; private:64M, or coherent:32M@address (default private:64M)");

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
	struct soft_engine *engine;
	/** @name: of the device, and of its parent. */
	char name[32];
};

/* Protects soft_devices and soft_count; held while a device comes or goes. */
static DEFINE_MUTEX(soft_lock);
static LIST_HEAD(soft_devices);
static unsigned int soft_count;
/* The module goes: nobody makes devices any more. Under soft_lock. */
static bool soft_gone;

static void *soft_frame(struct godwit_device *gdev, unsigned long frame)
{
	struct soft_device *soft = godwit_device_priv(gdev);

	return soft->memory + (frame << PAGE_SHIFT);
}

static struct dma_fence *soft_copy_to_vram(struct godwit_device *gdev,
					   const struct godwit_copy *pieces, unsigned int count)
{
	struct soft_device *soft = godwit_device_priv(gdev);

	return soft_engine_copy(soft->engine, pieces, count, true);
}

static struct dma_fence *soft_copy_from_vram(struct godwit_device *gdev,
					     const struct godwit_copy *pieces, unsigned int count)
{
	struct soft_device *soft = godwit_device_priv(gdev);

	return soft_engine_copy(soft->engine, pieces, count, false);
}

static void soft_copy_help(struct godwit_device *gdev, struct dma_fence *fence)
{
	soft_engine_help(fence);
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
	.copy_help = soft_copy_help,
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
		soft_engine_destroy(soft->engine);
	if (soft->coherent && soft->memory)
		memunmap(soft->memory);
	else
		vfree(soft->memory);
	if (soft->faux)
		faux_device_destroy(soft->faux);
	kfree(soft);
}

/* Before anything is made: what the kernel is asked for otherwise it warns of. */
static int soft_check(bool coherent, u64 size, phys_addr_t phys)
{
	const struct soft_device *soft;

	if (!size || !IS_ALIGNED(size, SZ_2M)) {
		pr_err("godwit_soft: size %llu: multiples of 2M are allowed\n", size);
		return -EINVAL;
	}
	if (!coherent)
		return 0;
	if (!phys || !IS_ALIGNED(phys, SZ_2M)) {
		pr_err("godwit_soft: address %pa: multiples of 2M are allowed, as in coherent:32M@6G\n",
		       &phys);
		return -EINVAL;
	}
	if (phys > iomem_resource.end || size - 1 > iomem_resource.end - phys) {
		pr_err("godwit_soft: %llu bytes at %pa: addresses up to %pa are allowed\n", size,
		       &phys, &iomem_resource.end);
		return -EINVAL;
	}
	if (region_intersects(phys, size, IORESOURCE_SYSTEM_RAM, IORES_DESC_NONE) !=
	    REGION_DISJOINT) {
		pr_err("godwit_soft: %llu bytes at %pa: none that the kernel has as RAM are allowed\n",
		       size, &phys);
		return -EINVAL;
	}
	list_for_each_entry(soft, &soft_devices, link) {
		if (!soft->coherent || phys >= soft->phys + soft->size ||
		    soft->phys >= phys + size)
			continue;
		pr_err("godwit_soft: %llu bytes at %pa: none that %s has are allowed\n", size,
		       &phys, soft->name);
		return -EBUSY;
	}
	return 0;
}

static int soft_create(bool coherent, u64 size, phys_addr_t phys)
{
	struct godwit_device_desc desc = {
		.driver = "soft",
		.kind = coherent ? GODWIT_VRAM_COHERENT : GODWIT_VRAM_PRIVATE,
		.vram_size = size,
		.vram_phys = phys,
		.ops = &soft_ops,
	};
	struct soft_device *soft;
	int ret;

	ret = soft_check(coherent, size, phys);
	if (ret)
		return ret;
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
		soft->engine = soft_engine_create(soft->memory, soft->name);
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
	char *kind = strsep(&text, ":"), *end = text;
	phys_addr_t phys = 0;
	bool coherent;
	u64 size = 0;

	coherent = !strcmp(kind, "coherent");
	if (!coherent && strcmp(kind, "private")) {
		pr_err("godwit_soft: kind \"%s\": private and coherent are allowed\n", kind);
		return -EINVAL;
	}
	if (text)
		size = memparse(text, &end);
	if (text && *end == '@' && coherent)
		phys = memparse(end + 1, &end);
	if (!text || *end) {
		pr_err("godwit_soft: \"%s\" in a device: private:size and coherent:size@address are allowed\n",
		       text ? end : kind);
		return -EINVAL;
	}
	return soft_create(coherent, size, phys);
}

/* A list of them; stops at the first that fails. */
static int soft_parse_list(const char *text)
{
	char *list = kstrdup(text, GFP_KERNEL), *rest = list, *one;
	int ret;

	if (!list)
		return -ENOMEM;
	mutex_lock(&soft_lock);
	ret = soft_gone ? -ENODEV : 0;
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

	/* Parameters can be written until this has returned. */
	mutex_lock(&soft_lock);
	soft_gone = true;
	list_for_each_entry_safe(soft, next, &soft_devices, link) {
		list_del(&soft->link);
		soft_destroy(soft);
	}
	mutex_unlock(&soft_lock);
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
