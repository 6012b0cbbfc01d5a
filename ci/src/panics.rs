//! `cargo ci panics`: the panics that are left in the hot loop of the optimised fast path.
//!
//! Disassembles the program, finds each call to the language's panics in the functions a packet goes through, and asks
//! the debug information which line it stands for, through whatever was inlined. Each has to be in [`ALLOWED`], which
//! says why no packet gets there. Not looked at: what only control does (keys, tables), running out of memory, and the
//! insides of other people's crates behind the engines `ring` and `rustcrypto`.
use crate::cargo;
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

#[derive(Debug, Default, Args)]
pub struct Options {
    /// The program to look at, instead of the release build of the fast path
    #[arg(long)]
    binary: Option<PathBuf>,
}

/// Beginnings of functions that packets go through.
const HOT: [&str; 13] = [
    "espway_fastpath::worker::",
    "fastpath::crypto::cpu::CpuCrypto::run",
    "fastpath::crypto::native::x86::Keys::open",
    "fastpath::crypto::native::x86::Keys::seal",
    "<fastpath::crypto::sync::CpuEngine",
    "fastpath::graph::",
    "<fastpath::graph::",
    "fastpath::tables::fib::Fib::route",
    "fastpath::tables::fib::Fib::neighbour",
    "fastpath::tables::sad::Shared",
    "fastpath::tables::spd::Spd::find",
    "sa::replay::ReplayWindow::check",
    "wire::",
];
/// Among those, what runs before the first packet.
const COLD: [&str; 4] = ["::new", "share::team", "worker::tests", "::fmt"];
/// Calls of these end the thread.
const PANICS: [&str; 8] = [
    "core::panicking::panic",
    "core::panicking::assert",
    "unwrap_failed",
    "expect_failed",
    "slice_index_fail",
    "index_len_fail",
    "index_order_fail",
    "len_mismatch_fail",
];
/// These stand where a panic is already under way.
const DURING_PANICS: [&str; 2] = ["panic_in_cleanup", "panic_cannot_unwind"];

/// File and function of a panic, and why no packet gets there.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("dpdk/src/crypto/queue.rs", "flush", "what the device took is cut to what was staged"),
    ("dpdk/ipsec-mb/src/key.rs", "prefetch", "spans of constants and of the key's size"),
    ("fastpath/daemon/src/engine/mod.rs", "submit", "a device's list that is full takes nothing"),
    ("fastpath/src/crypto/cpu.rs", "run", "cut to the jobs, at most as many as the arrays of STAGE have"),
    ("fastpath/src/crypto/cpu.rs", "", "the same, where the debug information has lost the function"),
    (
        "fastpath/src/graph/modes.rs",
        "{closure#1}",
        "both are the header in front of the ICV, `at` bytes long",
    ),
    ("fastpath/src/crypto/cpu.rs", "run_jobs", "counts at most as many as the arrays of STAGE have, by zip"),
    ("fastpath/src/crypto/sync.rs", "submit", "a place the list had before it grew; chunk_by splits inside"),
    ("fastpath/src/graph/cache.rs", "find", "a place is below WAYS, and so many there are"),
    ("fastpath/src/graph/cache.rs", "look_up", "a hash is masked to the number of pairs"),
    (
        "fastpath/src/graph/fragment.rs",
        "split",
        "a packet longer than the MTU has a header; a place before the end",
    ),
    ("fastpath/src/graph/mod.rs", "crypto", "chunk_by splits where it has looked"),
    ("fastpath/src/graph/outbound.rs", "plan", "chunk_by splits where it has looked"),
    ("fastpath/src/graph/outbound.rs", "split_large", "the loop's own condition: a place in the list"),
    ("fastpath/src/tables/shards.rs", "get", "by the remainder of SHARDS, and so many there are"),
    ("fastpath/src/tables/shards.rs", "find", "the same"),
];

/// A call of a panic.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    address: u64,
    inside: String,
    panic: String,
}

pub fn run(options: &Options) -> Result<bool> {
    let binary = match &options.binary {
        Some(path) => path.clone(),
        None => cargo::build_release()?.join("espway-fastpath"),
    };
    let names = names(&tool("nm", &["-C"], &binary)?, &tool("readelf", &["-rW"], &binary)?);
    let text = tool("objdump", &["-d", "-C", "--no-show-raw-insn"], &binary)?;
    let (functions, calls) = calls(&text, &names);
    // A look that finds nothing proves nothing.
    ensure!(functions.len() > 20, "only {} functions of the hot loop: {functions:?}", functions.len());
    let sites = sites(&calls, &binary)?;
    ensure!(sites.len() == calls.len(), "addr2line told of {} of {} calls", sites.len(), calls.len());
    let (mut found, mut used) = (BTreeMap::<String, usize>::new(), BTreeSet::new());
    for (call, (file, function, line)) in calls.iter().zip(&sites) {
        let allowed = ALLOWED.iter().position(|(f, name, _)| f == file && name == function);
        match allowed {
            Some(at) => drop(used.insert(at)),
            None => {
                let what = format!("{file}:{line} {function}, in {}: {}", call.inside, call.panic);
                *found.entry(what).or_default() += 1;
            }
        }
    }
    println!("{} functions, {} panics, {} places allowed", functions.len(), calls.len(), used.len());
    for (what, times) in &found {
        println!("  {times} × {what}");
    }
    Ok(found.is_empty())
}

fn tool(name: &str, words: &[&str], binary: &Path) -> Result<String> {
    let out = Command::new(name).args(words).arg(binary).output();
    let out = out.with_context(|| format!("{name} (package binutils) does not start"))?;
    ensure!(out.status.success(), "{name} {}: {}", binary.display(), out.status);
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// What the places hold through which calls go, by address: the program's own functions.
fn names(symbols: &str, relocations: &str) -> HashMap<u64, String> {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let functions: HashMap<u64, &str> = symbols
        .lines()
        .filter_map(|line| {
            let (address, rest) = line.split_once(' ')?;
            let (kind, name) = rest.split_once(' ')?;
            matches!(kind, "t" | "T" | "w" | "W").then_some((hex(address)?, name))
        })
        .collect();
    let pointers = relocations.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [at, _, "R_X86_64_RELATIVE", to] = words.as_slice() else { return None };
        Some((hex(at)?, (*functions.get(&hex(to)?)?).to_owned()))
    });
    pointers.collect()
}

/// The hot functions there are, and the panics they call.
fn calls(text: &str, names: &HashMap<u64, String>) -> (BTreeSet<String>, Vec<Call>) {
    let (mut functions, mut calls, mut inside) = (BTreeSet::new(), Vec::new(), None);
    for line in text.lines() {
        if let Some(name) = line.strip_suffix(">:").and_then(|line| Some(line.split_once(" <")?.1)) {
            let hot = HOT.iter().any(|h| name.starts_with(h)) && !COLD.iter().any(|c| name.contains(c));
            inside = hot.then(|| name.to_owned());
            functions.extend(inside.clone());
            continue;
        }
        let (Some(inside), Some((address, code))) = (&inside, line.split_once(':')) else { continue };
        let code = code.trim_start();
        if !(code.starts_with("call") || code.starts_with("jmp")) {
            continue;
        }
        // Through a pointer, or to a name.
        let pointer = code.rsplit_once("# ").and_then(|(_, to)| to.split_whitespace().next());
        let to = match pointer.and_then(|to| names.get(&u64::from_str_radix(to, 16).ok()?)) {
            Some(name) => name.as_str(),
            None => code.split_once('<').map_or("", |(_, name)| name),
        };
        let ends = PANICS.iter().any(|p| to.contains(p)) && !DURING_PANICS.iter().any(|p| to.contains(p));
        if let (true, Ok(address)) = (ends, u64::from_str_radix(address.trim(), 16)) {
            let panic = to.trim_end_matches('>').to_owned();
            calls.push(Call { address, inside: inside.clone(), panic });
        }
    }
    (functions, calls)
}

/// File, function and line of each: the innermost that is ours.
fn sites(calls: &[Call], binary: &Path) -> Result<Vec<(String, String, String)>> {
    if calls.is_empty() {
        return Ok(Vec::new());
    }
    let mut command = Command::new("addr2line");
    command.args(["-i", "-f", "-C", "-a", "-e"]).arg(binary);
    // An address is where the call is, not where it returns to.
    command.args(calls.iter().map(|call| format!("{:#x}", call.address)));
    let out = command.output().context("addr2line (package binutils) does not start")?;
    ensure!(out.status.success(), "addr2line: {}", out.status);
    Ok(innermost(&String::from_utf8_lossy(&out.stdout), &cargo::root()))
}
fn innermost(text: &str, root: &Path) -> Vec<(String, String, String)> {
    let root = format!("{}/", root.display());
    let mut sites: Vec<Option<(String, String, String)>> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("0x") {
            sites.push(None);
            continue;
        }
        let place = lines.next().unwrap_or_default();
        let Some(site) = sites.last_mut().filter(|site| site.is_none()) else { continue };
        if let Some((file, number)) = place.strip_prefix(&root).and_then(|place| place.rsplit_once(':')) {
            let name = line.split('<').next().unwrap_or(line).rsplit("::").next().unwrap_or(line);
            let number = number.split(' ').next().unwrap_or(number);
            *site = Some((file.to_owned(), name.to_owned(), number.to_owned()));
        }
    }
    let unknown = || ("?".to_owned(), "?".to_owned(), "?".to_owned());
    sites.into_iter().map(|site| site.unwrap_or_else(unknown)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_found_by_name_and_through_a_pointer_and_only_in_the_hot_loop() {
        let names = names(
            "0000000000000100 T core::panicking::panic_bounds_check\n0000000000000200 T memcpy\n",
            "0000000000000900  0000000000000008 R_X86_64_RELATIVE 100\n\
             0000000000000908  0000000000000008 R_X86_64_RELATIVE 200\n",
        );
        let text = "0000000000000010 <fastpath::graph::classify::burst>:\n\
             \x20     11:\tcall   *0x8ef(%rip)        # 900 <_GLOBAL_OFFSET_TABLE_+0x8>\n\
             \x20     17:\tcall   *0x8ef(%rip)        # 908 <_GLOBAL_OFFSET_TABLE_+0x10>\n\
             \x20     1d:\tjmp    300 <core::option::unwrap_failed>\n\
             \x20     20:\tcall   310 <core::panicking::panic_in_cleanup>\n\
             0000000000000030 <fastpath::graph::cache::FlowCache::new>:\n\
             \x20     31:\tcall   300 <core::option::unwrap_failed>\n\
             0000000000000040 <ike::engine>:\n\
             \x20     41:\tcall   300 <core::option::unwrap_failed>\n";
        let (functions, calls) = calls(text, &names);
        assert_eq!(functions.len(), 1);
        let got: Vec<_> = calls.iter().map(|call| (call.address, call.panic.as_str())).collect();
        let expected = [(0x11, "core::panicking::panic_bounds_check"), (0x1d, "core::option::unwrap_failed")];
        assert_eq!(got, expected);
    }
    #[test]
    fn a_site_is_the_innermost_line_of_ours() {
        let text = "0x0000000000000011\ncore::slice::index\n/rustc/library/core/src/slice/index.rs:3\n\
             find<u8>\n/r/fastpath/src/graph/cache.rs:366 (discriminator 2)\nouter\n/r/fastpath/src/graph/mod.rs:1\n\
             0x0000000000000017\nfar::away\n/elsewhere/lib.rs:1\n";
        let sites = innermost(text, Path::new("/r"));
        let strings = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(sites, [strings("fastpath/src/graph/cache.rs", "find", "366"), strings("?", "?", "?")]);
    }
}
