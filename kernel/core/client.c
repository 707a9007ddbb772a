// SPDX-License-Identifier: GPL-2.0-only
/**
 * DOC: Clients
 *
 * Overview: what belongs to one open render node: its counters, its mirrors, its event ring,
 * and the frames of VRAM that are accounted to it.
 *
 * Locking: see &struct godwit_client.
 */
#include <linux/slab.h>
#include <linux/xarray.h>

#include <drm/drm_file.h>

#include "client.h"
#include "device.h"
#include "event.h"
#include "mirror.h"
#include "pool.h"
#include "queue.h"

/**
 * godwit_client_open() - somebody opened the render node.
 * @drm: the device.
 * @file: to which the client belongs.
 */
int godwit_client_open(struct drm_device *drm, struct drm_file *file)
{
	struct godwit_device *gdev = to_godwit(drm);
	struct godwit_client *client;
	int ret;

	client = kzalloc_obj(*client, GFP_KERNEL_ACCOUNT);
	if (!client)
		return -ENOMEM;
	refcount_set(&client->refs, 1);
	client->gdev = gdev;
	mutex_init(&client->lock);
	mutex_init(&client->advise_lock);
	INIT_LIST_HEAD(&client->mirrors);
	spin_lock_init(&client->ring_lock);
	ret = xa_alloc_cyclic_irq(&gdev->clients, &client->id, client,
				  XA_LIMIT(1, U32_MAX), &gdev->next_client, GFP_KERNEL);
	if (ret < 0) {
		kfree(client);
		return ret;
	}
	file->driver_priv = client;
	godwit_pool_open();
	return 0;
}

/**
 * godwit_client_close() - the last descriptor of the render node is gone.
 * @drm: the device.
 * @file: of the client.
 */
void godwit_client_close(struct drm_device *drm, struct drm_file *file)
{
	struct godwit_client *client = file->driver_priv;

	godwit_queue_destroy(client);
	godwit_mirror_detach_all(client, false);
	godwit_ring_close(client);
	godwit_client_put(client);
	godwit_pool_close();
}

/**
 * godwit_client_put_many() - give back references. Any context.
 * @client: the client.
 * @count: how many.
 */
void godwit_client_put_many(struct godwit_client *client, unsigned int count)
{
	unsigned long flags;

	if (!refcount_sub_and_test(count, &client->refs))
		return;
	/* All frames are given back by the time their device goes, so it is there. */
	xa_lock_irqsave(&client->gdev->clients, flags);
	__xa_erase(&client->gdev->clients, client->id);
	xa_unlock_irqrestore(&client->gdev->clients, flags);
	kfree(client);
}

/**
 * godwit_client_find() - a client by its id.
 * @gdev: the device.
 * @id: the id.
 *
 * Return: a reference, or NULL.
 */
struct godwit_client *godwit_client_find(struct godwit_device *gdev, u32 id)
{
	struct godwit_client *client;

	xa_lock_irq(&gdev->clients);
	client = xa_load(&gdev->clients, id);
	if (client && !refcount_inc_not_zero(&client->refs))
		client = NULL;
	xa_unlock_irq(&gdev->clients);
	return client;
}
