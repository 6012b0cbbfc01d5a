//! What is kept of a few dropped packets, so that somebody can be told why his went no further.
use super::seen::flow_of;
use ipc::LostPacket;
use sa::DropReason;
use wire::esp;
use wire::ip::protocol;

/// Kept until somebody takes them; what is dropped meanwhile is only counted.
pub const KEPT: usize = 16;

/// `bytes` begins at an IP header. `None`: it is no packet that anybody could ask for.
#[cold]
pub fn lost(reason: DropReason, bytes: &[u8], spi: u32) -> Option<LostPacket> {
    let (packet, flow) = flow_of(bytes).ok()?;
    let named = match packet.protocol {
        protocol::ESP => esp::Header::parse(packet.upper(bytes)).map_or(0, |header| header.spi),
        _ => 0,
    };
    Some(LostPacket {
        reason,
        src: flow.src,
        dst: flow.dst,
        protocol: flow.protocol,
        ports: flow.src_port.zip(flow.dst_port),
        spi: if spi == 0 { named } else { spi },
    })
}
