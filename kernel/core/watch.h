/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_WATCH_H_
#define _GODWIT_WATCH_H_

#include <linux/types.h>

#define GODWIT_WATCH_LENGTH_MAX	BIT_ULL(36)

struct drm_device;
struct drm_file;
struct godwit_mirror;

void godwit_watch_bump(struct godwit_mirror *mirror, unsigned long start, unsigned long end);
void godwit_watch_remove_all(struct godwit_mirror *mirror);

int godwit_watch_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_WATCH_H_ */
