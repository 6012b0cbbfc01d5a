//! Hugepages: how many there are, and getting some.
use anyhow::{Context, Result};
use std::fs;

const NUMBER: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const FREE: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages";
/// Two gateways of the lab and something to spare.
pub const WANTED: u64 = 128;
pub const COST: &str = "without hugepages every packet touches more memory pages than the CPU remembers: expect about \
                        a third less throughput; forwarding itself works";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hugepages {
    pub total: u64,
    pub free: u64,
}

fn number(path: &str) -> Result<u64> {
    fs::read_to_string(path).with_context(|| path.to_owned())?.trim().parse().with_context(|| path.to_owned())
}

/// Pages of 2 MB. An error where the kernel has none of that size.
pub fn look() -> Result<Hugepages> {
    Ok(Hugepages { total: number(NUMBER)?, free: number(FREE)? })
}

/// Tries to have [`WANTED`] free pages. What it says is for a person; running without is no error.
pub fn prepare() -> String {
    let enough = |pages: Hugepages| pages.free >= WANTED;
    match look() {
        Ok(pages) if enough(pages) => return format!("{} of {} are free", pages.free, pages.total),
        Ok(pages) => {
            let more = pages.total + (WANTED - pages.free);
            if let Err(why) = fs::write(NUMBER, more.to_string()) {
                return format!("none reserved ({NUMBER}: {why}); {COST}");
            }
        }
        Err(why) => return format!("none ({why:#}); {COST}"),
    }
    match look() {
        Ok(pages) if enough(pages) => format!("reserved; {} of {} are free", pages.free, pages.total),
        Ok(pages) => format!("only {} free, the kernel found no more; {COST}", pages.free),
        Err(why) => format!("none ({why:#}); {COST}"),
    }
}
