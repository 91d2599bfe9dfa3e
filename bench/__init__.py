# SPDX-License-Identifier: GPL-2.0-only
"""The benchmark: what each operation costs, beside everything comparable."""
