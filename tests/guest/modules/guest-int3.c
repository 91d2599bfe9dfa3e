// SPDX-License-Identifier: GPL-2.0-only
/*
 * What QEMU's emulation of several x86 CPUs leaves undone when a kernel patches itself. It
 * throws the translation of an instruction away before the new bytes are in memory. A CPU that
 * translates it again in between goes on with the bytes of before, whatever is in memory: when
 * a breakpoint is taken away, with the breakpoint, of which the kernel knows nothing any more.
 * A processor cannot do so, since the kernel has each of them wait for its change.
 *
 * So: where a breakpoint was met that memory does not have, do what memory says. Else the
 * kernel would die of it. The driver is patched whenever a channel comes or goes.
 */
#include <linux/atomic.h>
#include <linux/kdebug.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>

static atomic_t met;

/* The places that jump labels patch: two or five bytes, that jump or do nothing. */
static bool go_on(struct pt_regs *regs, const u8 *at)
{
	s32 distance;

	switch (at[0]) {
	case 0x0f:
		regs->ip = (unsigned long)at + 5;
		return at[1] == 0x1f && at[2] == 0x44;
	case 0x66:
		regs->ip = (unsigned long)at + 2;
		return at[1] == 0x90;
	case 0xe9:
		memcpy(&distance, at + 1, sizeof(distance));
		regs->ip = (unsigned long)at + 5 + distance;
		return true;
	case 0xeb:
		regs->ip = (unsigned long)at + 2 + (s8)at[1];
		return true;
	}
	return false;
}

static int on_die(struct notifier_block *block, unsigned long reason, void *data)
{
	const struct die_args *args = data;
	struct pt_regs *regs = args->regs;
	unsigned long ip = regs->ip;

	if (reason != DIE_INT3 || user_mode(regs))
		return NOTIFY_DONE;
	if (!go_on(regs, (const u8 *)ip - 1)) {
		regs->ip = ip;
		return NOTIFY_DONE;
	}
	atomic_inc(&met);
	return NOTIFY_STOP;
}

static struct notifier_block die_block = { .notifier_call = on_die, .priority = INT_MAX };

static int met_get(char *buffer, const struct kernel_param *param)
{
	return scnprintf(buffer, PAGE_SIZE, "%d\n", atomic_read(&met));
}

/* How often that was so: /sys/module/guest_int3/parameters/met. */
static const struct kernel_param_ops met_ops = { .get = met_get };
module_param_cb(met, &met_ops, NULL, 0444);

static int __init int3_init(void)
{
	return register_die_notifier(&die_block);
}

static void __exit int3_exit(void)
{
	unregister_die_notifier(&die_block);
}

module_init(int3_init);
module_exit(int3_exit);

MODULE_DESCRIPTION("Breakpoints that an emulator remembers and memory does not");
MODULE_LICENSE("GPL");
