// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hardware: machine checks, heat, and devices that come and go.
 */
#include <linux/device.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/pci.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <linux/usb.h>

#include "event.h"

/* ---- machine checks, of x86: corrected ones, and those that the kernel survives */

#ifdef CONFIG_X86_MCE
#include <asm/mce.h>

static int on_mce(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct mce *m = data;

	event_emit(FLIGHTREC_SOURCE_MCE, m->status & MCI_STATUS_UC ? SEV_CRIT : SEV_WARNING,
		   "mce %s cpu=%u bank=%u status=%#llx addr=%#llx misc=%#llx",
		   m->status & MCI_STATUS_UC ? "uncorrected" : "corrected", m->extcpu, m->bank,
		   m->status, m->addr, m->misc);
	return NOTIFY_DONE;
}

/* Before those that may say that they have dealt with it. */
static struct notifier_block mce_nb = { .notifier_call = on_mce, .priority = MCE_PRIO_EARLY };

static int start_mce(void)
{
	mce_register_decode_chain(&mce_nb);
	return 0;
}

static void stop_mce(void)
{
	mce_unregister_decode_chain(&mce_nb);
}
#else
static int start_mce(void)
{
	return -EOPNOTSUPP;
}

static void stop_mce(void)
{
}
#endif

const struct event_source event_mce = { .start = start_mce, .stop = stop_mce };

/* ---- heat: since 6.5 the header of the tracepoint is the kernel's own */

#ifdef FLIGHTREC_HAVE_THERMAL_TRACE
#include <linux/thermal.h>
#include <trace/events/thermal.h>

static const char * const trips[] = {
	[THERMAL_TRIP_ACTIVE] = "active",
	[THERMAL_TRIP_PASSIVE] = "passive",
	[THERMAL_TRIP_HOT] = "hot",
	[THERMAL_TRIP_CRITICAL] = "critical",
};

static void on_trip(void *data, struct thermal_zone_device *zone, int trip,
		    enum thermal_trip_type type)
{
	bool known = type < ARRAY_SIZE(trips);

	check_trace_callback_type_thermal_zone_trip(on_trip);
	event_emit(FLIGHTREC_SOURCE_THERMAL,
		   known && type >= THERMAL_TRIP_HOT ? SEV_CRIT : SEV_WARNING,
		   "thermal %s zone=%d trip=%d millicelsius=%d type=%s",
		   known ? trips[type] : "unknown", zone->id, trip, zone->temperature,
		   zone->type);
}

static struct event_probe trip = { "thermal_zone_trip", (void *)on_trip };

static int start_thermal(void)
{
	return event_probe(&trip);
}

static void stop_thermal(void)
{
	event_unprobe(&trip);
}
#else
static int start_thermal(void)
{
	return -EOPNOTSUPP;
}

static void stop_thermal(void)
{
}
#endif

const struct event_source event_thermal = { .start = start_thermal, .stop = stop_thermal };

/* ---- devices of PCI, which a virtual machine may be without */

#ifdef CONFIG_PCI
static int on_pci(struct notifier_block *nb, unsigned long action, void *data)
{
	struct pci_dev *dev = to_pci_dev(data);

	if (action == BUS_NOTIFY_ADD_DEVICE)
		event_emit(FLIGHTREC_SOURCE_PCI, SEV_INFO, "pci add dev=%s id=%04x:%04x class=%06x",
			   pci_name(dev), dev->vendor, dev->device, dev->class);
	else if (action == BUS_NOTIFY_DEL_DEVICE)
		event_emit(FLIGHTREC_SOURCE_PCI, SEV_NOTICE,
			   "pci remove dev=%s id=%04x:%04x class=%06x",
			   pci_name(dev), dev->vendor, dev->device, dev->class);
	return NOTIFY_DONE;
}

static struct notifier_block pci_nb = { .notifier_call = on_pci };

static int start_pci(void)
{
	return bus_register_notifier(&pci_bus_type, &pci_nb);
}

static void stop_pci(void)
{
	bus_unregister_notifier(&pci_bus_type, &pci_nb);
}
#else
static int start_pci(void)
{
	return -EOPNOTSUPP;
}

static void stop_pci(void)
{
}
#endif

const struct event_source event_pci = { .start = start_pci, .stop = stop_pci };

/* ---- devices of USB: usbcore may come later than this module, or never */

static int on_usb(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct usb_device *dev = data;

	if (action != USB_DEVICE_ADD && action != USB_DEVICE_REMOVE)
		return NOTIFY_DONE;
	event_emit(FLIGHTREC_SOURCE_USB, action == USB_DEVICE_ADD ? SEV_INFO : SEV_NOTICE,
		   "usb %s dev=%s id=%04x:%04x", action == USB_DEVICE_ADD ? "add" : "remove",
		   dev_name(&dev->dev), le16_to_cpu(dev->descriptor.idVendor),
		   le16_to_cpu(dev->descriptor.idProduct));
	return NOTIFY_DONE;
}

static struct notifier_block usb_nb = { .notifier_call = on_usb };

/* Both or none; while they are held, usbcore stays. */
static void (*usb_watch)(struct notifier_block *nb);
static void (*usb_unwatch)(struct notifier_block *nb);
static DEFINE_MUTEX(usb_lock);

static void try_usb(void)
{
	mutex_lock(&usb_lock);
	if (usb_watch)
		goto unlock;
	usb_watch = symbol_get(usb_register_notify);
	if (!usb_watch)
		goto unlock;
	usb_unwatch = symbol_get(usb_unregister_notify);
	if (usb_unwatch) {
		usb_watch(&usb_nb);
	} else {
		symbol_put(usb_register_notify);
		usb_watch = NULL;
	}
unlock:
	mutex_unlock(&usb_lock);
}

static int on_module(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct module *mod = data;

	if (action == MODULE_STATE_LIVE && !strcmp(mod->name, "usbcore"))
		try_usb();
	return NOTIFY_DONE;
}

static struct notifier_block module_nb = { .notifier_call = on_module };

static int start_usb(void)
{
	int err = register_module_notifier(&module_nb);

	if (!err)
		try_usb();
	return err;
}

static void stop_usb(void)
{
	unregister_module_notifier(&module_nb);
	if (!usb_watch)
		return;
	usb_unwatch(&usb_nb);
	symbol_put(usb_unregister_notify);
	symbol_put(usb_register_notify);
	usb_watch = NULL;
}

const struct event_source event_usb = { .start = start_usb, .stop = stop_usb };
