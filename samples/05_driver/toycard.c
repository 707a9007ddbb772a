// SPDX-License-Identifier: GPL-2.0-only
/*
 * toycard - how a vendor's driver plugs into Godwit.
 *
 * The card is made up: 16 MiB of VRAM that no CPU can address, and an engine that copies. The
 * engine works on its own: the driver puts a request into its queue, rings, and gives Godwit a
 * fence, which the interrupt signals that says it is done. Here the engine is a work item; with
 * hardware, toy_ring() would write a register, and toy_engine() would be what the silicon does.
 *
 * What a driver gives to Godwit is in the middle: two operations, a description, and two calls.
 */
#include <linux/device/faux.h>
#include <linux/dma-fence.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include <godwit/device.h>

#define TOY_VRAM	(16UL << 20)

static bool stall;
module_param(stall, bool, 0644);
MODULE_PARM_DESC(stall, "For tests: the engine fails what it is asked to do (default 0)");

/* One request to the engine. Freed with its fence, which has to be the first member for that. */
struct toy_request {
	struct dma_fence fence;
	struct work_struct work;
	struct toy_card *card;
	const struct godwit_copy *pieces;
	unsigned int count;
	bool to_vram;
};

struct toy_card {
	struct faux_device *faux;
	struct godwit_device *gdev;
	struct workqueue_struct *engine;
	u64 fences;
	atomic64_t requests;
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
	int status = READ_ONCE(stall) ? -EIO : 0;
	unsigned int n;

	for (n = 0; n < request->count && !status; n++)
		toy_copy(request, &request->pieces[n]);
	/* The interrupt. An engine can hang: a driver has a timer that resets it and does this. */
	if (status)
		dma_fence_set_error(&request->fence, status);
	dma_fence_signal(&request->fence);
	dma_fence_put(&request->fence);
}

static void toy_ring(struct toy_request *request)
{
	queue_work(request->card->engine, &request->work);
}

/* ---- what Godwit asks of it ---- */

static const char *toy_fence_name(struct dma_fence *fence)
{
	return "toycard";
}

static const struct dma_fence_ops toy_fence_ops = {
	.get_driver_name = toy_fence_name,
	.get_timeline_name = toy_fence_name,
};

static struct dma_fence *toy_do(struct godwit_device *gdev, const struct godwit_copy *pieces,
				unsigned int count, bool to_vram)
{
	struct toy_card *card = godwit_device_priv(gdev);
	/* Pages are locked: reclaim must not wait for them. And a copy that fails is a SIGBUS. */
	struct toy_request *request = kzalloc_obj(*request, GFP_NOIO | __GFP_NOFAIL);

	request->card = card;
	request->pieces = pieces;
	request->count = count;
	request->to_vram = to_vram;
	INIT_WORK(&request->work, toy_engine);
	dma_fence_init(&request->fence, &toy_fence_ops, NULL, card->fences,
		       atomic64_inc_return(&card->requests));
	/* One reference for the engine, one for Godwit. */
	dma_fence_get(&request->fence);
	toy_ring(request);
	return &request->fence;
}

static struct dma_fence *toy_copy_to_vram(struct godwit_device *gdev,
					  const struct godwit_copy *pieces, unsigned int count)
{
	return toy_do(gdev, pieces, count, true);
}

static struct dma_fence *toy_copy_from_vram(struct godwit_device *gdev,
					    const struct godwit_copy *pieces, unsigned int count)
{
	return toy_do(gdev, pieces, count, false);
}

static const struct godwit_device_ops toy_ops = {
	.copy_to_vram = toy_copy_to_vram,
	.copy_from_vram = toy_copy_from_vram,
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
	card->fences = dma_fence_context_alloc(1);
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
