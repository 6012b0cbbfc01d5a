//! AES-GCM over one packet (SP 800-38D), for vectors of any number of blocks.
//!
//! Blocks are hashed in groups: all products of a group are added up and reduced once. A group is a full batch of
//! eight, or what remains at the end together with the block of lengths. The cipher of one batch and the hash of
//! another are interleaved: when opening that of the same batch, when sealing that of the one before, whose ciphertext
//! is there already.
//!
//! The hash works on blocks back to front, which makes GCM's reflected bits those of plain polynomials of degree 127
//! modulo x^128 + x^127 + x^126 + x^121 + 1, with each product divided by x^128 (RFC 8452 appendix A).
#![allow(clippy::needless_range_loop, reason = "constant bounds make these loops straight code")]
use super::key::{BATCH, Parts};
use super::lanes::{AesNi, Block, Bytes, HIGH_HIGH, LOW_LOW, Lanes};
use super::{Esp, Start};
use crate::prefetch::near;

/// The sum of products before reduction, after Karatsuba.
#[derive(Clone, Copy)]
struct Product<V> {
    low: V,
    /// Products of the sums of halves.
    folded: V,
    high: V,
}
impl<V: Lanes> Product<V> {
    #[inline(always)]
    fn zero(cpu: V::Cpu) -> Self {
        let zero = zero(cpu);
        Self { low: zero, folded: zero, high: zero }
    }
    #[inline(always)]
    fn add(&mut self, data: V, powers: V) {
        self.low = self.low.xor(data.multiply::<LOW_LOW>(powers));
        self.high = self.high.xor(data.multiply::<HIGH_HIGH>(powers));
        let (data, powers) = (data.xor(data.swap()), powers.xor(powers.swap()));
        self.folded = self.folded.xor(data.multiply::<LOW_LOW>(powers));
    }
    /// The same for vector `at` of a full batch, whose folded powers are at hand.
    #[inline(always)]
    fn add_batch<const MORE: usize>(&mut self, cpu: V::Cpu, data: V, key: &Parts<'_, MORE>, at: usize) {
        let powers = V::load(cpu, &key.powers[1 + at * V::BLOCKS..]);
        self.low = self.low.xor(data.multiply::<LOW_LOW>(powers));
        self.high = self.high.xor(data.multiply::<HIGH_HIGH>(powers));
        let data = data.xor(data.swap());
        self.folded = self.folded.xor(data.multiply_folded(cpu, key.folded, at));
    }
    #[inline(always)]
    fn reduce(self, cpu: V::Cpu) -> Block {
        // x^63 + x^62 + x^57: what the lowest 64 bits stand for 64 bits higher, beside themselves 128 bits higher.
        let poly = V::broadcast(cpu, Block::from_number(V::cpu(cpu), 0xc2 << 56));
        let middle = self.folded.xor(self.low).xor(self.high);
        let middle = middle.xor(self.low.swap()).xor(poly.multiply::<LOW_LOW>(self.low));
        self.high.xor(middle.swap()).xor(poly.multiply::<LOW_LOW>(middle)).sum()
    }
}

#[inline(always)]
fn zero<V: Lanes>(cpu: V::Cpu) -> V {
    V::broadcast(cpu, Block::zero(V::cpu(cpu)))
}

/// One product, reduced. The second factor is a power of the hash key as a record has it.
#[inline(always)]
pub fn dot(cpu: AesNi, a: Block, power: Block) -> Block {
    let mut product = Product::zero(cpu);
    product.add(a, power);
    product.reduce(cpu)
}

/// A packet on its way.
#[derive(Clone, Copy)]
struct Packet<'k, V: Lanes, const MORE: usize> {
    cpu: V::Cpu,
    key: &'k Parts<'k, MORE>,
    /// The counter block that the tag is ciphered with, back to front.
    j0: Block,
    /// The counter blocks of the next vector, back to front.
    counter: V,
    /// The last block of additional data with all before it, until it is multiplied.
    additional: Option<Block>,
    hash: Block,
    /// Bits of additional data and text.
    lengths: u128,
    /// The next packet.
    ahead: &'k [u8],
}

/// Seals or opens `text` in place, with `MORE` rounds of AES above ten: the number is constant, so that rounds are
/// straight code and mix with the hash. Sealing writes the ICV; opening compares it and wipes `text` when it differs.
#[inline(always)]
pub fn run<V: Lanes, const SEAL: bool, const MORE: usize>(
    cpu: V::Cpu,
    key: &Parts<'_, MORE>,
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
    icv: &mut Bytes,
) -> bool {
    let [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11] = *nonce;
    let high = u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let low = u32::from_be_bytes([n8, n9, n10, n11]);
    let nonce = u128::from(high) << 32 | u128::from(low);
    let mut packet: Packet<'_, V, MORE> = Packet::new(cpu, key, nonce, aad.len(), text.len());
    packet.additional(aad);
    packet.all::<SEAL>(text, icv)
}

/// The same for an ESP packet, while `ahead` is brought near, a piece with each piece of this one.
#[inline(always)]
pub fn run_esp<V: Lanes, const SEAL: bool, const MORE: usize>(
    cpu: V::Cpu,
    key: &Parts<'_, MORE>,
    start: Start,
    text: &mut [u8],
    icv: &mut Bytes,
    ahead: &[u8],
) -> bool {
    let packet = Packet::<'_, V, MORE>::of_esp(cpu, key, start, text.len());
    Packet { ahead, ..packet }.all::<SEAL>(text, icv)
}

/// Two ESP packets at once, with keys of their own. Each alone waits for one round after the other, and then for one
/// product after the other; of two, one works while the other waits. [`side_by_side`] tells which ones.
#[inline(always)]
pub fn run_two<V: Lanes, const SEAL: bool, const MORE: usize>(
    cpu: V::Cpu,
    [key, other]: [&Parts<'_, MORE>; 2],
    [esp, beside]: [Esp<'_>; 2],
) -> [bool; 2] {
    let (Some((start, text, icv)), Some((start_beside, text_beside, icv_beside))) =
        (esp.parts(), beside.parts())
    else {
        return [false; 2];
    };
    let first = Packet::<V, MORE>::of_esp(cpu, key, start, text.len());
    let second = Packet::of_esp(cpu, other, start_beside, text_beside.len());
    let packets = [&first, &second];
    let ((blocks, last), (blocks_beside, last_beside)) = (split(text), split(text_beside));
    /// As in [`Packet::rest`].
    macro_rules! end {
        ($($full:literal $count:literal),*) => {
            $(if let (Ok(blocks), Ok(beside)) =
                (<&mut [Bytes; $full]>::try_from(&mut *blocks), <&mut [Bytes; $full]>::try_from(&mut *blocks_beside))
            {
                let last = [&mut *last, &mut *last_beside];
                let tags = Packet::end::<SEAL, $full, $count, 2>(packets, [blocks, beside], last);
                return [finish::<V, SEAL>(cpu, tags[0], text, icv), finish::<V, SEAL>(cpu, tags[1], text_beside, icv_beside)];
            })*
        };
    }
    end!(0 1, 1 2, 2 3, 3 4, 4 5, 5 6, 6 7);
    [false; 2]
}
/// Whether [`run_two`] takes packets of these lengths: texts of at least a byte, as many blocks each, less than a batch.
#[inline(always)]
pub fn side_by_side(esp: usize, beside: usize) -> bool {
    const AROUND: usize = Esp::FRONT + 16;
    let blocks = |esp: usize| esp.wrapping_sub(AROUND + 1) / 16;
    blocks(esp) < BATCH - 1 && blocks(esp) == blocks(beside)
}

/// Writes the tag or compares it.
#[inline(always)]
fn finish<V: Lanes, const SEAL: bool>(cpu: V::Cpu, tag: Block, text: &mut [u8], icv: &mut Bytes) -> bool {
    if SEAL {
        tag.store(std::slice::from_mut(icv));
        return true;
    }
    let genuine = tag.xor(Block::load(V::cpu(cpu), std::slice::from_ref(icv))).is_zero();
    if !genuine {
        text.fill(0);
    }
    genuine
}

/// Blocks, and behind them the last one, which may be partial.
#[inline(always)]
fn split(text: &mut [u8]) -> (&mut [Bytes], &mut [u8]) {
    let whole = text.len().saturating_sub(1) / 16 * 16;
    let (blocks, last) = text.split_at_mut(whole);
    (blocks.as_chunks_mut().0, last)
}

impl<'k, V: Lanes, const MORE: usize> Packet<'k, V, MORE> {
    /// `nonce` has 96 bits, its first byte the highest.
    #[inline(always)]
    fn new(cpu: V::Cpu, key: &'k Parts<'k, MORE>, nonce: u128, aad: usize, text: usize) -> Self {
        let small = V::cpu(cpu);
        // SP 800-38D 7.1: J0 of a 96-bit nonce is the nonce and a counter of one.
        let j0 = Block::from_number(small, nonce << 32 | 1);
        let counter = V::broadcast(cpu, j0).add(V::count(cpu, 1));
        let lengths = u128::from(aad as u64 * 8) << 64 | u128::from(text as u64 * 8);
        Self { cpu, key, j0, counter, additional: None, hash: Block::zero(small), lengths, ahead: &[] }
    }
    #[inline(always)]
    fn of_esp(cpu: V::Cpu, key: &'k Parts<'k, MORE>, start: Start, text: usize) -> Self {
        let additional = Some(Block::from_number(V::cpu(cpu), start.aad).reverse());
        Self { additional, ..Self::new(cpu, key, start.nonce, start.aad_len, text) }
    }

    #[inline(always)]
    fn additional(&mut self, aad: &[u8]) {
        let cpu = V::cpu(self.cpu);
        let mut rest = aad;
        while let Some((part, behind)) = rest.split_first_chunk::<16>() {
            self.hash_additional();
            self.additional = Some(Block::load(cpu, &[*part]).reverse().xor(self.hash));
            rest = behind;
        }
        if !rest.is_empty() {
            self.hash_additional();
            self.additional = Some(Block::from_number(cpu, read(rest)).reverse().xor(self.hash));
        }
    }
    /// A short packet does without: there it becomes part of the only group.
    #[inline(always)]
    fn hash_additional(&mut self) {
        let cpu = V::cpu(self.cpu);
        if let Some(block) = self.additional.take() {
            self.hash = dot(cpu, block, Block::load(cpu, &self.key.powers[BATCH..]));
        }
    }

    #[inline(always)]
    fn all<const SEAL: bool>(mut self, text: &mut [u8], icv: &mut Bytes) -> bool {
        if text.len() > (BATCH - 1) * 16 {
            self.hash_additional();
        }
        let batched = text.len() / (BATCH * 16) * (BATCH * 16);
        let (batches, rest) = text.split_at_mut(batched);
        self.batches::<SEAL>(batches.as_chunks_mut().0.as_chunks_mut().0);
        // A copy: what is pointed to would be kept in memory from batch to batch.
        let tag = self.rest::<SEAL>(rest);
        finish::<V, SEAL>(self.cpu, tag, text, icv)
    }

    #[inline(always)]
    fn batches<const SEAL: bool>(&mut self, batches: &mut [[Bytes; BATCH]]) {
        if !SEAL {
            for (n, batch) in batches.iter_mut().enumerate() {
                self.approach(n);
                self.batch::<true>(batch, None);
            }
        } else if let Some((mut behind, batches)) = batches.split_first_mut() {
            self.batch::<false>(behind, None);
            for (n, batch) in batches.iter_mut().enumerate() {
                self.approach(n);
                self.batch::<true>(batch, Some(behind));
                behind = batch;
            }
            let mut product = Product::zero(self.cpu);
            for at in 0..BATCH / V::BLOCKS {
                self.hash_vector(&mut product, behind, at);
            }
            self.hash = product.reduce(self.cpu);
        }
    }

    /// Asks for as much of the next packet as batch `n` is long; who wrote its headers brought the first lines near.
    #[inline(always)]
    fn approach(&self, n: usize) {
        const BYTES: usize = BATCH * 16;
        let from = (n + 1) * BYTES;
        self.ahead.get(from).into_iter().chain(self.ahead.get(from + BYTES / 2)).for_each(near);
    }

    #[inline(always)]
    fn hash_vector(&self, product: &mut Product<V>, batch: &[Bytes; BATCH], at: usize) {
        let mut data = V::load(self.cpu, &batch[at * V::BLOCKS..]).reverse();
        if at == 0 {
            data = data.xor(self.hash_in_first_block());
        }
        product.add_batch(self.cpu, data, self.key, at);
    }
    #[inline(always)]
    fn hash_in_first_block(&self) -> V {
        V::gather(self.cpu, &[self.hash, Block::zero(V::cpu(self.cpu))])
    }
    #[inline(always)]
    fn round_key(&self, bytes: &Bytes) -> V {
        V::broadcast(self.cpu, Block::load(V::cpu(self.cpu), std::slice::from_ref(bytes)))
    }
    /// Counter blocks of vector `at` from here on, the right way round.
    #[inline(always)]
    fn counters(&self, at: usize) -> V {
        let ahead = Block::from_number(V::cpu(self.cpu), (at * V::BLOCKS) as u128);
        self.counter.add(V::broadcast(self.cpu, ahead))
    }

    /// Ciphers one batch; hashes the one behind, or this one as it was.
    #[inline(always)]
    fn batch<const HASH: bool>(&mut self, batch: &mut [Bytes; BATCH], behind: Option<&mut [Bytes; BATCH]>) {
        let vectors = BATCH / V::BLOCKS;
        let hashed: &[Bytes; BATCH] = match &behind {
            Some(behind) => behind,
            None => batch,
        };
        let mut product = Product::zero(self.cpu);
        let mut state = [self.counter; BATCH];
        let key = self.round_key(&self.key.first[0]);
        for at in 0..vectors {
            state[at] = self.counters(at).reverse().xor(key);
        }
        self.counter = self.counters(vectors);
        // Products are spread over the rounds, which wait for each other and leave room between.
        let stride = 9 / vectors;
        for round in 0..9 {
            let key = self.round_key(&self.key.first[1 + round]);
            for at in 0..vectors {
                state[at] = state[at].aes_round(key);
            }
            if HASH && round % stride == 0 && round / stride < vectors {
                // The vector that waits for the hash so far comes last.
                self.hash_vector(&mut product, hashed, (round / stride + 1) % vectors);
            }
        }
        for round in 0..MORE {
            let key = self.round_key(&self.key.more[round]);
            for at in 0..vectors {
                state[at] = state[at].aes_round(key);
            }
        }
        let key = self.round_key(self.key.last);
        for at in 0..vectors {
            let text = V::load(self.cpu, &batch[at * V::BLOCKS..]);
            state[at].aes_last_round(key.xor(text)).store(&mut batch[at * V::BLOCKS..]);
        }
        if HASH {
            self.hash = product.reduce(self.cpu);
        }
    }

    /// What is less than a batch, and the lengths. Returns the tag.
    #[inline(always)]
    fn rest<const SEAL: bool>(self, rest: &mut [u8]) -> Block {
        if rest.is_empty() {
            let [tag] = Self::end::<SEAL, 0, 0, 1>([&self], [&mut []], [&mut []]);
            return tag;
        }
        let (blocks, last) = split(rest);
        /// The number of blocks becomes a constant, and each has code of its own.
        macro_rules! end {
            ($($full:literal $count:literal),*) => {
                $(if let Ok(blocks) = <&mut [Bytes; $full]>::try_from(&mut *blocks) {
                    let [tag] = Self::end::<SEAL, $full, $count, 1>([&self], [blocks], [last]);
                    return tag;
                })*
            };
        }
        // Eight at most, since it was not a batch.
        end!(0 1, 1 2, 2 3, 3 4, 4 5, 5 6, 6 7, 7 8);
        Block::zero(V::cpu(self.cpu))
    }

    /// `COUNT` blocks of each packet: `FULL` ones, and `last` unless it is empty. Then E(J0) in the cipher's next lane
    /// and the lengths in the hash's.
    #[inline(always)]
    fn end<const SEAL: bool, const FULL: usize, const COUNT: usize, const N: usize>(
        packets: [&Self; N],
        blocks: [&mut [Bytes; FULL]; N],
        last: [&mut [u8]; N],
    ) -> [Block; N] {
        let (cpu, wide) = (V::cpu(packets[0].cpu), packets[0].cpu);
        let vectors = COUNT / V::BLOCKS + 1;
        let mut input = [[Block::zero(cpu); BATCH + 2]; N];
        let mut state = [[zero::<V>(wide); BATCH + 1]; N];
        for n in 0..N {
            for at in 0..FULL {
                input[n][at] = Block::load(cpu, &blocks[n][at..]);
            }
            if COUNT > 0 {
                input[n][COUNT - 1] = Block::from_number(cpu, read(last[n]));
            }
            let mut counters = [packets[n].j0.reverse(); BATCH + 2];
            for at in 0..COUNT {
                counters[at] = packets[n].counters(at / V::BLOCKS).reverse().block(at % V::BLOCKS);
            }
            let key = packets[n].round_key(&packets[n].key.first[0]);
            for at in 0..vectors {
                state[n][at] = V::gather(wide, &counters[at * V::BLOCKS..]).xor(key);
            }
        }
        for round in 1..10 {
            for n in 0..N {
                let key = packets[n].round_key(&packets[n].key.first[round]);
                for at in 0..vectors {
                    state[n][at] = state[n][at].aes_round(key);
                }
            }
        }
        for round in 0..MORE {
            for n in 0..N {
                let key = packets[n].round_key(&packets[n].key.more[round]);
                for at in 0..vectors {
                    state[n][at] = state[n][at].aes_round(key);
                }
            }
        }
        let mut tags = [Block::zero(cpu); N];
        for n in 0..N {
            let key = packets[n].round_key(packets[n].key.last);
            let mut output = [Block::zero(cpu); BATCH + 2];
            for at in 0..vectors {
                let text = V::gather(wide, &input[n][at * V::BLOCKS..]);
                let vector = state[n][at].aes_last_round(key.xor(text));
                for lane in 0..V::BLOCKS {
                    output[at * V::BLOCKS + lane] = vector.block(lane);
                }
            }
            for at in 0..FULL {
                output[at].store(&mut blocks[n][at..]);
            }
            if COUNT > 0 {
                write(last[n], output[COUNT - 1].number());
            }
            let mut hashed = input[n];
            if SEAL {
                hashed[..COUNT].copy_from_slice(&output[..COUNT]);
                if COUNT > 0 {
                    // The key stream behind the end is not ciphertext.
                    let mask = Block::load(cpu, &[mask(last[n].len())]);
                    hashed[COUNT - 1] = hashed[COUNT - 1].and(mask);
                }
            }
            hashed[COUNT] = Block::from_number(cpu, packets[n].lengths).reverse();
            tags[n] = packets[n].hash_end::<COUNT>(&hashed).reverse().xor(output[COUNT]);
        }
        tags
    }

    /// The hash of the last group: `COUNT` blocks and the lengths, or all if there was no other.
    #[inline(always)]
    fn hash_end<const COUNT: usize>(&self, hashed: &[Block; BATCH + 2]) -> Block {
        let cpu = V::cpu(self.cpu);
        let mut product = Product::zero(self.cpu);
        if COUNT < BATCH
            && let Some(block) = self.additional
        {
            let data = V::gather(self.cpu, &[block, Block::zero(cpu)]);
            product.add(data, self.round_key(&self.key.powers[BATCH - 1 - COUNT]));
        }
        for at in 0..COUNT / V::BLOCKS + 1 {
            let first = at * V::BLOCKS;
            let mut data = V::gather(self.cpu, &hashed[first..]).reverse();
            if at == 0 && self.additional.is_none() {
                data = data.xor(self.hash_in_first_block());
            }
            let powers = &self.key.powers[BATCH - COUNT + first..];
            // A lane behind the lengths is zero, whatever it is multiplied by.
            let powers = match powers.len() < V::BLOCKS {
                true => V::broadcast(self.cpu, Block::load(cpu, powers)),
                false => V::load(self.cpu, powers),
            };
            product.add(data, powers);
        }
        product.reduce(self.cpu)
    }
}

/// Up to 16 bytes, the first being the lowest, without reading beyond them or storing narrow what is loaded wide.
#[inline(always)]
fn read(bytes: &[u8]) -> u128 {
    if let Some(all) = bytes.first_chunk() {
        return u128::from_le_bytes(*all);
    }
    match bytes.split_first_chunk() {
        Some((low, rest)) => u128::from(u64::from_le_bytes(*low)) | u128::from(read_half(rest)) << 64,
        None => read_half(bytes).into(),
    }
}
/// Up to 7 bytes.
#[inline(always)]
fn read_half(bytes: &[u8]) -> u64 {
    let (fours, rest) = bytes.as_chunks();
    let (twos, rest) = rest.as_chunks();
    let (mut value, mut shift) = (0, 0);
    if let [part] = fours {
        (value, shift) = (u32::from_le_bytes(*part).into(), 32);
    }
    if let [part] = twos {
        (value, shift) = (value | u64::from(u16::from_le_bytes(*part)) << shift, shift + 16);
    }
    if let [byte] = rest {
        value |= u64::from(*byte) << shift;
    }
    value
}
/// The way back of [`read`].
#[inline(always)]
fn write(bytes: &mut [u8], value: u128) {
    if let Some(all) = bytes.first_chunk_mut() {
        *all = value.to_le_bytes();
        return;
    }
    let (eights, rest) = bytes.as_chunks_mut();
    let mut half = value as u64;
    if let [part] = eights {
        *part = half.to_le_bytes();
        half = (value >> 64) as u64;
    }
    let (fours, rest) = rest.as_chunks_mut();
    let (twos, rest) = rest.as_chunks_mut();
    if let [part] = fours {
        *part = (half as u32).to_le_bytes();
        half >>= 32;
    }
    if let [part] = twos {
        *part = (half as u16).to_le_bytes();
        half >>= 16;
    }
    if let [byte] = rest {
        *byte = half as u8;
    }
}
/// Ones in the first `len` of 16 bytes.
#[inline(always)]
fn mask(len: usize) -> Bytes {
    const MASK: [u8; 32] = {
        let mut mask = [0; 32];
        let mut at = 0;
        while at < 16 {
            mask[at] = 0xff;
            at += 1;
        }
        mask
    };
    MASK[16 - len.min(16)..].first_chunk().copied().unwrap_or([0; 16])
}
