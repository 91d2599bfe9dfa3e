/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Lock files: one process at a time does a thing. Only this user can open one,
 * so no other can hold it; the wait for one is bounded.
 */
#ifndef KMODKEEP_LOCK_H
#define KMODKEEP_LOCK_H

/*
 * Takes the lock of this file, which is made with mode 0600 and its directory
 * with 0755 if they are not there. One line on standard error names the process
 * that is waited for. Returns a descriptor whose closing, also by the end of
 * the process and of those that it passed the descriptor on to, gives the lock
 * back; it is closed on exec. -ETIMEDOUT: it was still held after these seconds,
 * which has been said; -EPERM: file or directory could be another user's to
 * change; or -errno.
 */
int lock_take(const char *path, unsigned int seconds);

#endif
