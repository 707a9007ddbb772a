/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_RESIDENCY_H_
#define _GODWIT_RESIDENCY_H_

struct drm_device;
struct drm_file;

int godwit_residency_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

#endif /* _GODWIT_RESIDENCY_H_ */
