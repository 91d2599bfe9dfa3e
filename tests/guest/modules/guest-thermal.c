// SPDX-License-Identifier: GPL-2.0-only
/*
 * A thermal zone of the kernel's that is hotter than its trip point. Only where
 * modules can see that; elsewhere it does not load.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/thermal.h>

#ifdef FLIGHTREC_HAVE_THERMAL_TRACE
static int temperature(struct thermal_zone_device *zone, int *value)
{
	*value = 91000;
	return 0;
}

static int trip_type(struct thermal_zone_device *zone, int trip, enum thermal_trip_type *type)
{
	*type = THERMAL_TRIP_HOT;
	return 0;
}

static int trip_temperature(struct thermal_zone_device *zone, int trip, int *value)
{
	*value = 80000;
	return 0;
}

static struct thermal_zone_device_ops ops = {
	.get_temp = temperature,
	.get_trip_type = trip_type,
	.get_trip_temp = trip_temperature,
};

static struct thermal_zone_device *zone;

static int __init hot_init(void)
{
	zone = thermal_zone_device_register("guest", 1, 0, NULL, &ops, NULL, 0, 0);
	if (IS_ERR(zone))
		return PTR_ERR(zone);
	/* The first look at a zone that is not enabled is none. */
	return thermal_zone_device_enable(zone);
}

static void __exit hot_exit(void)
{
	thermal_zone_device_unregister(zone);
}
#else
static int __init hot_init(void)
{
	return -EOPNOTSUPP;
}

static void __exit hot_exit(void)
{
}
#endif

module_init(hot_init);
module_exit(hot_exit);

MODULE_DESCRIPTION("A thermal zone that is too hot");
MODULE_LICENSE("GPL");
