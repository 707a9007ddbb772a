/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_DEBUGFS_H_
#define _GODWIT_DEBUGFS_H_

struct drm_minor;

void godwit_debugfs_init(struct drm_minor *minor);

#endif /* _GODWIT_DEBUGFS_H_ */
