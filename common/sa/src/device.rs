//! The `device` of a port: what is plugged in there, in one syntax for hardware and for the lab.
//!
//! Text in (`kind:what[,key=value…]`), a checked value out; `Display` writes the same text again.
//! What the packet I/O library makes of it is not known here.
use std::fmt;

/// What a port is made of. Built by parsing, so that no field holds a separator (`,`) or is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// A PCI NIC, by address. Its arguments are the driver's own and are not checked here.
    Pci { address: PciAddress, args: Vec<DeviceArg> },
    /// A virtio-user port: the driver side of the vhost-user socket at `path`, or of `/dev/vhost-net`.
    Virtio { path: String, args: Vec<DeviceArg> },
    /// The device side of vhost-user: a guest's virtio-net connects to the socket at `path`.
    VhostUser { path: String, args: Vec<DeviceArg> },
    /// Shared memory between two processes; one is the server, which makes the socket.
    Memif { socket: String, role: MemifRole, id: u32, args: Vec<DeviceArg> },
    /// A kernel interface through AF_XDP.
    AfXdp { interface: InterfaceName, args: Vec<DeviceArg> },
    /// A kernel interface through AF_PACKET.
    AfPacket { interface: InterfaceName, args: Vec<DeviceArg> },
    /// A kernel TAP interface that is made at start and goes away with the process.
    Tap { interface: InterfaceName, args: Vec<DeviceArg> },
    /// Frames read from one capture file and written to another; without `tx` they are discarded.
    Pcap { rx: String, tx: Option<String> },
    /// Receives nothing and swallows what is sent.
    Null,
    /// A ring in memory: what is sent is received again. For the lab.
    Ring { name: String },
}

/// One `key=value` after the name of the device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeviceArg {
    pub key: String,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemifRole {
    Server,
    Client,
}

/// domain:bus:device.function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PciAddress {
    pub domain: u32,
    pub bus: u8,
    pub device: u8,
    pub function: u8,
}

/// The name of a kernel interface: 1 to 15 bytes, none of `/`, `:`, `,`, white space.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InterfaceName(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    #[error("`{0}` is not a kind of device; write one of: {kinds}", kinds = examples())]
    UnknownKind(String),
    #[error("`{kind}` needs {what}, as in `{example}`")]
    Missing { kind: &'static str, what: &'static str, example: &'static str },
    #[error("`{kind}` takes nothing after its name; write `{kind}`")]
    Unexpected { kind: &'static str },
    #[error(
        "`{0}` is not a PCI address; write domain:bus:device.function in hexadecimal, as in 0000:01:00.0"
    )]
    PciAddress(String),
    #[error("`{0}` is not the name of a network interface (1 to 15 characters without / : , and spaces)")]
    InterfaceName(String),
    #[error("`{path}` is not usable as {what}: {why}")]
    Path { what: &'static str, path: String, why: &'static str },
    #[error("`{0}` is not an argument; write key=value")]
    NotAnArgument(String),
    #[error("`{kind}` has no argument `{key}`; it knows: {}", known.join(", "))]
    UnknownArgument { kind: &'static str, key: String, known: &'static [&'static str] },
    #[error("the argument `{0}` is given twice")]
    Duplicate(String),
    #[error("`{key}={value}`: write {want}")]
    Value { key: &'static str, value: String, want: &'static str },
}

/// What a kind is called, how it is written, and the arguments it knows (`None`: the driver's own).
#[derive(Debug)]
struct Kind {
    name: &'static str,
    example: &'static str,
    args: Option<&'static [&'static str]>,
}

const PCI: Kind = Kind { name: "pci", example: "pci:0000:01:00.0", args: None };
const VIRTIO: Kind = Kind {
    name: "virtio",
    example: "virtio:/run/vm1.sock",
    args: Some(&["queues", "queue_size", "mac", "mrg_rxbuf", "in_order", "packed_vq", "server", "iface"]),
};
const VHOST_USER: Kind = Kind {
    name: "vhost-user",
    example: "vhost-user:/run/vm1.sock",
    args: Some(&["queues", "client", "iommu-support", "postcopy-support", "tso"]),
};
const MEMIF: Kind = Kind {
    name: "memif",
    example: "memif:/run/memif.sock,role=server,id=0",
    args: Some(&["role", "id", "bsize", "rsize", "mac", "zero-copy"]),
};
const AF_XDP: Kind = Kind {
    name: "af-xdp",
    example: "af-xdp:eth1",
    args: Some(&["start_queue", "queue_count", "shared_umem", "busy_budget", "force_copy"]),
};
const AF_PACKET: Kind = Kind {
    name: "af-packet",
    example: "af-packet:eth1",
    args: Some(&["qpairs", "blocksz", "framesz", "framecnt", "qdisc_bypass"]),
};
const TAP: Kind = Kind { name: "tap", example: "tap:tap0", args: Some(&["mac"]) };
const PCAP: Kind = Kind { name: "pcap", example: "pcap:in.pcap,out.pcap", args: None };
const NULL: Kind = Kind { name: "null", example: "null", args: None };
const RING: Kind = Kind { name: "ring", example: "ring:loop0", args: None };
const KINDS: [&Kind; 10] =
    [&PCI, &VIRTIO, &VHOST_USER, &MEMIF, &AF_XDP, &AF_PACKET, &TAP, &PCAP, &NULL, &RING];

fn examples() -> String {
    KINDS.map(|kind| kind.example).join(", ")
}

impl Kind {
    fn missing(&self, what: &'static str) -> DeviceError {
        DeviceError::Missing { kind: self.name, what, example: self.example }
    }
    fn args(&self, parts: std::str::Split<'_, char>) -> Result<Vec<DeviceArg>, DeviceError> {
        let mut args: Vec<DeviceArg> = Vec::new();
        for part in parts {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) if is_word(key) && is_value(value) => (key, value),
                _ => return Err(DeviceError::NotAnArgument(part.into())),
            };
            if let Some(known) = self.args.filter(|known| !known.contains(&key)) {
                return Err(DeviceError::UnknownArgument { kind: self.name, key: key.into(), known });
            }
            if args.iter().any(|arg| arg.key == key) {
                return Err(DeviceError::Duplicate(key.into()));
            }
            args.push(DeviceArg { key: key.into(), value: value.into() });
        }
        Ok(args)
    }
}

fn is_word(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
/// Nothing that a device argument list would read as its own syntax.
fn is_value(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_graphic() && !b"=[]\"'".contains(&b))
}

/// Longest path of a Unix socket, without the closing zero.
const SOCKET_PATH_MAX: usize = 107;

fn socket_path(path: &str) -> Result<String, DeviceError> {
    let fail = |why| Err(DeviceError::Path { what: "a socket", path: path.into(), why });
    match path {
        _ if !path.starts_with('/') => fail("it must be absolute"),
        _ if path.len() > SOCKET_PATH_MAX => fail("it is longer than 107 bytes"),
        _ if !is_value(path) => fail("it holds a space, a quote, `=`, a bracket or a non-ASCII character"),
        _ => Ok(path.into()),
    }
}
fn file_path(path: &str) -> Result<String, DeviceError> {
    let why = "it holds a space, a quote, `=`, a bracket or a non-ASCII character";
    if is_value(path) {
        Ok(path.into())
    } else {
        Err(DeviceError::Path { what: "a capture file", path: path.into(), why })
    }
}
fn take(args: &mut Vec<DeviceArg>, key: &str) -> Option<String> {
    args.iter().position(|arg| arg.key == key).map(|at| args.remove(at).value)
}

impl std::str::FromStr for Device {
    type Err = DeviceError;
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, rest),
            None => (text, ""),
        };
        let Some(kind) = KINDS.into_iter().find(|kind| kind.name == name) else {
            return Err(DeviceError::UnknownKind(name.into()));
        };
        let mut parts = rest.split(',');
        let what = parts.next().unwrap_or_default();
        let need = |noun| if what.is_empty() { Err(kind.missing(noun)) } else { Ok(what) };
        Ok(match kind.name {
            "pci" => Self::Pci { address: need("an address")?.parse()?, args: kind.args(parts)? },
            "virtio" => Self::Virtio { path: socket_path(need("a path")?)?, args: kind.args(parts)? },
            "vhost-user" => Self::VhostUser { path: socket_path(need("a path")?)?, args: kind.args(parts)? },
            "memif" => {
                let socket = socket_path(need("a socket")?)?;
                let mut args = kind.args(parts)?;
                let role = match take(&mut args, "role") {
                    None => MemifRole::Client,
                    Some(role) => role.parse()?,
                };
                let id = match take(&mut args, "id") {
                    None => 0,
                    Some(id) => id.parse().map_err(|_| DeviceError::Value {
                        key: "id",
                        value: id,
                        want: "a number from 0 to 4294967295",
                    })?,
                };
                Self::Memif { socket, role, id, args }
            }
            "af-xdp" => Self::AfXdp { interface: need("an interface")?.parse()?, args: kind.args(parts)? },
            "af-packet" => {
                Self::AfPacket { interface: need("an interface")?.parse()?, args: kind.args(parts)? }
            }
            "tap" => Self::Tap { interface: need("an interface")?.parse()?, args: kind.args(parts)? },
            "pcap" => {
                let rx = file_path(need("a capture file to read")?)?;
                let tx = parts.next().map(file_path).transpose()?;
                match parts.next() {
                    Some(more) => return Err(DeviceError::NotAnArgument(more.into())),
                    None => Self::Pcap { rx, tx },
                }
            }
            "ring" => match need("a name")? {
                name if is_word(name) && name.len() <= 20 && parts.next().is_none() => {
                    Self::Ring { name: name.into() }
                }
                _ => {
                    return Err(DeviceError::Value {
                        key: "ring",
                        value: rest.into(),
                        want: "a name of at most 20 letters, digits, - and _",
                    });
                }
            },
            _ if text != NULL.name => return Err(DeviceError::Unexpected { kind: NULL.name }),
            _ => Self::Null,
        })
    }
}

impl Device {
    /// The word before the colon.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Pci { .. } => PCI.name,
            Self::Virtio { .. } => VIRTIO.name,
            Self::VhostUser { .. } => VHOST_USER.name,
            Self::Memif { .. } => MEMIF.name,
            Self::AfXdp { .. } => AF_XDP.name,
            Self::AfPacket { .. } => AF_PACKET.name,
            Self::Tap { .. } => TAP.name,
            Self::Pcap { .. } => PCAP.name,
            Self::Null => NULL.name,
            Self::Ring { .. } => RING.name,
        }
    }
    /// The arguments after the name, those of memif that have a field of their own left out.
    pub fn args(&self) -> &[DeviceArg] {
        match self {
            Self::Pci { args, .. }
            | Self::Virtio { args, .. }
            | Self::VhostUser { args, .. }
            | Self::Memif { args, .. }
            | Self::AfXdp { args, .. }
            | Self::AfPacket { args, .. }
            | Self::Tap { args, .. } => args,
            Self::Pcap { .. } | Self::Null | Self::Ring { .. } => &[],
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Pci { address, .. } => write!(f, "{kind}:{address}")?,
            Self::Virtio { path, .. } | Self::VhostUser { path, .. } => write!(f, "{kind}:{path}")?,
            Self::Memif { socket, role, id, .. } => write!(f, "{kind}:{socket},role={role},id={id}")?,
            Self::AfXdp { interface, .. }
            | Self::AfPacket { interface, .. }
            | Self::Tap { interface, .. } => write!(f, "{kind}:{interface}")?,
            Self::Pcap { rx, tx: None } => write!(f, "{kind}:{rx}")?,
            Self::Pcap { rx, tx: Some(tx) } => write!(f, "{kind}:{rx},{tx}")?,
            Self::Null => f.write_str(kind)?,
            Self::Ring { name } => write!(f, "{kind}:{name}")?,
        }
        self.args().iter().try_for_each(|arg| write!(f, ",{arg}"))
    }
}
impl fmt::Display for DeviceArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

impl std::str::FromStr for MemifRole {
    type Err = DeviceError;
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        match text {
            "server" => Ok(Self::Server),
            "client" => Ok(Self::Client),
            _ => Err(DeviceError::Value {
                key: "role",
                value: text.into(),
                want: "role=server or role=client",
            }),
        }
    }
}
impl fmt::Display for MemifRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

impl std::str::FromStr for PciAddress {
    type Err = DeviceError;
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let hex = |s: &str, digits: std::ops::RangeInclusive<usize>, max: u32| {
            let plain = digits.contains(&s.len()) && s.bytes().all(|b| b.is_ascii_hexdigit());
            u32::from_str_radix(s, 16).ok().filter(|value| plain && *value <= max)
        };
        let parse = || {
            let (head, function) = text.rsplit_once('.')?;
            let (head, device) = head.rsplit_once(':')?;
            // As lspci prints it, the domain may be left out when it is zero.
            let (domain, bus) = head.rsplit_once(':').unwrap_or(("0", head));
            Some(Self {
                domain: hex(domain, 1..=8, u32::MAX)?,
                bus: u8::try_from(hex(bus, 1..=2, 0xff)?).ok()?,
                device: u8::try_from(hex(device, 1..=2, 0x1f)?).ok()?,
                function: u8::try_from(hex(function, 1..=1, 7)?).ok()?,
            })
        };
        parse().ok_or_else(|| DeviceError::PciAddress(text.into()))
    }
}
impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl InterfaceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl std::str::FromStr for InterfaceName {
    type Err = DeviceError;
    fn from_str(text: &str) -> Result<Self, DeviceError> {
        let good = (1..=15).contains(&text.len())
            && is_value(text)
            && !text.contains(['/', ':', ','])
            && text != "."
            && text != "..";
        if good { Ok(Self(text.into())) } else { Err(DeviceError::InterfaceName(text.into())) }
    }
}
impl fmt::Display for InterfaceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_kind_is_read_and_written_the_same() {
        for text in [
            "pci:0000:01:00.0",
            "pci:10000:e1:00.3,mprq_en=1",
            "virtio:/run/a.sock,queues=2",
            "vhost-user:/run/a.sock,queues=2,client=1",
            "memif:/run/m.sock,role=server,id=3,bsize=2048",
            "memif:/run/m.sock,role=client,id=0",
            "af-xdp:eth1,queue_count=2",
            "af-packet:veth0",
            "tap:tap0,mac=02:00:00:00:00:01",
            "pcap:in.pcap",
            "pcap:/tmp/in.pcap,/tmp/out.pcap",
            "null",
            "ring:loop0",
        ] {
            let device: Device = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(device.to_string(), text);
        }
        for kind in KINDS {
            assert_eq!(kind.example.parse::<Device>().expect(kind.example).kind(), kind.name);
        }
    }

    #[test]
    fn short_forms_are_completed() {
        for (short, long) in [("memif:/m", "memif:/m,role=client,id=0"), ("pci:01:00.0", "pci:0000:01:00.0")]
        {
            assert_eq!(short.parse::<Device>().expect(short).to_string(), long);
        }
    }

    #[test]
    fn a_mistake_says_what_to_write() {
        for (text, hint) in [
            ("eth0", "af-packet:eth1"),
            ("", "pci:0000:01:00.0"),
            ("pci", "`pci` needs an address, as in `pci:0000:01:00.0`"),
            ("pci:01:00", "domain:bus:device.function"),
            ("pci:0000:01:20.0", "domain:bus:device.function"),
            ("pci:0000:01:00.8", "domain:bus:device.function"),
            ("virtio:run/a.sock", "it must be absolute"),
            ("vhost-user:", "as in `vhost-user:/run/vm1.sock`"),
            ("memif:/m,role=master", "role=server or role=client"),
            ("memif:/m,id=-1", "0 to 4294967295"),
            ("memif:/m,role=server,role=client", "given twice"),
            ("memif:/m,server", "write key=value"),
            ("memif:/m,", "write key=value"),
            ("af-xdp:averyverylongname", "1 to 15 characters"),
            ("af-xdp:eth1,queues=2", "it knows: start_queue, queue_count"),
            ("af-packet:", "needs an interface"),
            ("tap:a/b", "1 to 15 characters"),
            ("pcap:a,b,c", "`c` is not an argument"),
            ("pcap:", "needs a capture file"),
            ("null:x", "write `null`"),
            ("ring:", "needs a name"),
            ("ring:a b", "letters, digits"),
        ] {
            let said = text.parse::<Device>().expect_err(text).to_string();
            assert!(said.contains(hint), "{text}: {said}");
        }
    }

    proptest! {
        #[test]
        fn what_is_accepted_survives_a_round_trip(kind in prop::sample::select(&KINDS[..]), rest in "[ -~]{0,40}") {
            let text = format!("{}:{rest}", kind.name);
            if let Ok(device) = text.parse::<Device>() {
                prop_assert_eq!(device.to_string().parse::<Device>(), Ok(device));
            }
        }
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = text.parse::<Device>();
        }
    }
}
