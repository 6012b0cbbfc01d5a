//! The real process on real (virtual) cables; the test is its slow path.
mod control;
mod devices;
mod esp;
mod frames;
mod plain;
mod sharing;
mod support;
mod takeover;
mod watch;
