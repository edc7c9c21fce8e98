"""Pure rules: who should lead, and which objects should therefore exist. No IO, no clock, no logging."""
