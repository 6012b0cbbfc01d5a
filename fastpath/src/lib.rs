//! Laid out; filled in by the next commits.
