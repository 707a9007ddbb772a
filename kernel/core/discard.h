/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_DISCARD_H_
#define _GODWIT_DISCARD_H_

struct drm_device;
struct drm_file;

int godwit_discard_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_DISCARD_H_ */
