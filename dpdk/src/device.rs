//! From the `device` of the configuration to what DPDK probes, and the faults it would only log.
use crate::log::Errno;
pub use sa::Device;
use sa::{DeviceArg, InterfaceName, MemifRole};
use std::ffi::CString;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// What to tell DPDK's device manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub bus: &'static str,
    /// DPDK's name of the device; the driver is found by its beginning.
    pub name: String,
    pub args: String,
}

#[derive(Debug, thiserror::Error)]
pub enum DeviceFault {
    #[error("there is no network interface `{0}` in this network namespace")]
    NoInterface(InterfaceName),
    #[error("the socket {0} is in use by another process")]
    SocketInUse(String),
    #[error("{0} exists and is not a socket; it is left alone")]
    NotASocket(String),
    #[error("the stale socket {path} cannot be removed: {source}")]
    StaleSocket { path: String, source: io::Error },
    #[error("the capture file {path} cannot be read: {source}")]
    Capture { path: String, source: io::Error },
    #[error("`{0}` names a port; write 1 to 32 letters, digits, `-`, `_` or `.`")]
    PortName(String),
    #[error("a socket cannot be opened: {0}")]
    Kernel(Errno),
}

impl Plan {
    /// `port` makes the names of DPDK's devices unique within the process.
    pub fn new(port: &str, device: &Device) -> Result<Self, DeviceFault> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !(1..=32).contains(&port.len()) || !port.bytes().all(good) {
            return Err(DeviceFault::PortName(port.into()));
        }
        let (driver, own) = match device {
            Device::Pci { address, args } => {
                return Ok(Self { bus: "pci", name: address.to_string(), args: join(String::new(), args) });
            }
            Device::Virtio { path, .. } => ("net_virtio_user", format!("path={path}")),
            Device::VhostUser { path, .. } => ("net_vhost", format!("iface={path}")),
            Device::Memif { socket, role, id, .. } => {
                // A path, not a name in the kernel's abstract space, which other namespaces do not see.
                ("net_memif", format!("role={role},id={id},socket={socket},socket-abstract=no"))
            }
            Device::AfXdp { interface, .. } => ("net_af_xdp", format!("iface={interface}")),
            Device::AfPacket { interface, .. } => ("net_af_packet", format!("iface={interface}")),
            Device::Tap { interface, .. } => ("net_tap", format!("iface={interface}")),
            Device::Pcap { rx, tx: None } => ("net_pcap", format!("rx_pcap={rx}")),
            Device::Pcap { rx, tx: Some(tx) } => ("net_pcap", format!("rx_pcap={rx},tx_pcap={tx}")),
            Device::Null => ("net_null", "no-rx=1".into()),
            Device::Ring { name } => {
                return Ok(Self { bus: "vdev", name: format!("net_ring_{name}"), args: String::new() });
            }
        };
        Ok(Self { bus: "vdev", name: format!("{driver}_{port}"), args: join(own, device.args()) })
    }
}

fn join(own: String, args: &[DeviceArg]) -> String {
    args.iter().fold(own, |text, arg| if text.is_empty() { arg.to_string() } else { format!("{text},{arg}") })
}

/// Looks for what would make the driver fail with nothing but a number, and removes the socket a
/// process that died has left behind.
pub(crate) fn prepare(device: &Device) -> Result<(), DeviceFault> {
    match device {
        Device::AfXdp { interface, .. } | Device::AfPacket { interface, .. } => need_interface(interface),
        Device::Memif { socket, role: MemifRole::Server, .. } => {
            remove_stale(socket, connects_seqpacket(socket)?)
        }
        Device::VhostUser { path, args } if !is_set(args, "client") => {
            remove_stale(path, UnixStream::connect(path).is_ok())
        }
        Device::Virtio { path, args } if is_set(args, "server") => {
            remove_stale(path, UnixStream::connect(path).is_ok())
        }
        Device::Pcap { rx, .. } => std::fs::File::open(rx)
            .map(drop)
            .map_err(|source| DeviceFault::Capture { path: rx.clone(), source }),
        _ => Ok(()),
    }
}

fn is_set(args: &[DeviceArg], key: &str) -> bool {
    args.iter().any(|arg| arg.key == key && arg.value != "0")
}

fn need_interface(interface: &InterfaceName) -> Result<(), DeviceFault> {
    let missing = || DeviceFault::NoInterface(interface.clone());
    let name = CString::new(interface.as_str()).map_err(|_| missing())?;
    // SAFETY: a C text that outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(missing()),
        _ => Ok(()),
    }
}

fn remove_stale(path: &str, answered: bool) -> Result<(), DeviceFault> {
    match Path::new(path).symlink_metadata() {
        Err(_) => Ok(()),
        Ok(_) if answered => Err(DeviceFault::SocketInUse(path.into())),
        Ok(meta) if !meta.file_type().is_socket() => Err(DeviceFault::NotASocket(path.into())),
        Ok(_) => std::fs::remove_file(path)
            .map_err(|source| DeviceFault::StaleSocket { path: path.into(), source }),
    }
}

/// memif listens on a SOCK_SEQPACKET socket, which the standard library does not know.
fn connects_seqpacket(path: &str) -> Result<bool, DeviceFault> {
    let errno = || DeviceFault::Kernel(Errno(io::Error::last_os_error().raw_os_error().unwrap_or(0)));
    // SAFETY: makes a descriptor.
    let fd = unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: all zero is a value of this structure.
    let mut addr: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    addr.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // The last byte stays zero.
    let places = addr.sun_path.len() - 1;
    for (place, byte) in addr.sun_path[..places].iter_mut().zip(path.bytes()) {
        *place = byte as libc::c_char;
    }
    let len = size_of::<libc::sockaddr_un>() as libc::socklen_t;
    // SAFETY: a descriptor of ours, and an address of the length given.
    let connected = unsafe { libc::connect(fd, (&raw const addr).cast(), len) } == 0;
    // SAFETY: a descriptor of ours, not used after this.
    unsafe { libc::close(fd) };
    Ok(connected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_becomes_a_device_of_its_driver() {
        for (device, bus, name, args) in [
            ("pci:0000:01:00.0,a=1", "pci", "0000:01:00.0", "a=1"),
            ("virtio:/s,queues=2", "vdev", "net_virtio_user_wan", "path=/s,queues=2"),
            ("vhost-user:/s", "vdev", "net_vhost_wan", "iface=/s"),
            ("memif:/s,id=3", "vdev", "net_memif_wan", "role=client,id=3,socket=/s,socket-abstract=no"),
            ("af-xdp:eth1", "vdev", "net_af_xdp_wan", "iface=eth1"),
            ("af-packet:eth1,qpairs=2", "vdev", "net_af_packet_wan", "iface=eth1,qpairs=2"),
            ("tap:tap0", "vdev", "net_tap_wan", "iface=tap0"),
            ("pcap:a,b", "vdev", "net_pcap_wan", "rx_pcap=a,tx_pcap=b"),
            ("null", "vdev", "net_null_wan", "no-rx=1"),
            ("ring:r", "vdev", "net_ring_r", ""),
        ] {
            let plan = Plan::new("wan", &device.parse().expect(device)).expect(device);
            assert_eq!(plan, Plan { bus, name: name.into(), args: args.into() }, "{device}");
        }
    }

    #[test]
    fn a_port_name_cannot_smuggle_arguments() {
        for name in ["", "a,b=c", "a b", "ä", &"x".repeat(33)] {
            assert!(matches!(Plan::new(name, &Device::Null), Err(DeviceFault::PortName(_))), "{name}");
        }
    }

    #[test]
    fn a_stale_socket_is_removed_but_nothing_else() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("s").to_str().expect("UTF-8").to_owned();
        let device: Device = format!("vhost-user:{path}").parse().expect("a device");
        let listener = std::os::unix::net::UnixListener::bind(&path).expect("bind");
        assert!(matches!(prepare(&device), Err(DeviceFault::SocketInUse(_))));
        drop(listener);
        prepare(&device).expect("a stale socket is removed");
        assert!(!Path::new(&path).exists());
        std::fs::write(&path, "precious").expect("write");
        assert!(matches!(prepare(&device), Err(DeviceFault::NotASocket(_))));
        assert!(Path::new(&path).exists());
    }
}
