"""A new method against frozen baselines: saved (reading), freeze, own_methods, judge, page, in this order."""
