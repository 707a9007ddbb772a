/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_GEM_H_
#define _GODWIT_GEM_H_

#include <linux/types.h>

#include <drm/godwit_drm.h>

struct drm_device;
struct drm_file;
struct godwit_client;
struct godwit_device;
struct seq_file;

unsigned long godwit_gem_evict(struct godwit_device *gdev, const struct godwit_client *client,
			       enum drm_godwit_cause cause, unsigned long frames,
			       const unsigned long *deadline);
unsigned long godwit_gem_frames(struct godwit_device *gdev, const struct godwit_client *client);
void godwit_gem_unplug(struct godwit_device *gdev);
void godwit_gem_sleep(struct godwit_device *gdev);
void godwit_gem_wake(struct godwit_device *gdev);
void godwit_gem_show(struct godwit_device *gdev, struct seq_file *m);

int godwit_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int godwit_gem_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int godwit_gem_move_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_GEM_H_ */
