// SPDX-License-Identifier: GPL-2.0-only
/*
 * godwit_edu - a peer that really moves data: QEMU's edu device does DMA to the memory behind a
 * dma-buf. Each device has a file in /dev, and each time that this is opened imports one.
 */
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "edu.h"

#define EDU_VENDOR	0x1234
#define EDU_DEVICE	0x11e8

/* A file: under the lock of the device. */
struct edu_file {
	struct edu *edu;
	struct edu_target *target;
};

static int edu_open(struct inode *inode, struct file *filp)
{
	struct edu *edu = container_of(filp->private_data, struct edu, misc);
	struct edu_file *file = kzalloc_obj(*file);

	if (!file)
		return -ENOMEM;
	file->edu = edu;
	filp->private_data = file;
	return 0;
}

static int edu_release(struct inode *inode, struct file *filp)
{
	struct edu_file *file = filp->private_data;

	edu_target_destroy(file->target);
	kfree(file);
	return 0;
}

static int edu_do_import(struct edu_file *file, const struct edu_import *args)
{
	struct edu_target *target = NULL;

	if (args->fd >= 0) {
		target = edu_target_create(file->edu, args);
		if (IS_ERR(target))
			return PTR_ERR(target);
	}
	edu_target_destroy(file->target);
	file->target = target;
	return 0;
}

/* Between the engine and memory of our own. */
static int edu_bounce(struct edu *edu, u32 length, bool to_memory)
{
	edu_engine_start(edu, NULL, edu->bounce_addr, length, to_memory);
	return edu_engine_wait(edu);
}

static int edu_do_transfer(struct edu_file *file, unsigned int cmd, struct edu_transfer *args)
{
	void __user *buffer = u64_to_user_ptr(args->buffer);
	struct edu *edu = file->edu;
	u64 other;
	int ret;

	if (!file->target)
		return -ENXIO;
	if (args->flags & ~(EDU_UNTIL_TOLD | EDU_UNTIL_ASKED) || args->length > EDU_MAX)
		return -EINVAL;
	if (cmd == EDU_WRITE) {
		if (copy_from_user(edu->bounce, buffer, args->length))
			return -EFAULT;
		ret = edu_bounce(edu, args->length, false);
		return ret ?: edu_target_transfer(file->target, args, args->offset, true,
						  &args->address);
	}
	ret = edu_target_transfer(file->target, args, args->offset, false, &args->address);
	if (ret)
		return ret;
	if (cmd == EDU_COPY)
		return edu_target_transfer(file->target, args, args->buffer, true, &other);
	ret = edu_bounce(edu, args->length, true);
	if (ret)
		return ret;
	return copy_to_user(buffer, edu->bounce, args->length) ? -EFAULT : 0;
}

static long edu_call(struct edu_file *file, unsigned int cmd, void __user *to)
{
	struct edu_transfer transfer;
	struct edu_import import;
	u32 rounds;
	int ret;

	switch (cmd) {
	case EDU_IMPORT:
		if (copy_from_user(&import, to, sizeof(import)))
			return -EFAULT;
		return edu_do_import(file, &import);
	case EDU_READ:
	case EDU_WRITE:
	case EDU_COPY:
		if (copy_from_user(&transfer, to, sizeof(transfer)))
			return -EFAULT;
		ret = edu_do_transfer(file, cmd, &transfer);
		if (!ret && copy_to_user(to, &transfer, sizeof(transfer)))
			return -EFAULT;
		return ret;
	case EDU_COUNTS:
		if (!file->target)
			return -ENXIO;
		file->target->counts.begun = atomic64_read(&file->edu->begun);
		return copy_to_user(to, &file->target->counts, sizeof(file->target->counts)) ?
		       -EFAULT : 0;
	case EDU_PIN:
		return file->target ? edu_target_pin(file->target) : -ENXIO;
	case EDU_UNPIN:
		return file->target ? edu_target_unpin(file->target) : -ENXIO;
	case EDU_TURNS:
		if (copy_from_user(&rounds, to, sizeof(rounds)))
			return -EFAULT;
		return file->target ? edu_target_turns(file->target, rounds) : -ENXIO;
	default:
		return -ENOTTY;
	}
}

static long edu_ioctl(struct file *filp, unsigned int cmd, unsigned long arg)
{
	struct edu_file *file = filp->private_data;
	u64 begun;
	long ret;

	/* About a transfer of whoever has the lock. */
	if (cmd == EDU_FINISH) {
		WRITE_ONCE(file->edu->asked, true);
		return 0;
	}
	if (cmd == EDU_AWAIT) {
		if (copy_from_user(&begun, (void __user *)arg, sizeof(begun)))
			return -EFAULT;
		ret = edu_engine_await(file->edu, &begun);
		if (!ret && copy_to_user((void __user *)arg, &begun, sizeof(begun)))
			return -EFAULT;
		return ret;
	}
	if (mutex_lock_interruptible(&file->edu->lock))
		return -EINTR;
	ret = edu_call(file, cmd, (void __user *)arg);
	mutex_unlock(&file->edu->lock);
	return ret;
}

static const struct file_operations edu_fops = {
	.owner = THIS_MODULE,
	.open = edu_open,
	.release = edu_release,
	.unlocked_ioctl = edu_ioctl,
};

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct edu *edu;
	int ret;

	edu = devm_kzalloc(&pdev->dev, sizeof(*edu), GFP_KERNEL);
	if (!edu)
		return -ENOMEM;
	edu->pdev = pdev;
	mutex_init(&edu->lock);
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	edu->regs = pcim_iomap_region(pdev, 0, KBUILD_MODNAME);
	if (IS_ERR(edu->regs))
		return PTR_ERR(edu->regs);
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	if (ret)
		return ret;
	pci_set_master(pdev);
	ret = edu_engine_init(edu);
	if (ret)
		return ret;
	edu->misc.minor = MISC_DYNAMIC_MINOR;
	edu->misc.name = devm_kasprintf(&pdev->dev, GFP_KERNEL, "godwit_edu.%s", pci_name(pdev));
	edu->misc.fops = &edu_fops;
	edu->misc.parent = &pdev->dev;
	ret = edu->misc.name ? misc_register(&edu->misc) : -ENOMEM;
	if (ret)
		edu_engine_fini(edu);
	pci_set_drvdata(pdev, edu);
	return ret;
}

static void edu_remove(struct pci_dev *pdev)
{
	struct edu *edu = pci_get_drvdata(pdev);

	misc_deregister(&edu->misc);
	edu_engine_fini(edu);
	mutex_destroy(&edu->lock);
}

static const struct pci_device_id edu_ids[] = {
	{ PCI_DEVICE(EDU_VENDOR, EDU_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, edu_ids);

static struct pci_driver edu_driver = {
	.name = KBUILD_MODNAME,
	.id_table = edu_ids,
	.probe = edu_probe,
	.remove = edu_remove,
	/* Only for tests, with files of it open as long as they run. */
	.driver.suppress_bind_attrs = true,
};
module_pci_driver(edu_driver);

MODULE_DESCRIPTION("DMA by QEMU's edu device, for tests of Godwit");
MODULE_AUTHOR("The Godwit authors");
MODULE_LICENSE("GPL");
