//! Values → bytes, by append only.
use super::numbers::PayloadType;
use super::payload::*;
use super::wire::with_length16;
use super::{Header, Message, proposal, ts};

/// The header with `first` payload; the length is filled in by `finish`.
pub(super) fn header(header: &Header, first: PayloadType) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend(header.spi_i.to_be_bytes());
    out.extend(header.spi_r.to_be_bytes());
    let flags = u8::from(header.initiator) << 3 | u8::from(header.response) << 5;
    out.extend([first.0, 0x20, header.exchange.0, flags]);
    out.extend(header.message_id.to_be_bytes());
    out.extend([0; 4]);
    out
}
pub(super) fn finish(out: &mut [u8], total: usize) {
    let total = u32::try_from(total).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(24..28) {
        place.copy_from_slice(&total.to_be_bytes());
    }
}

pub(super) fn clear(message: &Message) -> Vec<u8> {
    let mut out = header(&message.header, first(&message.payloads));
    chain(&mut out, &message.payloads);
    let total = out.len();
    finish(&mut out, total);
    out
}

pub(super) fn first(payloads: &[Payload]) -> PayloadType {
    sendable(payloads).next().map_or(PayloadType::NONE, Payload::kind)
}
fn sendable(payloads: &[Payload]) -> impl Iterator<Item = &Payload> {
    payloads.iter().filter(|p| !matches!(p, Payload::Broken { .. }))
}

pub(super) fn chain(out: &mut Vec<u8>, payloads: &[Payload]) {
    let mut rest = sendable(payloads).peekable();
    while let Some(payload) = rest.next() {
        let next = rest.peek().map_or(PayloadType::NONE, |p| p.kind());
        let start = out.len();
        //= rfc7296#2.5/never-critical: payloads of RFC 7296 itself are sent with the bit clear.
        out.extend([next.0, 0, 0, 0]);
        with_length16(out, start, start + 2, |out| inside(out, payload));
    }
}

fn inside(out: &mut Vec<u8>, payload: &Payload) {
    match payload {
        Payload::Sa(proposals) => proposal::build(out, proposals),
        Payload::Ke(ke) => {
            out.extend(ke.group.to_be_bytes());
            out.extend([0; 2]);
            out.extend(&ke.data);
        }
        Payload::IdI(id) | Payload::IdR(id) => out.extend(id.body()),
        Payload::Cert(cert) | Payload::CertReq(cert) => {
            out.push(cert.encoding);
            out.extend(&cert.data);
        }
        Payload::Auth(auth) => {
            out.extend([auth.method.0, 0, 0, 0]);
            out.extend(&auth.data);
        }
        Payload::Nonce(bytes) | Payload::VendorId(bytes) | Payload::Eap(bytes) => out.extend(bytes),
        Payload::Notify(notify) => {
            out.extend([notify.protocol.0, notify.spi.len() as u8]);
            out.extend(notify.kind.0.to_be_bytes());
            out.extend(&notify.spi);
            out.extend(&notify.data);
        }
        Payload::Delete(delete) => {
            let size = if delete.spis.is_empty() && delete.protocol == super::Protocol::IKE { 0 } else { 4 };
            out.extend([delete.protocol.0, size]);
            out.extend((delete.spis.len() as u16).to_be_bytes());
            delete.spis.iter().for_each(|spi| out.extend(spi.to_be_bytes()));
        }
        Payload::TsI(list) | Payload::TsR(list) => ts::build(out, list),
        Payload::Cp(cp) => {
            out.extend([cp.kind, 0, 0, 0]);
            for attribute in &cp.attributes {
                out.extend(attribute.kind.to_be_bytes());
                out.extend((attribute.value.len() as u16).to_be_bytes());
                out.extend(&attribute.value);
            }
        }
        Payload::Broken { .. } => {}
    }
}
