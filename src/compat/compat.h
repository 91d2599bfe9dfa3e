/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The only place that knows kernel versions. The rest of the driver speaks
 * the newest kernel; each block says what changed and when, so that raising
 * the oldest kernel means deleting blocks. Where a change can be seen by a
 * feature, it is: distributions port changes back without the version.
 */
#ifndef FLIGHTREC_COMPAT_H
#define FLIGHTREC_COMPAT_H

#include <linux/device.h>
#include <linux/export.h>
#include <linux/fs.h>
#include <linux/hrtimer.h>
#include <linux/instrumented.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/timer.h>
#include <linux/version.h>

/* Words and stamps are of 64 bits, and are stored at once. */
#ifndef CONFIG_64BIT
#error "flightrec needs a 64-bit kernel"
#endif

/*
 * 6.13: symbol namespaces are string literals. 5.10 stringises without
 * expanding first, so the bare word cannot come out of another macro.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#define FLIGHTREC_EXPORT(sym)	EXPORT_SYMBOL_NS_GPL(sym, "FLIGHTREC")
#define FLIGHTREC_IMPORT()	MODULE_IMPORT_NS("FLIGHTREC")
#else
#define FLIGHTREC_EXPORT(sym)	EXPORT_SYMBOL_NS_GPL(sym, FLIGHTREC)
#define FLIGHTREC_IMPORT()	MODULE_IMPORT_NS(FLIGHTREC)
#endif

/*
 * 6.13: hrtimer_setup() takes the function; hrtimer_init(), which did not, is
 * gone in 6.15.
 */
static inline void flightrec_hrtimer_setup(struct hrtimer *timer,
					   enum hrtimer_restart (*function)(struct hrtimer *),
					   clockid_t clock, enum hrtimer_mode mode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, function, clock, mode);
#else
	hrtimer_init(timer, clock, mode);
	timer->function = function;
#endif
}

/*
 * 5.17: a task's name is padded with zeroes. Before, the rest of an older,
 * longer one may be behind its end.
 */
#define FLIGHTREC_COMM_PADDED	(LINUX_VERSION_CODE >= KERNEL_VERSION(5, 17, 0))

/*
 * The tracepoint "console" passes on the lines of the kernel's log. From 5.19 on it is met
 * wherever something is printed, an NMI included, and in 6.1 a kernel with a probe there warns
 * of that; before 5.19 it has no lines that the console's level keeps back. From 5.13 on modules
 * can read the log itself, so until 6.4 they do.
 */
#define FLIGHTREC_LOG_IS_READ	(LINUX_VERSION_CODE >= KERNEL_VERSION(5, 13, 0) && \
				 LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0))

/* 5.14: panic_notifier_list moved here from kernel.h. Kbuild looks for it. */
#ifdef FLIGHTREC_HAVE_PANIC_NOTIFIER_H
#include <linux/panic_notifier.h>
#endif

/*
 * 5.17: PDE_DATA() became pde_data(). Kbuild looks for it: EL 9 has ported it
 * back to 5.14.
 */
#ifndef FLIGHTREC_HAVE_PDE_DATA
#define pde_data(inode)	PDE_DATA(inode)
#endif

/*
 * No events for inotify(7) and fanotify(7) of reads and writes, as of pipes and sockets:
 * each write would look for who wants them. 6.14: there is a second bit, and only the
 * first one alone means that.
 */
static inline void flightrec_no_notify(struct file *file)
{
#ifdef FMODE_NONOTIFY_PERM
	file->f_mode &= ~FMODE_NONOTIFY_PERM;
#endif
	file->f_mode |= FMODE_NONOTIFY;
}

/*
 * 6.2, 6.1.85, 5.10.216: del_timer_sync() became timer_delete_sync(). Kbuild looks
 * for it.
 */
#ifndef FLIGHTREC_HAVE_TIMER_DELETE_SYNC
#define timer_delete_sync(timer)	del_timer_sync(timer)
#endif

/*
 * 6.1: what the sanitizers are told of a copy from user space has a part before it
 * and one after it. Kbuild looks for it.
 */
#ifndef FLIGHTREC_HAVE_INSTRUMENT_BEFORE
#define instrument_copy_from_user_before(to, from, n)	instrument_copy_from_user(to, from, n)
#define instrument_copy_from_user_after(to, from, n, left) ((void)(left))
#endif

/* 6.4: class_create() has no owner. Kbuild looks for it: EL 9 has ported it back. */
#ifdef FLIGHTREC_HAVE_CLASS_OWNER
#define flightrec_class_create(name)	class_create(THIS_MODULE, name)
#else
#define flightrec_class_create(name)	class_create(name)
#endif

/*
 * 6.3: device_type's uevent and devnode take a const device. A driver
 * defines both with const; these pick the variant that the kernel's headers
 * ask for, by type.
 */
#define FLIGHTREC_DEVICE_TYPE_CALLBACKS(uevent_fn, devnode_fn)		\
	static int __maybe_unused uevent_fn##_mutable(			\
		struct device *dev, struct kobj_uevent_env *env)	\
	{								\
		return uevent_fn(dev, env);				\
	}								\
	static char * __maybe_unused devnode_fn##_mutable(		\
		struct device *dev, umode_t *mode, kuid_t *uid,		\
		kgid_t *gid)						\
	{								\
		return devnode_fn(dev, mode, uid, gid);			\
	}
#define FLIGHTREC_DEVICE_TYPE_PICK(member, fn)				\
	__builtin_choose_expr(						\
		__builtin_types_compatible_p(				\
			typeof(((struct device_type *)0)->member),	\
			typeof(&fn)), fn, fn##_mutable)

#endif
