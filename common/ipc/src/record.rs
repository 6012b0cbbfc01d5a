//! Contract values ⇄ fixed-size records. Encoding cannot fail for values within the stated bounds; decoding is
//! total: any bytes give a valid value or [`Malformed`], and what it gives obeys every rule of `sa`'s types.
//!
//! A record is copied out of the ring before it is looked at, so nothing changes between check and use.
mod addr;
mod message;
mod network;
mod spec;
mod watch;

pub use addr::{AddrRecord, SocketRecord};
pub use message::{
    ACK_BYTES, COMMAND_BYTES, EVENT_BYTES, FRAME_HEAD_BYTES, decode_ack, decode_command, decode_event,
    decode_frame, encode_ack, encode_command, encode_event, encode_frame,
};
pub use spec::{PolicyRecord, SaRecord, SelectorRecord};
pub use watch::{SEEN_HEAD_BYTES, decode_seen, encode_seen};

/// Which part of a record does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record's {0} is not valid")]
pub struct Malformed(pub &'static str);

/// Why a value cannot be put into a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("an SA carries {0} pairs of traffic selectors; 1 to {max} fit, split the policy", max = sa::SaSpec::MAX_SELECTORS)]
    Selectors(usize),
    #[error("an SA serves {0} policies; 1 to {max} fit, make them wider", max = sa::SaSpec::MAX_ALSO + 1)]
    Policies(usize),
    #[error("an interface's name has 1 to {max} bytes, this one {0}", max = crate::layout::INTERFACE_NAME_BYTES)]
    InterfaceName(usize),
    #[error("a frame of {0} bytes is longer than {max}", max = crate::layout::MAX_FRAME)]
    Frame(usize),
    #[error("{0} policies or SAs are too many to be watched at once; at most {max}: name one", max = crate::watch::Subject::MOST)]
    Watched(usize),
    #[error("{0} bytes of a packet are more than the {max} that can be copied", max = crate::watch::MAX_SNAP)]
    Snap(usize),
}
