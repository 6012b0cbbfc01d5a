//! What the control side costs at scale, in memory: `cargo bench -p fastpath --bench scale -- [installs] [find]
//! [policies] [stall]`, all of them without a name. `docs/performance.md` says what the numbers mean.
mod find;
mod installs;
mod policies;
mod stall;
mod world;

fn main() {
    // `cargo test` would run this as well.
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    let asked: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let parts: [(&str, fn()); 4] = [
        ("installs", installs::run),
        ("find", find::run),
        ("policies", policies::run),
        ("stall", stall::run),
    ];
    for (name, run) in parts {
        if asked.is_empty() || asked.iter().any(|a| a == name) {
            println!("{name}");
            run();
        }
    }
}
