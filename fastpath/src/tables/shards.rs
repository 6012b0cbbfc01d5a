//! A hash map that never has to move all of its rows at once.
//!
//! It is many small maps: one of them growing costs a share of what the whole would. A policy added to 100 000 others
//! must not wait until they have been hashed anew.
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

const SHARDS: usize = 64;

/// For keys that are hashes already.
#[derive(Clone, Copy, Default, Debug)]
pub struct AsItIs(u64);
impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}
type Shard<V> = HashMap<u64, V, BuildHasherDefault<AsItIs>>;

/// Keys are well mixed 64-bit numbers, see [`spread`].
#[derive(Debug)]
pub struct Shards<V> {
    shards: Box<[Shard<V>]>,
}
impl<V> Default for Shards<V> {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }
}
impl<V> Shards<V> {
    /// Bits that the small maps use neither for the place nor for their tags.
    #[inline(always)]
    const fn at(key: u64) -> usize {
        (key >> 40) as usize % SHARDS
    }
    #[inline(always)]
    pub fn get(&self, key: u64) -> Option<&V> {
        self.shards[Self::at(key)].get(&key)
    }
    pub fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        self.shards[Self::at(key)].get_mut(&key)
    }
    pub fn contains(&self, key: u64) -> bool {
        self.get(key).is_some()
    }
    pub fn insert(&mut self, key: u64, value: V) -> Option<V> {
        self.shards[Self::at(key)].insert(key, value)
    }
    pub fn remove(&mut self, key: u64) -> Option<V> {
        self.shards[Self::at(key)].remove(&key)
    }
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.shards.iter().flat_map(HashMap::values)
    }
}

/// A number as a key: different ones stay different.
#[inline(always)]
pub const fn spread(n: u32) -> u64 {
    // Both steps can be undone, so nothing falls together.
    let mixed = (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

/// Values at places that stay the same, in blocks: growing moves none of them.
#[derive(Debug)]
pub struct Slab<T> {
    blocks: Vec<Box<[Option<T>]>>,
    free: Vec<u32>,
}
const BLOCK: usize = 256;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { blocks: Vec::new(), free: Vec::new() }
    }
}
impl<T> Slab<T> {
    pub fn put(&mut self, value: T) -> u32 {
        if self.free.is_empty() {
            let first = (self.blocks.len() * BLOCK) as u32;
            self.blocks.push((0..BLOCK).map(|_| None).collect());
            self.free.extend((first..first + BLOCK as u32).rev());
        }
        let at = self.free.pop().unwrap_or(0);
        if let Some(place) =
            self.blocks.get_mut(at as usize / BLOCK).and_then(|b| b.get_mut(at as usize % BLOCK))
        {
            *place = Some(value);
        }
        at
    }
    pub fn take(&mut self, at: u32) -> Option<T> {
        let value = self.blocks.get_mut(at as usize / BLOCK)?.get_mut(at as usize % BLOCK)?.take();
        if value.is_some() {
            self.free.push(at);
        }
        value
    }
    #[inline(always)]
    pub fn get(&self, at: u32) -> Option<&T> {
        self.blocks.get(at as usize / BLOCK)?.get(at as usize % BLOCK)?.as_ref()
    }
    pub fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.blocks.get_mut(at as usize / BLOCK)?.get_mut(at as usize % BLOCK)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn both_agree_with_a_map(steps in prop::collection::vec((0u32..600, any::<bool>()), 1..2000)) {
            let (mut shards, mut slab, mut model) = (Shards::default(), Slab::default(), BTreeMap::new());
            for (n, (key, put)) in steps.into_iter().enumerate() {
                if put && !model.contains_key(&key) {
                    let at = slab.put(n);
                    prop_assert_eq!(shards.insert(spread(key), at), None);
                    model.insert(key, (at, n));
                } else if let Some((at, value)) = model.remove(&key) {
                    prop_assert_eq!(shards.remove(spread(key)), Some(at));
                    prop_assert_eq!(slab.take(at), Some(value));
                }
                prop_assert_eq!(shards.values().count(), model.len());
            }
            for key in 0..600 {
                let expected = model.get(&key);
                prop_assert_eq!(shards.get(spread(key)), expected.map(|(at, _)| at));
                let found = shards.get(spread(key)).and_then(|at| slab.get(*at));
                prop_assert_eq!(found, expected.map(|(_, value)| value));
            }
        }
    }
}
