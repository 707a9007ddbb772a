/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _GODWIT_DEBUGFS_H_
#define _GODWIT_DEBUGFS_H_

struct drm_minor;
struct seq_file;

void godwit_debugfs_init(struct drm_minor *minor);
int godwit_rawcopy_show(struct seq_file *m, void *unused);

#endif /* _GODWIT_DEBUGFS_H_ */
