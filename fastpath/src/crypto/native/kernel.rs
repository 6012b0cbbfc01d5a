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
struct Packet<'k, V: Lanes, const MORE: usize> {
    cpu: V::Cpu,
    key: &'k Parts<'k, MORE>,
    /// The counter blocks of the next vector, back to front.
    counter: V,
    /// The last block of additional data with all before it, until it is multiplied.
    additional: Option<Block>,
    hash: Block,
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
    let small = V::cpu(cpu);
    let [n0, n1, n2, n3, n4, n5, n6, n7, n8, n9, n10, n11] = *nonce;
    let high = u64::from_be_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let low = u32::from_be_bytes([n8, n9, n10, n11]);
    // SP 800-38D 7.1: J0 of a 96-bit nonce is the nonce and a counter of one.
    let j0 = Block::from_number(small, u128::from(high) << 64 | u128::from(low) << 32 | 1);
    let counter = V::broadcast(cpu, j0).add(V::count(cpu, 1));
    let mut packet = Packet { cpu, key, counter, additional: None, hash: Block::zero(small) };
    packet.additional(aad);
    if text.len() > (BATCH - 1) * 16 {
        packet.hash_additional();
    }
    let lengths = u128::from(aad.len() as u64 * 8) << 64 | u128::from(text.len() as u64 * 8);

    let batched = text.len() / (BATCH * 16) * (BATCH * 16);
    let (batches, rest) = text.split_at_mut(batched);
    packet.batches::<SEAL>(batches.as_chunks_mut().0.as_chunks_mut().0);
    let tag = packet.rest::<SEAL>(rest, j0, lengths);
    if SEAL {
        tag.store(std::slice::from_mut(icv));
        return true;
    }
    let genuine = tag.xor(Block::load(small, std::slice::from_ref(icv))).is_zero();
    if !genuine {
        text.fill(0);
    }
    genuine
}

impl<V: Lanes, const MORE: usize> Packet<'_, V, MORE> {
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
    fn batches<const SEAL: bool>(&mut self, batches: &mut [[Bytes; BATCH]]) {
        if !SEAL {
            for batch in batches {
                self.batch::<true>(batch, None);
            }
        } else if let Some((mut behind, batches)) = batches.split_first_mut() {
            self.batch::<false>(behind, None);
            for batch in batches {
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
    fn rest<const SEAL: bool>(&mut self, rest: &mut [u8], j0: Block, lengths: u128) -> Block {
        // The last block is the one that may be partial.
        let (blocks, partial) = rest.as_chunks_mut();
        let (blocks, last): (&mut [Bytes], &mut [u8]) = if !partial.is_empty() {
            (blocks, partial)
        } else if let Some((last, blocks)) = blocks.split_last_mut() {
            (blocks, last)
        } else {
            return self.end::<SEAL, 0, 0>(&mut [], &mut [], j0, lengths);
        };
        /// The number of blocks becomes a constant, and each has code of its own.
        macro_rules! end {
            ($($full:literal $count:literal),*) => {
                $(if let Ok(blocks) = <&mut [Bytes; $full]>::try_from(&mut *blocks) {
                    return self.end::<SEAL, $full, $count>(blocks, last, j0, lengths);
                })*
            };
        }
        end!(0 1, 1 2, 2 3, 3 4, 4 5, 5 6, 6 7);
        // Eight at most, since it was not a batch.
        match blocks.first_chunk_mut() {
            Some(blocks) => self.end::<SEAL, 7, 8>(blocks, last, j0, lengths),
            None => Block::zero(V::cpu(self.cpu)),
        }
    }

    /// `COUNT` blocks: `FULL` ones, and `last` unless it is empty. Then E(J0) in the cipher's next lane and the lengths
    /// in the hash's.
    #[inline(always)]
    fn end<const SEAL: bool, const FULL: usize, const COUNT: usize>(
        &mut self,
        blocks: &mut [Bytes; FULL],
        last: &mut [u8],
        j0: Block,
        lengths: u128,
    ) -> Block {
        let cpu = V::cpu(self.cpu);
        let vectors = COUNT / V::BLOCKS + 1;
        let mut input = [Block::zero(cpu); BATCH + 2];
        for at in 0..FULL {
            input[at] = Block::load(cpu, &blocks[at..]);
        }
        if COUNT > 0 {
            input[COUNT - 1] = Block::from_number(cpu, read(last));
        }
        let mut counters = [j0.reverse(); BATCH + 2];
        for at in 0..COUNT {
            counters[at] = self.counters(at / V::BLOCKS).reverse().block(at % V::BLOCKS);
        }

        let mut state = [self.counter; BATCH + 1];
        let key = self.round_key(&self.key.first[0]);
        for at in 0..vectors {
            state[at] = V::gather(self.cpu, &counters[at * V::BLOCKS..]).xor(key);
        }
        for round in 1..10 {
            let key = self.round_key(&self.key.first[round]);
            for at in 0..vectors {
                state[at] = state[at].aes_round(key);
            }
        }
        for round in 0..MORE {
            let key = self.round_key(&self.key.more[round]);
            for at in 0..vectors {
                state[at] = state[at].aes_round(key);
            }
        }
        let key = self.round_key(self.key.last);
        let mut output = [Block::zero(cpu); BATCH + 2];
        for at in 0..vectors {
            let text = V::gather(self.cpu, &input[at * V::BLOCKS..]);
            let vector = state[at].aes_last_round(key.xor(text));
            for lane in 0..V::BLOCKS {
                output[at * V::BLOCKS + lane] = vector.block(lane);
            }
        }
        for at in 0..FULL {
            output[at].store(&mut blocks[at..]);
        }
        if COUNT > 0 {
            write(last, output[COUNT - 1].number());
        }

        let mut hashed = input;
        if SEAL {
            hashed[..COUNT].copy_from_slice(&output[..COUNT]);
            if COUNT > 0 {
                // The key stream behind the end is not ciphertext.
                let mask = Block::load(cpu, &[mask(last.len())]);
                hashed[COUNT - 1] = hashed[COUNT - 1].and(mask);
            }
        }
        hashed[COUNT] = Block::from_number(cpu, lengths).reverse();
        let mut product = Product::zero(self.cpu);
        if COUNT < BATCH
            && let Some(block) = self.additional
        {
            let data = V::gather(self.cpu, &[block, Block::zero(cpu)]);
            product.add(data, self.round_key(&self.key.powers[BATCH - 1 - COUNT]));
        }
        for at in 0..vectors {
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
        product.reduce(self.cpu).reverse().xor(output[COUNT])
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
