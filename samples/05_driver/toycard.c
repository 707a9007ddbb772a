// SPDX-License-Identifier: GPL-2.0-only
/*
 * toycard - how a vendor's driver plugs into Godwit.
 *
 * The card is made up: 16 MiB of VRAM that no CPU can address, and an engine that copies. The
 * engine works on its own: the driver puts a request into its queue, rings, and waits for the
 * interrupt that says it is done. Here the engine is a work item; with hardware, toy_ring() would
 * write a register, and toy_engine() would be what the silicon does.
 *
 * What a driver gives to Godwit is in the middle: three operations, a description, and two calls.
 */
#include <linux/completion.h>
#include <linux/device/faux.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include <godwit/device.h>

#define TOY_VRAM	(16UL << 20)
/* An engine that takes longer than this is broken, and its copy has failed. */
#define TOY_TIMEOUT	(5 * HZ)

static bool stall;
module_param(stall, bool, 0644);
MODULE_PARM_DESC(stall, "For tests: the engine fails what it is asked to do (default 0)");

/* One request to the engine: on the stack of whoever waits for it. */
struct toy_request {
	struct work_struct work;
	struct completion done;
	struct toy_card *card;
	const struct godwit_copy *pieces;
	unsigned int count;
	bool to_vram;
	int status;
};

struct toy_card {
	struct faux_device *faux;
	struct godwit_device *gdev;
	struct workqueue_struct *engine;
	void *vram;
};

static struct toy_card *toy;

/* ---- the card ---- */

static void toy_copy(struct toy_request *request, const struct godwit_copy *piece)
{
	unsigned int i;

	for (i = 0; i < piece->pages; i++) {
		void *vram = request->card->vram + ((piece->frame + i) << PAGE_SHIFT);

		if (!piece->page)
			clear_page(vram);
		else if (request->to_vram)
			copy_page(vram, page_address(piece->page + i));
		else
			copy_page(page_address(piece->page + i), vram);
	}
}

static void toy_engine(struct work_struct *work)
{
	struct toy_request *request = container_of(work, struct toy_request, work);
	unsigned int n;

	request->status = READ_ONCE(stall) ? -EIO : 0;
	for (n = 0; n < request->count && !request->status; n++)
		toy_copy(request, &request->pieces[n]);
	complete(&request->done);	/* the interrupt */
}

static void toy_ring(struct toy_request *request)
{
	queue_work(request->card->engine, &request->work);
}

/* ---- what Godwit asks of it ---- */

static int toy_do(struct godwit_device *gdev, const struct godwit_copy *pieces,
		  unsigned int count, bool to_vram)
{
	struct toy_request request = {
		.card = godwit_device_priv(gdev),
		.pieces = pieces,
		.count = count,
		.to_vram = to_vram,
	};

	INIT_WORK_ONSTACK(&request.work, toy_engine);
	init_completion(&request.done);
	toy_ring(&request);
	if (!wait_for_completion_timeout(&request.done, TOY_TIMEOUT)) {
		/* It must not touch the pages any more when we return: stop it. */
		cancel_work_sync(&request.work);
		request.status = -EIO;
	}
	/* The interrupt may have come before the engine was through with its request. */
	flush_work(&request.work);
	destroy_work_on_stack(&request.work);
	return request.status;
}

static int toy_copy_to_vram(struct godwit_device *gdev, const struct godwit_copy *pieces,
			    unsigned int count)
{
	return toy_do(gdev, pieces, count, true);
}

static int toy_copy_from_vram(struct godwit_device *gdev, const struct godwit_copy *pieces,
			      unsigned int count)
{
	return toy_do(gdev, pieces, count, false);
}

static int toy_clear(struct godwit_device *gdev, unsigned long frame, unsigned int pages)
{
	struct godwit_copy nothing = { .frame = frame, .pages = pages };

	return toy_do(gdev, &nothing, 1, true);
}

static const struct godwit_device_ops toy_ops = {
	.copy_to_vram = toy_copy_to_vram,
	.copy_from_vram = toy_copy_from_vram,
	.clear = toy_clear,
};

/* ---- coming and going ---- */

static void toy_destroy(struct toy_card *card)
{
	/* First: it brings all memory home, and needs the engine to do so. */
	godwit_device_unregister(card->gdev);
	if (card->engine)
		destroy_workqueue(card->engine);
	vfree(card->vram);
	faux_device_destroy(card->faux);
	kfree(card);
}

static int __init toy_init(void)
{
	struct godwit_device_desc desc = {
		.driver = "toycard",
		.name = "toy",
		.kind = GODWIT_VRAM_PRIVATE,
		.vram_size = TOY_VRAM,
		.owner = THIS_MODULE,
		.ops = &toy_ops,
	};
	struct toy_card *card = kzalloc_obj(*card);

	if (!card)
		return -ENOMEM;
	desc.priv = card;
	card->faux = faux_device_create("toycard", NULL, NULL);
	if (!card->faux) {
		kfree(card);
		return -ENODEV;
	}
	card->vram = vmalloc(TOY_VRAM);
	/* Reclaim may wait for a copy: the engine must always be able to run. */
	card->engine = alloc_workqueue("toycard", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	card->gdev = card->vram && card->engine ?
		     godwit_device_register(&card->faux->dev, &desc) : ERR_PTR(-ENOMEM);
	if (IS_ERR(card->gdev)) {
		int ret = PTR_ERR(card->gdev);

		toy_destroy(card);
		return ret;
	}
	toy = card;
	return 0;
}

static void __exit toy_exit(void)
{
	toy_destroy(toy);
}

module_init(toy_init);
module_exit(toy_exit);

MODULE_DESCRIPTION("A made-up card, as an example of a Godwit driver");
MODULE_AUTHOR("The Godwit authors");
MODULE_LICENSE("GPL");
