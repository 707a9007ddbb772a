// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: godwit_pci
 *
 * Overview: PCI cards whose VRAM is a memory BAR. QEMU's ivshmem-plain is one;
 * others by new_id:
 *
 *   echo "1234 5678" > /sys/bus/pci/drivers/godwit_pci/new_id
 *
 * VRAM is the largest memory BAR, in whole multiples of 2 MiB. What it is, the
 * parameter kind says at the time that a card is bound:
 *
 * private: pages of private VRAM. They have addresses of their own (the core takes
 * them); the bytes live in the BAR, which the CPU reaches through a
 * write-combining mapping.
 *
 * coherent: the BAR itself is memory of processes. Only for cards whose BAR
 * behaves as RAM does, for CPUs and for the other devices of the machine: no check
 * is made by the kernel when one of them is told to use such a page.
 *
 * explicit: objects only, mapped with peer-to-peer pages: other devices reach the
 * BAR where the PCI topology allows it, and are refused by the kernel where it
 * does not.
 *
 * The CPU does all copies, while it is asked to. Loads from a card that was pulled out, or that was
 * reset, give bytes all the same, and stores to it go nowhere: after each copy the card is asked
 * whether it is there.
 *
 * Locking: none; copies touch only the frames that they were given.
 */
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include <godwit/device.h>

#define IVSHMEM_VENDOR	0x1af4
#define IVSHMEM_DEVICE	0x1110

static const char * const kind_names[] = {
	[GODWIT_VRAM_PRIVATE] = "private",
	[GODWIT_VRAM_COHERENT] = "coherent",
	[GODWIT_VRAM_EXPLICIT] = "explicit",
};

static unsigned int kind = GODWIT_VRAM_PRIVATE;

static int kind_set(const char *text, const struct kernel_param *param)
{
	unsigned int i;

	for (i = GODWIT_VRAM_PRIVATE; i < ARRAY_SIZE(kind_names); i++) {
		if (!sysfs_streq(text, kind_names[i]))
			continue;
		WRITE_ONCE(kind, i);
		return 0;
	}
	return -EINVAL;
}

static int kind_get(char *text, const struct kernel_param *param)
{
	return sysfs_emit(text, "%s\n", kind_names[READ_ONCE(kind)]);
}

static const struct kernel_param_ops kind_ops = {
	.set = kind_set,
	.get = kind_get,
};

module_param_cb(kind, &kind_ops, NULL, 0644);
MODULE_PARM_DESC(kind,
		 "What the VRAM of cards is that are bound from now on: private, coherent or explicit (default private)");

/**
 * struct pci_card - one card.
 */
struct pci_card {
	/** @pdev: the card. */
	struct pci_dev *pdev;
	/** @gdev: its render node. */
	struct godwit_device *gdev;
	/** @kind: of its VRAM. */
	enum godwit_vram_kind kind;
	/** @bar: which BAR is VRAM. */
	int bar;
	/** @phys: of VRAM, as CPUs see it. */
	phys_addr_t phys;
	/** @size: of VRAM. */
	u64 size;
	/** @memory: VRAM, as the kernel maps it. */
	void __iomem *memory;
	/** @pages: how many peer-to-peer pages we hold. */
	unsigned long pages;
};

static void __iomem *card_frame(struct godwit_device *gdev, unsigned long frame)
{
	struct pci_card *card = godwit_device_priv(gdev);

	return card->memory + (frame << PAGE_SHIFT);
}

/*
 * Did the copy that has just been made really reach the card of the device? Where nobody answers
 * loads give all ones, and where a reset has switched its memory off as well. What was posted to
 * the card is there before the answer is.
 */
static int card_answers(struct godwit_device *gdev)
{
	struct device *dev = godwit_device_parent(gdev);
	struct pci_dev *pdev;
	u16 command;

	/* Of another driver, whose VRAM we have copied from. */
	if (!dev_is_pci(dev))
		return 0;
	pdev = to_pci_dev(dev);
	if (!pci_device_is_present(pdev))
		return -ENODEV;
	/* Virtual functions have no switch of their own. */
	if (pdev->no_command_memory)
		return 0;
	pci_read_config_word(pdev, PCI_COMMAND, &command);
	return command & PCI_COMMAND_MEMORY ? 0 : -ENODEV;
}

static struct dma_fence *card_copy_to_vram(struct godwit_device *gdev,
					   const struct godwit_copy *pieces, unsigned int count)
{
	unsigned int n;

	for (n = 0; n < count; n++) {
		void __iomem *to = card_frame(gdev, pieces[n].frame);
		size_t bytes = (size_t)pieces[n].pages << PAGE_SHIFT;

		if (pieces[n].page)
			memcpy_toio(to, page_address(pieces[n].page), bytes);
		else
			memset_io(to, 0, bytes);
		cond_resched();
	}
	/* Out of the buffers of write combining, before anybody is told. */
	wmb();
	return ERR_PTR(card_answers(gdev));
}

static struct dma_fence *card_copy_from_vram(struct godwit_device *gdev,
					     const struct godwit_copy *pieces, unsigned int count)
{
	unsigned int n;

	for (n = 0; n < count; n++) {
		memcpy_fromio(page_address(pieces[n].page), card_frame(gdev, pieces[n].frame),
			      (size_t)pieces[n].pages << PAGE_SHIFT);
		cond_resched();
	}
	return ERR_PTR(card_answers(gdev));
}

static void *card_cpu_address(struct godwit_device *gdev, unsigned long frame)
{
	return (void __force *)card_frame(gdev, frame);
}

static unsigned long card_cpu_pfn(struct godwit_device *gdev, unsigned long frame)
{
	struct pci_card *card = godwit_device_priv(gdev);

	return PHYS_PFN(card->phys) + frame;
}

/* Does a bridge send transfers between those below it up to the root? */
static bool card_redirects(struct pci_dev *bridge)
{
	u16 control = 0;

	if (bridge->acs_cap)
		pci_read_config_word(bridge, bridge->acs_cap + PCI_ACS_CTRL, &control);
	return control & (PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_EC);
}

/* Is there a bridge above both, below which nothing goes up to the root? */
static bool card_shares_switch(struct pci_dev *card, struct pci_dev *peer)
{
	struct pci_dev *a, *b;

	for (a = card; a; a = pci_upstream_bridge(a)) {
		for (b = peer; b; b = pci_upstream_bridge(b)) {
			if (a == b)
				return true;
			if (card_redirects(b))
				break;
		}
		if (card_redirects(a))
			break;
	}
	return false;
}

static enum godwit_reach card_peer_reach(struct godwit_device *gdev, struct device *dev,
					 s64 *bus_offset)
{
	struct pci_card *card = godwit_device_priv(gdev);

	/* The kernel knows which host bridges route it. */
	if (!dev_is_pci(dev) || pci_p2pdma_distance(card->pdev, dev, false) < 0)
		return GODWIT_REACH_NONE;
	if (!card_shares_switch(card->pdev, to_pci_dev(dev)))
		return GODWIT_REACH_HOST;
	*bus_offset = (s64)pci_bus_address(card->pdev, card->bar) -
		      (s64)pci_resource_start(card->pdev, card->bar);
	return GODWIT_REACH_SWITCH;
}

static int card_copy_peer(struct godwit_device *gdev, unsigned long frame,
			  struct godwit_device *from, unsigned long from_frame, unsigned int pages)
{
	unsigned int i;
	int ret;

	for (i = 0; i < pages; i++) {
		void *memory = godwit_device_frame(from, from_frame + i);

		if (!memory)
			return -EOPNOTSUPP;
		memcpy_toio(card_frame(gdev, frame + i), memory, PAGE_SIZE);
	}
	/* As for a copy from RAM. */
	wmb();
	ret = card_answers(from);
	return ret ?: card_answers(gdev);
}

static const struct godwit_device_ops card_ops = {
	.copy_to_vram = card_copy_to_vram,
	.copy_from_vram = card_copy_from_vram,
	.cpu_address = card_cpu_address,
	.cpu_pfn = card_cpu_pfn,
	.peer_reach = card_peer_reach,
	.copy_peer = card_copy_peer,
};

static struct page *card_cpu_page(struct godwit_device *gdev, unsigned long frame)
{
	return pfn_to_page(card_cpu_pfn(gdev, frame));
}

static const struct godwit_device_ops card_explicit_ops = {
	.copy_to_vram = card_copy_to_vram,
	.copy_from_vram = card_copy_from_vram,
	.cpu_address = card_cpu_address,
	.cpu_pfn = card_cpu_pfn,
	.peer_reach = card_peer_reach,
	.copy_peer = card_copy_peer,
	.cpu_page = card_cpu_page,
};

static int card_find_bar(struct pci_card *card)
{
	u64 best = 0;
	int bar;

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		u64 size = pci_resource_len(card->pdev, bar);

		if (!(pci_resource_flags(card->pdev, bar) & IORESOURCE_MEM) || size <= best)
			continue;
		best = size;
		card->bar = bar;
	}
	card->size = ALIGN_DOWN(best, SZ_2M);
	card->phys = pci_resource_start(card->pdev, card->bar);
	if (!card->size) {
		pci_err(card->pdev, "no memory BAR of 2 MiB or more\n");
		return -ENODEV;
	}
	return 0;
}

/*
 * All pages of the BAR are ours, each with one reference: so no other user of
 * peer-to-peer memory gets any, and none is given back while we map it.
 */
static int card_take_pages(struct pci_card *card)
{
	void *first = NULL, *addr;
	int ret;

	ret = pci_p2pdma_add_resource(card->pdev, card->bar, card->size, 0);
	if (ret)
		return ret;
	for (card->pages = 0; card->pages < card->size >> PAGE_SHIFT; card->pages++) {
		addr = pci_alloc_p2pmem(card->pdev, PAGE_SIZE);
		if (!addr)
			return -ENOMEM;
		first = first ?: addr;
		/* The pool is empty but for us, and gives its first page first. */
		if (addr != first + (card->pages << PAGE_SHIFT)) {
			pci_free_p2pmem(card->pdev, addr, PAGE_SIZE);
			return -EBUSY;
		}
		set_page_count(virt_to_page(addr), 1);
		cond_resched();
	}
	card->memory = (void __iomem __force *)first;
	return 0;
}

/* What is still in flight keeps its page; the driver core waits for it after remove. */
static void card_give_pages(struct pci_card *card)
{
	while (card->pages)
		put_page(pfn_to_page(PHYS_PFN(card->phys) + --card->pages));
}

static int card_map(struct pci_card *card)
{
	switch (card->kind) {
	case GODWIT_VRAM_EXPLICIT:
		return card_take_pages(card);
	case GODWIT_VRAM_COHERENT:
		/* As its pages will be mapped: it cannot be both. */
		card->memory = (void __iomem __force *)memremap(card->phys, card->size,
								MEMREMAP_WB);
		break;
	case GODWIT_VRAM_PRIVATE:
		card->memory = ioremap_wc(card->phys, card->size);
		break;
	}
	return card->memory ? 0 : -ENOMEM;
}

static void card_unmap(struct pci_card *card)
{
	if (card->kind == GODWIT_VRAM_EXPLICIT)
		card_give_pages(card);
	else if (card->kind == GODWIT_VRAM_COHERENT && card->memory)
		memunmap((void __force *)card->memory);
	else if (card->memory)
		iounmap(card->memory);
}

static int card_register(struct pci_card *card)
{
	struct godwit_device_desc desc = {
		.driver = "pci",
		.name = pci_name(card->pdev),
		.kind = card->kind,
		.vram_size = card->size,
		.vram_phys = card->kind == GODWIT_VRAM_COHERENT ? card->phys : 0,
		.ops = card->kind == GODWIT_VRAM_EXPLICIT ? &card_explicit_ops : &card_ops,
		.priv = card,
	};

	card->gdev = godwit_device_register(&card->pdev->dev, &desc);
	return PTR_ERR_OR_ZERO(card->gdev);
}

static int card_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct pci_card *card;
	int ret;

	card = devm_kzalloc(&pdev->dev, sizeof(*card), GFP_KERNEL);
	if (!card)
		return -ENOMEM;
	card->pdev = pdev;
	card->kind = READ_ONCE(kind);
	ret = card_find_bar(card);
	if (!ret)
		ret = pcim_enable_device(pdev);
	if (!ret)
		ret = pcim_request_region(pdev, card->bar, KBUILD_MODNAME);
	if (ret)
		return ret;
	ret = card_map(card);
	if (!ret)
		ret = card_register(card);
	if (ret) {
		card_unmap(card);
		return ret;
	}
	pci_set_drvdata(pdev, card);
	return 0;
}

static void card_remove(struct pci_dev *pdev)
{
	struct pci_card *card = pci_get_drvdata(pdev);

	godwit_device_unregister(card->gdev);
	card_unmap(card);
}

static const struct pci_device_id card_ids[] = {
	{ PCI_DEVICE(IVSHMEM_VENDOR, IVSHMEM_DEVICE) },
	{ }
};
MODULE_DEVICE_TABLE(pci, card_ids);

static struct pci_driver card_driver = {
	.name = KBUILD_MODNAME,
	.id_table = card_ids,
	.probe = card_probe,
	.remove = card_remove,
};
module_pci_driver(card_driver);

MODULE_DESCRIPTION("Godwit devices whose VRAM is a PCI BAR");
MODULE_AUTHOR("The Godwit authors");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1");
