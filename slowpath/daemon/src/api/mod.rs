//! The management API over HTTP: a thread of its own beside the driver, which it asks through the desk.
//!
//! `server` takes connections (a Unix socket; TLS when the configuration wants it), `auth` knows who is asking, `handle`
//! hands requests to `manage::api` and carries out what they mean, `live` makes rows of what runs, `stream` sends lists
//! and events.
mod auth;
mod events;
mod handle;
mod live;
mod server;
mod stream;
mod tls;

pub use handle::Shown;
pub use live::entries;
pub use server::{Server, start};
