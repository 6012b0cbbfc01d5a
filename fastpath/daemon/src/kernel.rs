//! Keeps the kernel's own stack off an interface that AF_PACKET shares with it.
//!
//! AF_PACKET gets a copy of each frame; the kernel goes on with its own. It would answer ARP for the
//! addresses of the exception TAPs, take packets for them a second time, and forward them where
//! forwarding is on: every packet twice, the second one past the policies. (AF_XDP takes the frame away.)
use std::path::PathBuf;
use tracing::warn;

/// What is set while the gateway runs. Strict reverse-path filtering drops all of IPv4 there, since the
/// routes to the senders lead through the TAP.
const SETTINGS: [(&str, &str); 4] = [
    ("ipv4/conf/{}/forwarding", "0"),
    ("ipv4/conf/{}/rp_filter", "1"),
    ("ipv4/conf/{}/arp_ignore", "1"),
    ("ipv6/conf/{}/disable_ipv6", "1"),
];

/// Puts the former values back when dropped.
#[derive(Default)]
pub struct Quiet(Vec<(PathBuf, String)>);

impl Quiet {
    pub fn new(interface: &str) -> Self {
        let mut former = Vec::new();
        for (name, value) in SETTINGS {
            let path = PathBuf::from("/proc/sys/net").join(name.replace("{}", interface));
            let was = match std::fs::read_to_string(&path) {
                Ok(was) => was,
                // Without IPv6 in the kernel there is nothing to keep off.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    warn!(interface, "{}: {error}", path.display());
                    continue;
                }
            };
            if was.trim() == value {
                continue;
            }
            match std::fs::write(&path, value) {
                Ok(()) => former.push((path, was)),
                Err(error) => warn!(
                    interface,
                    "the kernel may handle packets of this port as well: cannot write {value} to {}: {error}",
                    path.display()
                ),
            }
        }
        Self(former)
    }
}
impl Drop for Quiet {
    fn drop(&mut self) {
        for (path, was) in self.0.drain(..).rev() {
            // The interface may be gone by now, and its settings with it.
            let _ = std::fs::write(path, was);
        }
    }
}
