//! ESP in tunnel mode whose policy asks for more than RFC 4301 does of itself ([`sa::Framing`]): another DF bit or DSCP
//! outside, TCP's segment size changed, padding to one size. Out of line: nobody else comes by here.
use super::iv::IvSource;
use super::outbound::{Iv, Run, Shape, encapsulate, inner_mtu};
use super::{modes, mss};
use crate::crypto::Job;
use crate::tables::Sa;
use sa::{DontFragment, DropReason};
use wire::PacketBuf;

//= rfc4301#8.1/df-clear: what may not be fragmented before encryption is fragmented after it.
/// Whether too large packets of this SA become fragments of ESP. IPv6 leaves that to hosts alone, and we are none.
pub(crate) fn splits_after<K>(sa: &Sa<K>) -> bool {
    sa.about.framing.dont_fragment == DontFragment::Clear && sa.header.is_ipv4
}

/// A packet under its SA's headers, ready for the engine.
#[cold]
#[inline(never)]
pub(crate) fn job<B: PacketBuf, K>(
    run: &Run<'_, K>,
    mut packet: B,
    seq: u64,
    ivs: &mut IvSource,
) -> Result<Job<B>, DropReason> {
    let (sa, framing) = (run.sa, &run.sa.about.framing);
    let fits = inner_mtu(sa, &run.way);
    if framing.clamp_mss {
        mss::clamp(packet.data_mut(), fits);
    }
    pad(&mut packet, usize::from(framing.pad_to).min(fits)).ok_or(DropReason::NoHeadroom)?;
    let inner = packet.len();
    // What has to be split gets its link header then.
    let whole = Shape::of(sa, inner).total(inner) <= modes::mtu(sa, &run.way);
    let way = if whole { run.way } else { run.way.bare() };
    let iv = match sa.about.suite.encryption().counts_iv() {
        true => Iv::Counter(seq),
        false => Iv::Random(ivs.next()),
    };
    let esp_len = encapsulate(sa, &way, &mut packet, seq, iv, Some(framing));
    Ok(run.seal(packet, &way, seq, esp_len.ok_or(DropReason::NoHeadroom)?))
}

//= rfc4303#2.7/tfc-padding: zeros between the inner packet and ESP's own padding; its length says where it ends.
fn pad<B: PacketBuf>(packet: &mut B, size: usize) -> Option<()> {
    let before = packet.len();
    if before < size {
        packet.append(size - before)?.get_mut(before..)?.fill(0);
    }
    Some(())
}
