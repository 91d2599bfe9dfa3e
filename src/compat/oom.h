/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 6.8: the tracepoint mark_victim passes the task and its user; before, its
 * number alone. Kbuild looks for it: distributions have ported it back.
 */
#ifndef FLIGHTREC_COMPAT_OOM_H
#define FLIGHTREC_COMPAT_OOM_H

#include <linux/cred.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/uidgid.h>
#include <trace/events/oom.h>

/* To @fn as (pid, uid, comm), the task being @task. */
static inline void flightrec_pass_victim(void (*fn)(pid_t, uid_t, const char *),
					 struct task_struct *task)
{
	char comm[TASK_COMM_LEN] = "";

	/* As in channel.c: without the lock, the name may be torn. */
	memcpy(comm, task->comm, sizeof(comm) - 1);
	fn(task_pid_nr(task), from_kuid(&init_user_ns, task_uid(task)), comm);
}

/* FLIGHTREC_MARK_VICTIM_PROBE - define the probe @name that calls @fn */
#ifdef FLIGHTREC_HAVE_MARK_VICTIM_TASK
#define FLIGHTREC_MARK_VICTIM_PROBE(name, fn)				\
	static void name(void *data, struct task_struct *task, uid_t uid) \
	{								\
		check_trace_callback_type_mark_victim(name);		\
		flightrec_pass_victim(fn, task);			\
	}
#else
#define FLIGHTREC_MARK_VICTIM_PROBE(name, fn)				\
	static void name(void *data, int pid)				\
	{								\
		struct task_struct *task;				\
									\
		check_trace_callback_type_mark_victim(name);		\
		rcu_read_lock();					\
		task = pid_task(find_pid_ns(pid, &init_pid_ns), PIDTYPE_PID); \
		if (task)						\
			flightrec_pass_victim(fn, task);		\
		rcu_read_unlock();					\
	}
#endif

#endif
