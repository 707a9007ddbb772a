/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_PIN_H_
#define _GODWIT_PIN_H_

#include <linux/types.h>

struct drm_device;
struct drm_file;
struct godwit_client;
struct godwit_device;
struct godwit_mirror;

int godwit_pin_charge(struct godwit_device *gdev, struct godwit_client *client,
		      unsigned long frames);
void godwit_pin_uncharge(struct godwit_client *client, unsigned long frames);

void godwit_pin_in_system(struct godwit_mirror *mirror, unsigned long start, unsigned long end,
			  unsigned long *pages);
bool godwit_pin_next(struct godwit_mirror *mirror, unsigned long *start, unsigned long *end);
void godwit_pin_end(struct godwit_mirror *mirror, unsigned long start, unsigned long end);
void godwit_pin_remove_all(struct godwit_mirror *mirror);

int godwit_pin_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int godwit_unpin_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_PIN_H_ */
