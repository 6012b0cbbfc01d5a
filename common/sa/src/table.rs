//! Algorithms as rows of a table.

/// An enum whose members are rows of a table. Numbers count from 0: they are the row's place.
macro_rules! table {
    ($(#[$meta:meta])* $type:ident: $row:ty { $($variant:ident = $number:literal => $about:expr,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $type { $($variant = $number),* }
        impl $type {
            pub const ALL: [Self; Self::ROWS.len()] = [$(Self::$variant),*];
            const ROWS: [$row; [$($number),*].len()] = [$($about),*];
            const fn row(self) -> &'static $row {
                &Self::ROWS[self as usize]
            }
            pub fn from_u8(raw: u8) -> Option<Self> {
                Self::ALL.get(usize::from(raw)).copied()
            }
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
            }
            /// RouterOS's spelling, or ours of what it does not have.
            pub const fn name(self) -> &'static str {
                self.row().name
            }
            /// Why nobody should choose it any more.
            pub const fn weakness(self) -> Option<&'static str> {
                self.row().weakness
            }
        }
    };
}
pub(crate) use table;
